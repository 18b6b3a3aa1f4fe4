#include "core/train/training_memory.h"

#include <algorithm>
#include <cmath>

#include "core/dnn/calibration.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/plan_memory.h"
#include "core/dnn/precision.h"

namespace convd {
namespace {

// What a step keeps of each micro-batch, and the shuffled order of each sample.
constexpr double kMicroBatchBytes = 160;
constexpr double kSampleBytes = 4;
// Of each sample validated on: what the network said.
constexpr double kValidatedBytes = 12;

int64_t Whole(double bytes) { return static_cast<int64_t>(std::min(bytes, 0x1p61)); }

}  // namespace

// As trainer.cc, optimizer.cc, gradient_sum.cc, calibration.cc, inference_model.cc and evaluate.cc
// allocate.
TrainingMemory EstimateTrainingMemory(const Graph& graph, const v1::TrainRequest& request,
                                      int64_t samples, int64_t validated, int workers) {
  const int64_t batch = std::clamp<int64_t>(request.batch_size(), 1, std::max<int64_t>(samples, 1));
  const int64_t images = std::clamp<int64_t>(request.micro_batch(), 1, batch);
  const int64_t micro_batches = (batch + images - 1) / images;
  const int64_t busy = std::min<int64_t>(workers, micro_batches);
  const PlanMemory plan = EstimatePlanMemory(
      graph, {.training = true, .images = images, .precision = request.precision()});
  const double packed = static_cast<double>(plan.packed_bytes);
  const double canonical = 4.0 * static_cast<double>(graph.parameter_count());

  double workspaces = static_cast<double>(plan.workspace_bytes) * static_cast<double>(busy);
  // Each busy worker fills a leaf of the tree of sums; finished ones wait at each of its levels.
  const double levels = std::ceil(std::log2(static_cast<double>(micro_batches)));
  const double leaves =
      std::min(static_cast<double>(busy) + levels + 1, static_cast<double>(micro_batches));
  const double moments = request.optimizer().has_adam() ? 2 : 1;
  double arrays = packed * (1 + moments + leaves) + static_cast<double>(plan.derived_bytes) +
                  kMicroBatchBytes * static_cast<double>(micro_batches) +
                  kSampleBytes * static_cast<double>(samples);
  // The initial weights, or at the end the trained ones and the model file made of them.
  arrays += 2 * canonical;
  if (request.early_stopping().restore_best()) arrays += canonical;  // the best epoch's
  // For the end, validated or not, a calibration; by then the training workspaces are gone, which
  // at a validation are idle, and kept.
  const int64_t most = PredictionSizes(graph).front();
  double inference_workspace = 0, inference_packed = 0;
  for (const v1::Precision precision : kPrecisions) {
    const PlanMemory inference =
        EstimatePlanMemory(graph, {.images = most,
                                   .precision = precision,
                                   .observes_inputs = precision == v1::PRECISION_F32});
    inference_workspace =
        std::max(inference_workspace, static_cast<double>(inference.workspace_bytes));
    inference_packed = std::max(inference_packed, static_cast<double>(inference.packed_bytes));
  }
  // Of as many workers as there are tasks.
  const auto sharing = [&](int64_t of) {
    return static_cast<double>(std::min<int64_t>(workers, (of + most - 1) / most));
  };
  const double calibrating = sharing(std::min(samples, kCalibrationImages));
  if (validated > 0) {
    const double validating = std::max(calibrating, sharing(validated));
    workspaces +=
        (inference_workspace + 4.0 * static_cast<double>(most * graph.classes())) * validating;
    arrays += inference_packed * 2 + kValidatedBytes * static_cast<double>(validated);
  } else {
    workspaces = std::max(workspaces, inference_workspace * calibrating);
    arrays += inference_packed;
  }
  return {Whole(workspaces), Whole(arrays)};
}

}  // namespace convd
