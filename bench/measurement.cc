#include "bench/measurement.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/idx.h"
#include "core/dnn/calibration.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/explain.h"
#include "core/dnn/fma_rate.h"
#include "core/dnn/precision.h"
#include "core/dnn/synthetic_images.h"
#include "core/exec/executor.h"
#include "core/nn/initial_parameters.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"

namespace convd {

void PrintMeasurement(const Measurement& m, bool json) {
  const double rate = m.images / m.seconds;
  const double flops = rate * static_cast<double>(m.flop_per_image);
  const std::string instruction_set = InstructionSet();
  const double peak = MeasureFmaRate(WidthOf(instruction_set), m.threads);
  if (json) {
    nlohmann::ordered_json object = {{"program", "convd"},
                                     {"version", CONVD_VERSION},
                                     {"mode", m.mode},
                                     {"network", m.network},
                                     {"precision", PrecisionName(m.precision)},
                                     {"threads", m.threads},
                                     {"batch", m.batch},
                                     {"instruction_set", instruction_set},
                                     {"images", m.images},
                                     {"seconds", m.seconds},
                                     {"images_per_second", rate},
                                     {"gflops", flops / 1e9},
                                     {"peak_gflops", peak / 1e9},
                                     {"peak_share", flops / peak},
                                     {"onednn", OneDnnVersion()}};
    if (m.idle_share >= 0) object["idle_share"] = m.idle_share;
    std::cout << object.dump() << std::endl;
    return;
  }
  const std::string precision(PrecisionName(m.precision));
  std::cout << absl::StrCat(
                   m.mode, " ", m.network, ", ", precision, ", batch ", m.batch, ", threads ",
                   m.threads, ": ", std::llround(rate), " images/s (", m.images, " in ", m.seconds,
                   " s), ", flops / 1e9, " GFLOP/s, ", 100 * flops / peak, "% of the measured ",
                   peak / 1e9, " (", instruction_set, ", oneDNN ", OneDnnVersion(), ")",
                   m.idle_share >= 0 ? absl::StrCat("; threads idle ", 100 * m.idle_share, "%")
                                     : "")
            << std::endl;
}

std::map<std::string, v1::Precision> Precisions() {
  std::map<std::string, v1::Precision> precisions;
  for (const v1::Precision precision : kPrecisions)
    precisions[std::string(PrecisionName(precision))] = precision;
  return precisions;
}

absl::StatusOr<v1::Quantization> SyntheticQuantization(const Graph& graph) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  return Calibrate(graph, InitialParameters(graph, 0), SyntheticImages(graph, 16), *executor,
                   Lane::kTrain, [] { return false; });
}

absl::StatusOr<Graph> OpenNetwork(const std::string& preset_or_path) {
  if (auto preset = Preset(preset_or_path); preset.ok()) return Graph::Create(*preset);
  absl::StatusOr<std::string> text = FileSystem::Posix().Read(preset_or_path, kMaxNetworkText);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("network: got \"", preset_or_path,
                                            "\", neither a file nor a preset; presets are ",
                                            absl::StrJoin(PresetNames(), ", ")));
  }
  CONVD_RETURN_IF_ERROR(text.status());
  CONVD_ASSIGN_OR_RETURN(const v1::Network network, ParseNetwork(*text, preset_or_path));
  return Graph::Create(network);
}

absl::StatusOr<int64_t> PlannedFlop(const Graph& graph, const PlanOptions& options) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<CallInfo> calls, PlanCalls(graph, options));
  std::vector<std::string> unplanned;
  int64_t flop = 0;
  for (const CallInfo& call : calls) {
    flop += call.flop;
    if (!call.planned) {
      unplanned.push_back(absl::StrCat(call.layer, " ", call.pass, " by ", call.kernel));
    }
  }
  if (unplanned.empty()) return flop / options.images;
  return absl::FailedPreconditionError(absl::StrCat("not the planned kernel with ", options.images,
                                                    " images on ", InstructionSet(), ": ",
                                                    absl::StrJoin(unplanned, ", ")));
}

absl::StatusOr<ImageSet> ReadIdxFiles(const std::string& images, const std::string& labels,
                                      int64_t count) {
  constexpr int64_t kLargest = int64_t{1} << 30;
  CONVD_ASSIGN_OR_RETURN(const std::string pixels, FileSystem::Posix().Read(images, kLargest));
  CONVD_ASSIGN_OR_RETURN(const std::string classes, FileSystem::Posix().Read(labels, kLargest));
  CONVD_ASSIGN_OR_RETURN(const ImageSet all, ReadIdx(pixels, images, classes, labels));
  return all.Slice(0, std::min(count, all.count));
}

}  // namespace convd
