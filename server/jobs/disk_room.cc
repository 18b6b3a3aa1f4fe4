#include "server/jobs/disk_room.h"

#include "absl/status/statusor.h"
#include "core/nn/graph.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

// Of a job's card, history and the folders' blocks.
constexpr int64_t kBesideWeights = int64_t{1} << 20;

}  // namespace

int64_t DiskRoomFor(const v1::TrainRequest& request) {
  constexpr int64_t kFloats = 3 * 4 + 1;
  const absl::StatusOr<Graph> graph = Graph::Create(
      request.has_preset() ? Preset(request.preset()).value_or(v1::Network()) : request.network());
  // What is wrong with it is told when the job begins.
  const int64_t parameters = graph.ok() ? graph->parameter_count() : 0;
  return kFloats * static_cast<int64_t>(sizeof(float)) * parameters + kBesideWeights;
}

}  // namespace convd
