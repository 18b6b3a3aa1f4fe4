#include "core/dnn/plan.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/dnn/gather.h"
#include "core/dnn/int8_layer.h"
#include "core/dnn/kernels.h"
#include "core/dnn/operation.h"
#include "core/dnn/own_convolution.h"
#include "core/dnn/plan_memory.h"
#include "core/dnn/precision.h"
#include "core/dnn/quantization.h"
#include "core/dnn/softmax.h"
#include "core/dnn/split_layer.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kLeastMicroBatches = 16;
constexpr int64_t kMostImages = 64;
// Of a training workspace, so that it stays in a second cache; but weights, too, are read for each
// micro-batch, so not fewer images than a handful for that.
constexpr int64_t kCacheBytes = 1408 << 10, kLeastImagesForCache = 4;
// Of a training workspace where a micro-batch has more than one image. Networks that keep a core
// busy by their FLOP stay far below it; it is there for those that hold much and compute little.
constexpr int64_t kMostWorkspaceBytes = 64 << 20;

// oneDNN has kernels for first layers of three channels everywhere, for fewer not (2.6 on AVX2:
// backward weights).
constexpr int kPaddedInputChannels = 3;

// Debian's oneDNN is an OpenMP build: a thread that makes or runs primitives first says that it is
// alone.
template <typename F>
absl::Status CatchOneDnn(F f) {
  omp_set_num_threads(1);
  try {
    f();
    return absl::OkStatus();
  } catch (const dnnl::error& error) {
    return absl::InternalError(
        absl::StrCat("oneDNN: ", error.what(), " (status ", error.status, ")"));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the network's buffers");
  }
}

// An operation's place among the packed parameters.
struct Segment {
  int64_t packed = 0, derived = 0;
};

class BoundWorkspace : public Workspace {
 public:
  dnnl::stream stream{CpuEngine()};
  std::vector<AlignedBuffer> buffers;
  std::vector<AlignedBuffer> extra;
  AlignedBuffer scratch;
  std::vector<Call> bound;  // of the one phase, in order

  int64_t bytes() const override {
    int64_t floats = scratch.size();
    for (const AlignedBuffer& buffer : buffers) floats += buffer.size();
    for (const AlignedBuffer& buffer : extra) floats += buffer.size();
    return floats * static_cast<int64_t>(sizeof(float));
  }

  std::vector<CallInfo> calls() const override {
    std::vector<CallInfo> infos;
    infos.reserve(bound.size());
    for (const Call& call : bound) infos.push_back(call.info);
    return infos;
  }
};

class CompiledPlan : public Plan {
 public:
  // `scales` is InputScales of an int8 plan's quantization.
  CompiledPlan(const Graph& graph, const PlanOptions& options, std::vector<InputScale> scales)
      : graph_(graph), options_(options), scales_(std::move(scales)), input_(graph.input()) {
    options_.quantization = nullptr;  // scales_ has what it says
  }

  // Throws; Compile catches.
  void Build() {
    AddOperations(graph_.input());
    Prepare();
    if (!operations_.empty() && operations_[0]->uses_reference_kernel() &&
        graph_.input().channels < kPaddedInputChannels &&
        // Of one with groups more channels would be other ones.
        std::find_if(graph_.layers().begin(), graph_.layers().end(), HasWeights)->groups == 1) {
      input_.channels = kPaddedInputChannels;
      AddOperations(input_);
      Prepare();
    }
    for (const auto& operation : operations_) {
      segments_.push_back({packed_size_, derived_size_});
      operation->AddDerivedParts(packed_size_, derived_size_, parts_);
      packed_size_ += operation->packed_size();
      derived_size_ += operation->derived_size();
    }
    if (!operations_.empty() && operations_[0]->reads_bytes) {
      gathers_bytes_.emplace(graph_.input(), graph_.scale(), options_.images,
                             *operations_[0]->input_scale());
    } else {
      gathers_.emplace(graph_.input(), input_.channels, graph_.scale(), options_.images,
                       options_.training ? options_.augmentation : v1::Augmentation());
    }
  }

