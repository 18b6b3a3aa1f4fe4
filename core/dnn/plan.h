#ifndef CONVD_CORE_DNN_PLAN_H_
#define CONVD_CORE_DNN_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/nn/graph.h"

namespace convd {

struct PlanOptions {
  bool training = false;
  int64_t images = 1;  // the micro-batch: how many images one run takes
  v1::Precision precision = v1::PRECISION_F32;
  // Where precision is int8, of this network; it need not outlive the call.
  const v1::Quantization* quantization = nullptr;
  // Of inference in f32: notes what layers with weights take, in MicroBatch::ranges.
  bool observes_inputs = false;
  // Of training: how samples are varied on their way in, by MicroBatch::seed and epoch. One for
  // inference takes them as they are, whatever this says.
  v1::Augmentation augmentation = {};
};

// What one run of a micro-batch is about. Points to what the caller keeps alive until the run ends.
struct MicroBatch {
  const ImageSet* images = nullptr;
  absl::Span<const uint32_t> samples;  // indices into `images`, at most the plan's images
  // Predicting only, instead of `images`: what each of `samples` stands for, in their order.
  absl::Span<const ImagePixels> scattered;
  // Training only:
  float loss_scale = 0;  // of each sample's gradient: 1 / the batch's samples
  uint64_t seed = 0;     // augmentation's and dropout's
  uint32_t epoch = 0;
  float* gradient = nullptr;  // packed; written whole
  // Results, over the given samples, in their order:
  float* probabilities = nullptr;  // samples x classes; may be null when training
  double loss_sum = 0;
  int64_t correct = 0;
  // Where the plan observes: the least and the largest input of each layer with weights, over the
  // given samples.
  float* ranges = nullptr;
};

// What is known of a call, one single-threaded kernel on a micro-batch, before it runs. A plain
// value.
struct CallInfo {
  std::string layer;  // its name; "input" for the gather of pixels, "output" for the probabilities
  // "forward", "backward_weights", "backward_bias", "backward_data", "backward_relu" (the mask of a
  // fused ReLU), "forward_activation", "backward_activation" (of a layer's other activations);
  // "backward" of layers without weights, or by all of them at once (Winograd's);
  // "gather", "softmax", and when training "loss" (softmax, loss and its gradient); "observe" of
  // what a layer takes.
  std::string pass;
  std::string kernel;  // oneDNN's "jit:avx2", or the engine's own "own:x86-64-v4"
  std::string layout;  // in oneDNN's letters: "nhwc, weights Acdb16a"; of a dense layer "nc"
  // Of convolutions and dense layers, blank images too, an FMA being two; a convolution's are those
  // of the direct algorithm with the layer's own channels, taps on padding included, whichever
  // computes it. 0 for all else: sums, comparisons and copies.
  int64_t flop = 0;
  // What it must at least read and write: inputs, weights and outputs once, with the padding that
  // they lie in memory with. Of pixels, as bytes.
  int64_t bytes = 0;
  // The engine's own kernel, or one of oneDNN's that is compiled for the whole of the effective
  // instruction set: IsPlannedKernel.
  bool planned = true;
};

// One worker's buffers for one plan and one set of weights: activations, gradients, scratchpad and
// the bound calls. One thread at a time.
class Workspace {
 public:
  virtual ~Workspace() = default;
  // Of its buffers, without what oneDNN keeps for itself.
  virtual int64_t bytes() const = 0;
  // Of its bound calls, as RunPhase runs them, phase after phase: one an `at_cut`.
  virtual std::vector<CallInfo> calls() const = 0;
};

// A network compiled for one micro-batch size: phases of calls over fixed buffers, with a barrier
// wanted between phases (there is one today; batch normalization needs more). Immutable; any thread
// may call.
//
// Parameters are kept packed: in the layouts that the kernels want, padded with zeros. Elementwise
// work (optimizer, sums of gradients) runs on packed arrays as they are. Derived weights are the
// copies that backward wants, made from the packed ones after each step.
class Plan {
 public:
  virtual ~Plan() = default;

  // INVALID_ARGUMENT names what the options have wrong (micro_batch, precision,
  // augmentation.shift); RESOURCE_EXHAUSTED where memory runs out, INTERNAL with oneDNN's word
  // where it has no kernel at all.
  static absl::StatusOr<std::shared_ptr<const Plan>> Compile(const Graph& graph,
                                                             const PlanOptions& options);

  virtual const Graph& graph() const = 0;
  virtual int64_t images() const = 0;
  virtual int phases() const = 0;

  virtual int64_t packed_size() const = 0;   // floats
  virtual int64_t derived_size() const = 0;  // floats; 0 for inference
  virtual absl::Status Pack(absl::Span<const float> canonical, float* packed) const = 0;
  // FAILED_PRECONDITION on a plan for inference: what it keeps can't be turned back without loss.
  virtual absl::Status Unpack(const float* packed, absl::Span<float> canonical) const = 0;
  // How many independent parts Derive has; part `part` of it, and the packed parameters that it
  // reads. The parts' ranges follow one another and cover all of them.
  virtual int derive_parts() const = 0;
  struct PackedRange {
    int64_t begin = 0, end = 0;
  };
  virtual PackedRange derive_range(int part) const = 0;
  virtual absl::Status Derive(int part, const float* packed, float* derived) const = 0;

  // `packed` and `derived` are the caller's and outlive the workspace. A large one takes a while:
  // `at_cut` is asked before each operation's buffers and within large ones, as by RunPhase.
  virtual absl::StatusOr<std::unique_ptr<Workspace>> NewWorkspace(
      const float* packed, const float* derived, absl::FunctionRef<bool()> at_cut) const = 0;

  // Runs one phase on the calling thread, `at_cut` after each call; it returns true to go on, false
  // to stop (then CANCELLED). Fewer samples than images() are padded with blank ones that add
  // nothing anywhere.
  virtual absl::Status RunPhase(int phase, Workspace& workspace, MicroBatch& batch,
                                absl::FunctionRef<bool()> at_cut) const = 0;
};

// The FLOP of one image forward, Winograd's convolutions counted as half of the direct method's,
// those with groups by GroupedFlop: about as its time goes. From shapes alone.
double ImageFlop(const Graph& graph);

// How many images make a micro-batch of a batch of `batch`: as many as keep the largest call near
// half a millisecond and a training workspace in a second cache (1,408 KiB; but four images up to
// 64 MiB), and no more than leave min(batch, 16) micro-batches. From FLOP, bytes and constants
// alone, so the same on every machine.
int64_t MicroBatchImages(const Graph& graph, int64_t batch);
// The most of any batch: a micro-batch of more is longer calls, which predictions would wait for.
int64_t MostMicroBatchImages(const Graph& graph);

}  // namespace convd

#endif  // CONVD_CORE_DNN_PLAN_H_
