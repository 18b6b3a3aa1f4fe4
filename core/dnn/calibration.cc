#include "core/dnn/calibration.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/plan.h"
#include "core/dnn/quantization.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Whether pixels are all that the first layer with weights takes.
bool TakesPixels(const Graph& graph) {
  for (const GraphLayer& layer : graph.layers()) {
    if (HasWeights(layer)) return true;
    if (layer.kind != LayerKind::kFlatten && layer.kind != LayerKind::kDropout) return false;
  }
  return false;
}

absl::StatusOr<v1::Quantization> CalibrateOn(const Graph& graph, absl::Span<const float> parameters,
                                             const ImageSet& images, Executor& executor, Lane lane,
                                             absl::FunctionRef<bool()> cancelled) {
  const int64_t count = std::min(images.count, kCalibrationImages);
  std::vector<uint32_t> samples(count);
  for (int64_t i = 0; i < count; ++i) samples[i] = static_cast<uint32_t>(i * images.count / count);

  const int64_t a_run = PredictionSizes(graph).front();
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> plan,
                         Plan::Compile(graph, {.images = a_run, .observes_inputs = true}));
  AlignedBuffer packed(plan->packed_size());
  CONVD_RETURN_IF_ERROR(plan->Pack(parameters, packed.data()));

  std::vector<const GraphLayer*> layers;
  for (const GraphLayer& layer : graph.layers())
    if (HasWeights(layer)) layers.push_back(&layer);
  const int64_t runs = (count + a_run - 1) / a_run;
  std::vector<std::vector<float>> ranges(runs, std::vector<float>(2 * layers.size()));
  absl::Mutex mutex;
  absl::Status error;
  std::vector<std::unique_ptr<Workspace>> idle;
  const auto at_cut = [&] {
    executor.Cut();
    return !cancelled();
  };
  const auto run = [&](int64_t i) -> absl::Status {
    if (!at_cut()) return absl::CancelledError("cancelled");
    std::unique_ptr<Workspace> workspace;
    {
      absl::MutexLock lock(&mutex);
      if (!idle.empty()) {
        workspace = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (workspace == nullptr) {
      CONVD_ASSIGN_OR_RETURN(workspace, plan->NewWorkspace(packed.data(), nullptr, at_cut));
    }
    MicroBatch batch;
    batch.images = &images;
    batch.samples = absl::MakeConstSpan(samples).subspan(i * a_run, a_run);
    batch.ranges = ranges[i].data();
    CONVD_RETURN_IF_ERROR(plan->RunPhase(0, *workspace, batch, at_cut));
    absl::MutexLock lock(&mutex);
    idle.push_back(std::move(workspace));
    return absl::OkStatus();
  };
  executor.ForEach(lane, runs, [&](int64_t i) {
    const absl::Status status = run(i);
    if (status.ok()) return;
    absl::MutexLock lock(&mutex);
    error.Update(status);
  });
  CONVD_RETURN_IF_ERROR(error);

  v1::Quantization quantization;
  quantization.set_samples(count);
  for (size_t l = 0; l < layers.size(); ++l) {
    v1::InputRange& range = *quantization.add_inputs();
    range.set_layer(layers[l]->name);
    float low = ranges[0][2 * l], high = ranges[0][2 * l + 1];
    for (const std::vector<float>& of_run : ranges) {
      if (!std::isfinite(of_run[2 * l]) || !std::isfinite(of_run[2 * l + 1])) {
        return absl::DataLossError(
            absl::StrCat("layer \"", layers[l]->name, "\": its input isn't finite"));
      }
      low = std::min(low, of_run[2 * l]);
      high = std::max(high, of_run[2 * l + 1]);
    }
    // Bytes are their own scale, whichever of them these images have.
    if (l == 0 && images.type == ElementType::kUint8 && TakesPixels(graph)) {
      low = std::min(0.0f, 255 * graph.scale());
      high = std::max(0.0f, 255 * graph.scale());
    }
    range.set_low(low);
    range.set_high(high);
  }
  return quantization;
}

}  // namespace

absl::StatusOr<v1::Quantization> Calibrate(const Graph& graph, absl::Span<const float> parameters,
                                           const ImageSet& images, Executor& executor, Lane lane,
                                           absl::FunctionRef<bool()> cancelled) {
  const Shape want = graph.input();
  if (images.count < 1 || images.height != want.height || images.width != want.width ||
      images.channels != want.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "images: got ", images.count, " of ", images.height, "x", images.width, "x",
        images.channels, "; the network takes ", want.height, "x", want.width, "x", want.channels));
  }
  if (static_cast<int64_t>(parameters.size()) != graph.parameter_count()) {
    return absl::InvalidArgumentError(absl::StrCat("parameters: got ", parameters.size(),
                                                   "; the network has ", graph.parameter_count()));
  }
  try {
    return CalibrateOn(graph, parameters, images, executor, lane, cancelled);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for a calibration");
  }
}

}  // namespace convd