  const Graph& graph() const override { return graph_; }
  int64_t images() const override { return options_.images; }
  int phases() const override { return 1; }
  int64_t packed_size() const override { return packed_size_; }
  int64_t derived_size() const override { return derived_size_; }
  int derive_parts() const override { return static_cast<int>(parts_.size()); }
  PackedRange derive_range(int part) const override {
    const int64_t begin = parts_[part].packed;
    return {begin, begin + parts_[part].operation->packed_size()};
  }

  absl::Status Pack(absl::Span<const float> canonical, float* packed) const override {
    std::memset(packed, 0, packed_size_ * sizeof(float));
    absl::Status packs;
    CONVD_RETURN_IF_ERROR(CatchOneDnn([&] {
      for (size_t i = 0; i < operations_.size() && packs.ok(); ++i) {
        const Operation& o = *operations_[i];
        if (o.kernel < 0) continue;
        packs =
            o.Pack(At(canonical, o.kernel), At(canonical, o.bias), packed + segments_[i].packed);
      }
    }));
    return packs;
  }

  absl::Status Unpack(const float* packed, absl::Span<float> canonical) const override {
    if (!options_.training) {
      return absl::FailedPreconditionError("only a training plan's weights can be unpacked");
    }
    return CatchOneDnn([&] {
      for (size_t i = 0; i < operations_.size(); ++i) {
        const Operation& o = *operations_[i];
        if (o.kernel >= 0)
          o.Unpack(packed + segments_[i].packed, At(canonical, o.kernel), At(canonical, o.bias));
      }
    });
  }

  absl::Status Derive(int part, const float* packed, float* derived) const override {
    return CatchOneDnn([&] {
      const Operation::DerivedPart& p = parts_[part];
      p.operation->Derive(packed + p.packed, derived + p.derived);
    });
  }

  absl::StatusOr<std::unique_ptr<Workspace>> NewWorkspace(
      const float* packed, const float* derived, absl::FunctionRef<bool()> at_cut) const override {
    auto workspace = std::make_unique<BoundWorkspace>();
    bool bound = false;
    CONVD_RETURN_IF_ERROR(CatchOneDnn([&] { bound = Bind(packed, derived, at_cut, *workspace); }));
    if (!bound) return absl::CancelledError("stopped at a cut");
    return std::unique_ptr<Workspace>(std::move(workspace));
  }

  absl::Status RunPhase(int /*phase*/, Workspace& workspace, MicroBatch& batch,
                        absl::FunctionRef<bool()> at_cut) const override {
    const auto& calls = static_cast<BoundWorkspace&>(workspace).bound;
    bool stopped = false;
    CONVD_RETURN_IF_ERROR(CatchOneDnn([&] {
      for (const Call& call : calls) {
        call.run(batch);
        if (!at_cut()) {
          stopped = true;
          return;
        }
      }
    }));
    return stopped ? absl::CancelledError("stopped at a cut") : absl::OkStatus();
  }

 private:
  template <typename T>
  T* At(absl::Span<T> canonical, int parameter) const {
    return parameter < 0 ? nullptr : canonical.data() + graph_.parameters()[parameter].offset;
  }

