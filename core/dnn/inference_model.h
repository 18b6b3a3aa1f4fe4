#ifndef CONVD_CORE_DNN_INFERENCE_MODEL_H_
#define CONVD_CORE_DNN_INFERENCE_MODEL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/exec/executor.h"
#include "core/nn/graph.h"

namespace convd {

// A network with its weights, compiled for answering: the one forward pass behind Predict, Evaluate
// and the trainer's validation. An image's probabilities have the same bits whatever shares its
// batch. Immutable; any thread may call.
class InferenceModel {
 public:
  virtual ~InferenceModel() = default;

  virtual const Graph& graph() const = 0;
  // How many images make a task that fills a worker well; larger sets are best split in pieces of
  // this size.
  virtual int64_t preferred_images() const = 0;
  // Whether one image takes about a tenth of a millisecond or less: no more than to wake a worker
  // for it and hand the answer over.
  virtual bool quick() const { return false; }

  // Writes images x classes probabilities, on the calling thread, with an executor.Cut() after each
  // call. CANCELLED, with nothing promised about the output, once `cancelled` (asked at the cuts)
  // says so. f32 pixels that are not finite give probabilities that aren't: see CheckFinite.
  // REQUIRES: each image has the graph's input shape, and `probabilities` the room.
  virtual absl::Status InferScattered(absl::Span<const ImagePixels> images,
                                      absl::Span<float> probabilities, Executor& executor,
                                      absl::FunctionRef<bool()> cancelled) const = 0;

  // The same for images that lie together. INVALID_ARGUMENT where they are not of the graph's input
  // shape, or the room is another.
  absl::Status Infer(const ImageSet& images, absl::Span<float> probabilities, Executor& executor,
                     absl::FunctionRef<bool()> cancelled) const;
};

// How many images each of the plans takes that a model is compiled into, largest first.
std::vector<int64_t> PredictionSizes(const Graph& graph);

struct InferenceOptions {
  v1::Precision precision = v1::PRECISION_F32;
  // Where precision is int8, what Calibrate made of this network and its weights; it need not
  // outlive the call.
  const v1::Quantization* quantization = nullptr;
};

// `parameters` are all of the graph's, canonical, in order (copied). Compiles for oneDNN's
// effective instruction set; FAILED_PRECONDITION where that hasn't the precision (CheckPrecision),
// or where there is no quantization that fits.
absl::StatusOr<std::shared_ptr<const InferenceModel>> CompileInferenceModel(
    const Graph& graph, absl::Span<const float> parameters, const InferenceOptions& options = {});

// About how many bytes a compiled model takes once `workers` have answered with it, and where it is
// quick as many callers in their place (Executor::TryRunHere), rather too many than too few; from
// shapes alone, as EstimatePlanMemory. Any thread may call.
int64_t EstimateInferenceMemory(const Graph& graph, v1::Precision precision, int workers);

// A request is split among workers down to pieces of so many images, of which a plan's call still
// keeps a core busy.
inline constexpr int64_t kLeastPieceImages = 4;

// How many of `count` images a task is to take, so that `workers` share in them: at most
// preferred_images(), and where that leaves some idle fewer, but not below kLeastPieceImages.
int64_t PieceImages(const InferenceModel& model, int64_t count, int workers);

}  // namespace convd

#endif  // CONVD_CORE_DNN_INFERENCE_MODEL_H_
