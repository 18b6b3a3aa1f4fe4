#include "core/dnn/plan_memory.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dnn/int8_layer.h"
#include "core/dnn/kernels.h"
#include "core/dnn/own_convolution.h"
#include "core/dnn/split_layer.h"

namespace convd {
namespace {

// The blocks of channels that oneDNN's layouts pad to.
constexpr double kChannelBlocks[] = {16, 24, 32, 48, 64};
// Arrays are rounded up to as many floats.
constexpr double kArrayFloats = 16;
// The kernels pad a first layer's channels to this many.
constexpr int kLeastInputChannels = 3;
// A scratchpad's, of the kernels that need one for more than gradients.
constexpr double kScratchBytes = 64 << 10;
constexpr double kFloat = sizeof(float);

// Doubles, as these products may pass 64 bits; sums of whole numbers below 2^53 are exact, so that
// what is decided by them is decided alike everywhere.
double Padded(double channels) {
  const double least = std::ceil(channels / kChannelBlocks[0]) * kChannelBlocks[0];
  double most = least;
  for (const double block : kChannelBlocks) {
    if (block <= least) most = std::max(most, std::ceil(channels / block) * block);
  }
  return most;
}

// Floats of a convolution's kernel as oneDNN may lay it out: blocks of channels on both sides of
// each group, or blocks of groups where each has one channel.
double PackedKernel(const GraphLayer& layer) {
  const double window = static_cast<double>(layer.window.kernel_h) * layer.window.kernel_w;
  const double in = std::max(layer.in.channels, kLeastInputChannels) / layer.groups;
  const double out = layer.out.channels / layer.groups;
  if (layer.groups > 1 && in <= 1 && out == 1) return Padded(layer.groups) * window;
  return layer.groups * Padded(in) * Padded(out) * window;
}

// Floats of scratchpad that a convolution may want. Which kernel it gets, and how much that copies,
// depends on oneDNN's version, the instruction set and the sizes of caches. Above all that was
// seen: an image padded on both sides, and where oneDNN may have no kernel of its own (dilation,
// groups) the image unfolded for a product of matrices (im2col).
// In bf16 images are turned so that neighbouring pixels share a lane, each group's channels padded.
double ConvolutionScratch(const GraphLayer& layer, bool bf16) {
  const auto padded = [](Shape shape, int groups) {
    return static_cast<double>(shape.height) * shape.width * groups *
           Padded(shape.channels / groups);
  };
  double floats = padded(layer.in, 1) + padded(layer.out, 1);
  if (bf16) floats += (padded(layer.in, layer.groups) + padded(layer.out, layer.groups)) / 2;
  if (layer.groups > 1 || layer.window.dilation_h > 1 || layer.window.dilation_w > 1) {
    floats += static_cast<double>(layer.in.channels) / layer.groups * layer.window.kernel_h *
              layer.window.kernel_w * layer.out.height * layer.out.width;
  }
  return floats;
}

int64_t Whole(double bytes) { return static_cast<int64_t>(std::min(bytes, 0x1p62)); }

}  // namespace

// As CompiledPlan::AddOperations, Prepare and Bind have it (plan.cc); a test holds them together.
PlanMemory EstimatePlanMemory(const Graph& graph, const PlanOptions& options) {
  const bool training = options.training;
  const std::vector<GraphLayer>& layers = graph.layers();
  const Shape input = graph.input();
  double image = static_cast<double>(input.height) * input.width *
                 std::max(input.channels, kLeastInputChannels) * kFloat;
  double packed = 0, derived = 0, scratch = kScratchBytes, fixed = 0;
  // What CompiledPlan::Prepare asks of the operation before: does its backward read what it wrote,
  // and is a ReLU fused into it?
  bool output_read = false, has_relu = false;
  bool first = true;  // nothing before has parameters
  // An operation's result and, when training, its gradient; where a max pool follows and the result
  // isn't read again, they share a buffer.
  const auto keep = [&](double elements, bool pool_next, bool reads_output, bool relu) {
    image += elements * kFloat * (training && !(pool_next && !reads_output) ? 2 : 1);
    output_read = reads_output;
    has_relu = relu;
  };
  // An activation that is an operation of its own: over its input where nobody reads that again.
  const auto activate = [&](double elements, bool before) {
    if (!before || output_read) {
      image += elements * kFloat * (training ? 2 : 1);
    } else if (training && first) {
      image += elements * kFloat;  // a gradient that nothing before asks for
    }
    output_read = true;
    has_relu = false;
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const GraphLayer& layer = layers[i];
    const double out = static_cast<double>(layer.out.elements());
    const auto is = [&](size_t at, LayerKind kind) {
      return at < layers.size() && layers[at].kind == kind;
    };
    const bool own_activation = layer.activation != v1::ACTIVATION_UNSPECIFIED &&
                                layer.activation != v1::ACTIVATION_SOFTMAX;
    switch (layer.kind) {
      case LayerKind::kConv2D:
      case LayerKind::kDense: {
        if (options.observes_inputs) image += static_cast<double>(layer.in.elements()) * kFloat;
        const ConvolutionKernel own = ChooseConvolutionKernel(graph, i, first);
        const v1::Precision precision = LayerPrecision(layer, options.precision, first);
        const bool int8 = precision == v1::PRECISION_INT8;
        const bool bf16 = precision == v1::PRECISION_BF16;
        first = false;
        const FusedLayers fused = Fuse(graph, i, int8 || own != ConvolutionKernel::kOneDnn);
        i += fused.layers - 1;
        if (fused.pool != nullptr) {
          const double pooled = static_cast<double>(fused.pool->out.elements());
          if (training) image += pooled;  // which output won
          keep(pooled, is(i + 1, LayerKind::kMaxPool), fused.relu, false);
        } else {
          const bool pool_next = is(i + 1, LayerKind::kMaxPool) && (fused.relu || !own_activation);
          keep(out, pool_next, fused.relu && !pool_next, fused.relu);
        }
        if (own_activation && !fused.relu) activate(out, true);
        if (int8) {
          packed += static_cast<double>(Int8PackedFloats(layer));
          scratch = std::max(scratch, kScratchBytes + static_cast<double>(Int8ScratchBytes(layer)) *
                                                          static_cast<double>(options.images));
          break;
        }
        const std::vector<GraphLayer> slices = SlicesOf(layer, own, training);
        if (slices.size() > 1) {
          const int64_t split_out =
              fused.pool != nullptr ? fused.pool->out.elements() : layer.out.elements();
          image += static_cast<double>(SplitLayerFloats(layer, split_out, training)) * kFloat;
        }
        for (const GraphLayer& slice : slices) {
          if (slice.kind == LayerKind::kDense) {
            const double units = static_cast<double>(PaddedUnits(slice.out.channels));
            const double inputs = static_cast<double>(slice.in.elements());
            packed += (inputs + 1) * units;
            if (training) {
              derived += std::ceil(inputs * slice.out.channels / kArrayFloats) * kArrayFloats;
              image += units * kFloat;
            }
          } else if (own != ConvolutionKernel::kOneDnn) {
            const OwnConvolutionFloats floats = FloatsOf(slice, own, training, precision);
            packed += static_cast<double>(floats.packed);
            derived += static_cast<double>(floats.derived);
            scratch = std::max(scratch, static_cast<double>(floats.scratch) * kFloat);
            image += static_cast<double>(floats.image_scratch) * kFloat;
          } else {
            const double kernel = PackedKernel(slice);
            if (bf16) {
              // Copies of what it reads, and when training of the gradient that it gets.
              image +=
                  static_cast<double>(slice.in.elements() + (training ? slice.out.elements() : 0)) *
                  kFloat / 2;
            }
            packed += kernel + Padded(slice.out.channels);
            scratch = std::max(scratch, kScratchBytes + ConvolutionScratch(slice, bf16) * kFloat);
            if (training) {
              derived += kernel;
              // The weights' gradient before it is brought into their layout, where it isn't made
              // there.
              fixed += kernel * kFloat;
              scratch = std::max(scratch, kernel * kFloat);
            }
          }
        }
        break;
      }
      case LayerKind::kMaxPool:
      case LayerKind::kAveragePool: {
        const bool max = layer.kind == LayerKind::kMaxPool;
        // Which of the window it was.
        if (training && max) image += out * (WideWindow(layer.window) ? 4 : 1);
        keep(out, is(i + 1, LayerKind::kMaxPool), max && has_relu, false);
        break;
      }
      case LayerKind::kDropout:
        if (!training || layer.rate <= 0) break;
        image += out;  // which were kept
        keep(out, is(i + 1, LayerKind::kMaxPool), false, false);
        break;
      case LayerKind::kActivation:
        if (own_activation) activate(out, i > 0);
        break;
      case LayerKind::kFlatten:
        break;
    }
  }
  image += graph.classes() * kFloat;
  PlanMemory memory;
  memory.image_bytes = Whole(image);
  memory.workspace_bytes = Whole(image * static_cast<double>(options.images) + fixed + scratch);
  memory.packed_bytes = Whole(packed * kFloat);
  memory.derived_bytes = Whole(derived * kFloat);
  return memory;
}

}  // namespace convd