  // The graph's layers as operations: flatten and, for inference, dropout are gone; a ReLU is fused
  // into the layer before it, and by the engine's own convolutions a max pool, too; the softmax
  // that ends the network belongs to the loss.
  void AddOperations(Shape in) {
    operations_.clear();
    observed_ = 0;
    const std::vector<GraphLayer>& layers = graph_.layers();
    const int64_t n = options_.images;
    bool parameters_before = false;
    for (size_t i = 0; i < layers.size(); ++i) {
      const GraphLayer& layer = layers[i];
      switch (layer.kind) {
        case LayerKind::kConv2D:
        case LayerKind::kDense: {
          if (options_.observes_inputs) {
            operations_.push_back(NewObservation(layer, n, observed_++));
          }
          PlanOptions options = options_;
          options.precision = LayerPrecision(layer, options_.precision, !parameters_before);
          const bool int8 = options.precision == v1::PRECISION_INT8;
          const ConvolutionKernel kernel = ChooseConvolutionKernel(graph_, i, !parameters_before);
          parameters_before = true;
          const FusedLayers fused = Fuse(graph_, i, int8 || kernel != ConvolutionKernel::kOneDnn);
          if (int8) {
            operations_.push_back(NewInt8Layer(layer, n, fused, scales_[i]));
          } else {
            operations_.push_back(
                NewWeighted(layer, operations_.empty() ? in : layer.in, kernel, options, fused));
          }
          i += fused.layers - 1;
          if (fused.relu) continue;
          break;
        }
        case LayerKind::kMaxPool:
        case LayerKind::kAveragePool:
          operations_.push_back(NewPool(layer, n, options_.training));
          continue;
        case LayerKind::kDropout:
          if (options_.training && layer.rate > 0) {
            operations_.push_back(NewDropout(layer, static_cast<int>(i), n));
          }
          continue;
        case LayerKind::kFlatten:
          continue;
        case LayerKind::kActivation:
          break;
      }
      if (layer.activation == v1::ACTIVATION_UNSPECIFIED ||
          layer.activation == v1::ACTIVATION_SOFTMAX) {
        continue;
      }
      operations_.push_back(NewActivation(layer, n, options_.training));
    }
  }

  // A convolution or dense layer in f32 or bf16, in slices where its calls would be too long.
  std::unique_ptr<Operation> NewWeighted(const GraphLayer& layer, Shape in,
                                         ConvolutionKernel kernel, const PlanOptions& options,
                                         const FusedLayers& fused) const {
    std::vector<std::unique_ptr<Operation>> operations;
    for (const GraphLayer& slice : SlicesOf(layer, kernel, options.training)) {
      FusedLayers with = fused;
      GraphLayer pool;
      if (fused.pool != nullptr) {
        pool = *fused.pool;
        pool.in.channels = pool.out.channels = slice.out.channels;
        with.pool = &pool;
      }
      if (kernel != ConvolutionKernel::kOneDnn) {
        operations.push_back(NewOwnConvolution(slice, kernel, options, with));
      } else if (layer.kind == LayerKind::kConv2D) {
        operations.push_back(
            NewConvolution(slice, layer.groups > 1 ? slice.in : in, options, fused.relu));
      } else {
        operations.push_back(NewDense(slice, options.images, options.training, fused.relu));
      }
    }
    if (operations.size() == 1) return std::move(operations[0]);
    return NewSplitLayer(layer, options.images, options.training, std::move(operations));
  }

  void Prepare() {
    bool parameters_before = false;
    for (size_t i = 0; i < operations_.size(); ++i) {
      Operation& o = *operations_[i];
      Operation* before = i > 0 ? operations_[i - 1].get() : nullptr;
      const bool pool_next = i + 1 < operations_.size() && operations_[i + 1]->is_max_pool();
      o.needs_dx = parameters_before;
      o.masks_relu = o.has_relu() && !pool_next;
      o.pool_masks_relu = o.is_max_pool() && before != nullptr && before->has_relu();
      o.in_place = o.can_run_in_place() && before != nullptr && !before->backward_reads_output();
      o.reads_bytes =
          o.input_scale() != nullptr && (before == nullptr || before->input_scale() != nullptr);
      o.output_scale = i + 1 < operations_.size() && o.input_scale() != nullptr
                           ? operations_[i + 1]->input_scale()
                           : nullptr;
      o.Prepare();
      parameters_before = parameters_before || o.kernel >= 0;
    }
  }

