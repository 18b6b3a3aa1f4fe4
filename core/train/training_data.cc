#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/data/finite.h"
#include "core/status/status_macros.h"
#include "core/train/trainer.h"

// CheckTrainingData, CheckInitialWeights: that a network can train on what it is given.

namespace convd {
namespace {

absl::Status CheckImages(const char* what, const ImageSet& images, const Graph& graph) {
  const Shape want = graph.input();
  if (images.height != want.height || images.width != want.width ||
      images.channels != want.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": images are ", images.height, "x", images.width, "x", images.channels, "; network ",
        graph.name(), " takes ", want.height, "x", want.width, "x", want.channels));
  }
  if (static_cast<int64_t>(images.labels.size()) != images.count || images.count > UINT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", images.labels.size(), " labels for ", images.count, " images"));
  }
  for (int64_t i = 0; i < images.count; ++i) {
    if (images.labels[i] < 0 || images.labels[i] >= graph.classes()) {
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": label ", images.labels[i], " of sample ", i, "; network ", graph.name(), " has ",
          graph.classes(), " outputs, so labels go from 0 to ", graph.classes() - 1));
    }
  }
  return CheckFinite(what, images);
}

}  // namespace

absl::Status CheckTrainingData(const TrainingData& data, const Graph& graph) {
  if (data.train.count == 0)
    return absl::InvalidArgumentError("dataset: there are no samples to train on");
  CONVD_RETURN_IF_ERROR(CheckImages("dataset", data.train, graph));
  if (data.validation.count > 0)
    CONVD_RETURN_IF_ERROR(CheckImages("validation", data.validation, graph));
  if (static_cast<int64_t>(data.labels.size()) == graph.classes()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("dataset: it has ", data.labels.size(),
                                                 " classes; network ", graph.name(), " has ",
                                                 graph.classes(), " outputs"));
}

absl::Status CheckInitialWeights(absl::Span<const float> initial, const Graph& graph) {
  if (static_cast<int64_t>(initial.size()) != graph.parameter_count()) {
    return absl::InvalidArgumentError(absl::StrCat("initial weights: got ", initial.size(),
                                                   "; network ", graph.name(), " has ",
                                                   graph.parameter_count()));
  }
  const size_t bad = FirstNonFinite(initial);
  if (bad == initial.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("initial weights: [", bad, "] is ", initial[bad], "; want finite values"));
}

}  // namespace convd
