#ifndef CONVD_CORE_DNN_OPERATION_H_
#define CONVD_CORE_DNN_OPERATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/onednn.h"
#include "core/dnn/plan.h"
#include "core/dnn/quantization.h"
#include "core/nn/graph.h"

namespace convd {

// A call of this many FLOP takes about half a millisecond on one core with AVX2 or AVX-512 (100 to
// 210 GFLOP/s); Winograd's convolutions do so many times as many, counted as the direct method's,
// and those on bytes.
inline constexpr double kCallFlop = 72e6;
inline constexpr double kWinogradSpeed = 2, kInt8Speed = 4;
// So is one that reads or writes this many floats beyond the caches, at some 10 GB/s.
inline constexpr double kCallFloats = 1.25e6;

// Whether a max pool's window has more positions than a byte can tell apart.
inline bool WideWindow(const Window& w) { return int64_t{w.kernel_h} * w.kernel_w > 256; }

// One single-threaded kernel on a micro-batch, bound to its buffers.
struct Call {
  CallInfo info;
  std::function<void(MicroBatch&)> run;
};

// One by the engine's own kernels (core/dnn/kernels.h). `floats` are those that it reads and
// writes.
CallInfo OwnCall(const std::string& layer, const char* pass, const std::string& layout,
                 int64_t flop, int64_t floats);
// One by the primitive of `impl_info`. Names it as not planned where IsPlannedKernel says so.
CallInfo OneDnnCall(const std::string& layer, const char* pass, const std::string& layout,
                    int64_t flop, int64_t floats, const std::string& impl_info,
                    bool elementwise = false);

// Of a call that is cut into ranges of [0, all): what [begin, end) has of `whole`. They add up.
CallInfo ShareOf(const CallInfo& whole, int64_t begin, int64_t end, int64_t all);

// The buffers that an operation is bound to, in one workspace. Null where the plan has no use for
// one.
struct Binding {
  const float* weights = nullptr;  // of this operation, packed: kernel, then bias at `bias_offset`
  const float* derived = nullptr;
  int64_t gradient_offset = 0;  // of the operation's weights in the packed gradient
  float* x = nullptr;
  float* y = nullptr;
  float* dx = nullptr;  // null where nothing before has parameters
  float* dy = nullptr;
  void* scratch = nullptr;
  dnnl::stream* stream = nullptr;
  std::vector<AlignedBuffer>* extra =
      nullptr;  // for what the operation keeps between forward and backward
  std::vector<Call>* forward = nullptr;
  std::vector<Call>* backward =
      nullptr;  // in the operation's own order; the plan runs operations back to front
};

// One step of a plan: a layer, or what is left of it after fusing. Throws dnnl::error and
// std::bad_alloc, which the plan catches. Immutable once the plan is built.
class Operation {
 public:
  explicit Operation(std::string name) : name_(std::move(name)) {}
  virtual ~Operation() = default;

  const std::string& name() const { return name_; }
  int64_t in_elements = 0;  // of one image
  int64_t out_elements = 0;

  // What the plan decides before Prepare:
  bool in_place = false;         // y is x
  bool needs_dx = false;         // something before it has parameters
  bool masks_relu = false;       // its own fused ReLU is undone by itself in backward
  bool pool_masks_relu = false;  // a max pool that undoes the ReLU of the operation before it

  // Between two operations that multiply bytes values pass as bytes (int8_layer.h): x then is, and
  // y is to be, scaled as the next one says.
  bool reads_bytes = false;
  const InputScale* output_scale = nullptr;

  // How the input becomes the bytes that it multiplies; null where it multiplies floats.
  virtual const InputScale* input_scale() const { return nullptr; }
  virtual bool can_run_in_place() const { return false; }
  virtual bool has_relu() const { return false; }
  virtual bool is_max_pool() const { return false; }
  // Backward reads y, so nobody may overwrite it before.
  virtual bool backward_reads_output() const { return masks_relu; }

  virtual void Prepare() {}
  virtual int64_t scratch_bytes() const { return 0; }
  virtual int64_t packed_size() const { return 0; }
  virtual int64_t derived_size() const { return 0; }
  int kernel = -1, bias = -1;  // indices into Graph::parameters()
  // FAILED_PRECONDITION names the layer whose weights can't be had in its precision.
  virtual absl::Status Pack(const float* /*kernel*/, const float* /*bias*/,
                            float* /*packed*/) const {
    return absl::OkStatus();
  }
  virtual void Unpack(const float* /*packed*/, float* /*kernel*/, float* /*bias*/) const {}
  virtual void Derive(const float* /*packed*/, float* /*derived*/) const {}
  // Appends what can be derived apart, in the order of its packed parameters, with where those and
  // the derived ones begin in the plan's.
  struct DerivedPart {
    const Operation* operation;
    int64_t packed, derived;
  };
  virtual void AddDerivedParts(int64_t packed, int64_t derived,
                               std::vector<DerivedPart>& parts) const {
    parts.push_back({this, packed, derived});
  }
  // Adds each call with what is known of it, in the order in which they run.
  virtual void Bind(const Binding& binding) const = 0;
  // Of the prepared operation: a kernel of it is one of oneDNN's references.
  virtual bool uses_reference_kernel() const { return false; }

 private:
  std::string name_;
};

// Factories; `images` is the plan's micro-batch. A convolution is computed in options.precision,
// f32 or bf16; where oneDNN has no planned kernel for it in bf16, in f32.
std::unique_ptr<Operation> NewConvolution(const GraphLayer& layer, Shape in,
                                          const PlanOptions& options, bool relu);
std::unique_ptr<Operation> NewDense(const GraphLayer& layer, int64_t images, bool training,
                                    bool relu);
std::unique_ptr<Operation> NewPool(const GraphLayer& layer, int64_t images, bool training);
// Notes the least and the largest value of its input in MicroBatch::ranges, as number `index`.
std::unique_ptr<Operation> NewObservation(const GraphLayer& layer, int64_t images, int index);
std::unique_ptr<Operation> NewDropout(const GraphLayer& layer, int layer_index, int64_t images);
// Of an activation layer, or of the activation that a layer of another kind ends with.
std::unique_ptr<Operation> NewActivation(const GraphLayer& layer, int64_t images, bool training);

}  // namespace convd

#endif  // CONVD_CORE_DNN_OPERATION_H_