  // False where it was stopped.
  bool Bind(const float* packed, const float* derived, absl::FunctionRef<bool()> at_cut,
            BoundWorkspace& w) const {
    const int64_t n = options_.images;
    int64_t scratch_bytes = 64;
    for (const auto& o : operations_) scratch_bytes = std::max(scratch_bytes, o->scratch_bytes());
    const auto cut = [&] { at_cut(); };  // whether it stops is asked again below
    w.scratch = AlignedBuffer((scratch_bytes + 3) / 4, cut);
    auto buffer = [&](int64_t elements) {
      w.buffers.emplace_back(n * elements, cut);
      return w.buffers.back().data();
    };

    float* x = buffer(input_.elements());
    const int64_t pixels = n * graph_.input().elements();
    CallInfo gather = OwnCall("input", "gather", "nhwc", 0, n * input_.elements());
    gather.bytes += pixels;
    if (gathers_bytes_.has_value()) {
      gather.bytes = 2 * pixels;
      w.bound.push_back({std::move(gather), [this, x](MicroBatch& batch) {
                           (*gathers_bytes_)(batch, reinterpret_cast<uint8_t*>(x));
                         }});
    } else {
      w.bound.push_back(
          {std::move(gather), [this, x](MicroBatch& batch) { (*gathers_)(batch, x); }});
    }
    float* dx = nullptr;
    std::vector<std::vector<Call>> backward(operations_.size());
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (!at_cut()) return false;
      const Operation& o = *operations_[i];
      Binding b;
      b.weights = packed + segments_[i].packed;
      b.derived = derived == nullptr ? nullptr : derived + segments_[i].derived;
      b.gradient_offset = segments_[i].packed;
      b.x = x;
      b.y = o.in_place ? x : buffer(o.out_elements);
      b.dx = o.needs_dx ? dx : nullptr;
      if (options_.training) {
        // A max pool's backward doesn't read what it pooled, and a layer whose ReLU the pool undoes
        // doesn't read its output: the gradient may lie where that output lay, in cache.
        const bool reuse = i + 1 < operations_.size() && operations_[i + 1]->is_max_pool() &&
                           !o.backward_reads_output() && !o.in_place;
        b.dy = reuse ? b.y : (o.in_place && o.needs_dx) ? dx : buffer(o.out_elements);
      }
      b.scratch = w.scratch.data();
      b.stream = &w.stream;
      b.extra = &w.extra;
      b.forward = &w.bound;
      b.backward = &backward[i];
      o.Bind(b);
      x = b.y;
      dx = b.dy;
    }
    const int classes = graph_.classes();
    w.extra.emplace_back(n * classes);
    // Scores, probabilities, and when training the gradient of the scores.
    w.bound.push_back({OwnCall("output", options_.training ? "loss" : "softmax", "nc", 0,
                               n * classes * (options_.training ? 3 : 2)),
                       [this, x, dx, own = w.extra.back().data()](MicroBatch& batch) {
                         Loss(batch, x, own, dx);
                       }});
    if (!options_.training) return true;
    for (size_t i = operations_.size(); i-- > 0;)
      for (Call& call : backward[i]) w.bound.push_back(std::move(call));
    return true;
  }

  // Probabilities, and when training the loss, the hits and the gradient of the scores.
  void Loss(MicroBatch& batch, const float* scores, float* own, float* gradient) const {
    const int classes = graph_.classes();
    const int64_t given = static_cast<int64_t>(batch.samples.size());
    float* p = batch.probabilities != nullptr ? batch.probabilities : own;
    for (int64_t i = 0; i < given; ++i) Softmax(classes, scores + i * classes, p + i * classes);
    if (!options_.training) return;
    batch.loss_sum = 0;
    batch.correct = 0;
    std::memset(gradient + given * classes, 0, (options_.images - given) * classes * sizeof(float));
    for (int64_t i = 0; i < given; ++i) {
      const int32_t label = batch.images->labels[batch.samples[i]];
      batch.loss_sum += CrossEntropy(classes, scores + i * classes, label);
      batch.correct += MostProbable(classes, p + i * classes) == label;
      for (int c = 0; c < classes; ++c)
        gradient[i * classes + c] =
            (p[i * classes + c] - (c == label ? 1.0f : 0.0f)) * batch.loss_scale;
    }
  }

  const Graph graph_;
  PlanOptions options_;
  const std::vector<InputScale> scales_;  // by layer; of an int8 plan
  int observed_ = 0;                      // layers whose input is noted
  Shape input_;                           // as it lies in memory: channels may be padded
  std::optional<PixelGather> gathers_;    // one of the two
  std::optional<ByteGather> gathers_bytes_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Segment> segments_;  // one an operation
  std::vector<Operation::DerivedPart> parts_;
  int64_t packed_size_ = 0, derived_size_ = 0;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Plan>> Plan::Compile(const Graph& graph,
                                                          const PlanOptions& options) {
  if (options.images < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("micro_batch: got ", options.images, "; want at least 1"));
  }
  CONVD_RETURN_IF_ERROR(CheckPrecision("precision", options.precision));
  if (options.training) {
    CONVD_RETURN_IF_ERROR(CheckAugmentation(options.augmentation, graph.input()));
  }
  std::vector<InputScale> scales;
  if (options.precision == v1::PRECISION_INT8) {
    if (options.training) {
      return absl::InvalidArgumentError("precision: got int8; want f32 or bf16 for training");
    }
    if (options.quantization == nullptr) {
      return absl::FailedPreconditionError("quantization: there is none, and int8 needs one");
    }
    CONVD_ASSIGN_OR_RETURN(scales, InputScales(graph, *options.quantization));
  }
  std::shared_ptr<CompiledPlan> plan;
  CONVD_RETURN_IF_ERROR(CatchOneDnn([&] {
    plan = std::make_shared<CompiledPlan>(graph, options, std::move(scales));
    plan->Build();
  }));
  return std::shared_ptr<const Plan>(std::move(plan));
}

// Calls `take` with each layer's FLOP forward, as ImageFlop counts them.
template <typename Take>
void ForEachLayerFlop(const Graph& graph, Take take) {
  bool first = true;
  for (size_t i = 0; i < graph.layers().size(); ++i) {
    const GraphLayer& layer = graph.layers()[i];
    double flop = 0;
    if (layer.kind == LayerKind::kConv2D) {
      flop = layer.groups > 1 ? GroupedFlop(layer)
                              : 2.0 * layer.out.elements() * layer.window.kernel_h *
                                    layer.window.kernel_w * layer.in.channels;
      if (ChooseConvolutionKernel(graph, i, first) == ConvolutionKernel::kWinograd)
        flop /= kWinogradSpeed;
      first = false;
    } else if (layer.kind == LayerKind::kDense) {
      flop = 2.0 * layer.in.elements() * layer.out.elements();
      first = false;
    }
    take(flop);
  }
}

double ImageFlop(const Graph& graph) {
  double sum = 0;
  ForEachLayerFlop(graph, [&](double flop) { sum += flop; });
  return sum;
}

int64_t MicroBatchImages(const Graph& graph, int64_t batch) {
  double largest = 1;
  ForEachLayerFlop(graph, [&](double flop) { largest = std::max(largest, flop); });
  const int64_t by_flop =
      std::clamp<int64_t>(static_cast<int64_t>(kCallFlop / largest), 1, kMostImages);
  const int64_t image_bytes =
      EstimatePlanMemory(graph, {.training = true, .images = 1}).image_bytes;
  const int64_t by_bytes =
      std::clamp<int64_t>(kMostWorkspaceBytes / image_bytes, 1,
                          std::max(kCacheBytes / image_bytes, kLeastImagesForCache));
  const int64_t images =
      std::min({by_flop, by_bytes, (batch + kLeastMicroBatches - 1) / kLeastMicroBatches});
  // As even as can be: the last one of a batch has few blanks.
  const int64_t count = (batch + images - 1) / images;
  return (batch + count - 1) / count;
}

int64_t MostMicroBatchImages(const Graph& graph) {
  return MicroBatchImages(graph, int64_t{1} << 20);
}

}  // namespace convd
