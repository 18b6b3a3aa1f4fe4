#include "core/dnn/plan_memory.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dnn/kernels.h"
#include "core/dnn/own_convolution.h"

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
double ConvolutionScratch(const GraphLayer& layer) {
  const auto padded = [](Shape shape) {
    return static_cast<double>(shape.height) * shape.width * Padded(shape.channels);
  };
  double floats = padded(layer.in) + padded(layer.out);
  if (layer.groups > 1 || layer.window.dilation_h > 1 || layer.window.dilation_w > 1) {
    floats += static_cast<double>(layer.in.channels) / layer.groups * layer.window.kernel_h *
              layer.window.kernel_w * layer.out.height * layer.out.width;
  }
  return floats;
}

int64_t Whole(double bytes) { return static_cast<int64_t>(std::min(bytes, 0x1p62)); }

}  // namespace

// As CompiledPlan::AddOperations and Bind have it (plan.cc); a test holds the two together.
PlanMemory EstimatePlanMemory(const Graph& graph, const PlanOptions& options) {
  const bool training = options.training;
  const std::vector<GraphLayer>& layers = graph.layers();
  const Shape input = graph.input();
  double image = static_cast<double>(input.height) * input.width *
                 std::max(input.channels, kLeastInputChannels) * kFloat;
  double packed = 0, derived = 0, scratch = kScratchBytes, fixed = 0;
  // Of an activation, the gradient and the forward result both; a convolution's before a max pool
  // share a buffer.
  const auto keep = [&](double elements, bool shared) {
    image += elements * kFloat * (training && !shared ? 2 : 1);
  };
  bool in_place = false;  // an activation may overwrite what the layer before it wrote
  bool first = true;      // nothing before has parameters
  for (size_t i = 0; i < layers.size(); ++i) {
    const GraphLayer& layer = layers[i];
    const double out = static_cast<double>(layer.out.elements());
    const bool before_pool = i + 1 < layers.size() && layers[i + 1].kind == LayerKind::kMaxPool;
    const bool own_activation = layer.activation != v1::ACTIVATION_UNSPECIFIED &&
                                layer.activation != v1::ACTIVATION_SOFTMAX;
    switch (layer.kind) {
      case LayerKind::kConv2D: {
        const bool relu = layer.activation == v1::ACTIVATION_RELU;
        const ConvolutionKernel own = ChooseConvolutionKernel(layer, first);
        first = false;
        in_place = !own_activation;
        if (own != ConvolutionKernel::kOneDnn) {
          // With a ReLU that is a layer of its own, too: see FusedPool.
          if (const GraphLayer* pool = FusedPool(graph, i); pool != nullptr) {
            image += static_cast<double>(pool->out.elements());  // which output won
            keep(static_cast<double>(pool->out.elements()), false);
            while (&layers[i] != pool) ++i;
          } else {
            keep(out, before_pool && (relu || !own_activation));
          }
          const OwnConvolutionFloats floats = FloatsOf(layer, own, training);
          packed += static_cast<double>(floats.packed);
          derived += static_cast<double>(floats.derived);
          scratch = std::max(scratch, static_cast<double>(floats.scratch) * kFloat);
          break;
        }
        keep(out, before_pool && (relu || !own_activation));
        const double kernel = PackedKernel(layer);
        packed += kernel + Padded(layer.out.channels);
        scratch = std::max(scratch, kScratchBytes + ConvolutionScratch(layer) * kFloat);
        if (training) {
          derived += kernel;
          // The weights' gradient before it is brought into their layout, where it isn't made
          // there.
          fixed += kernel * kFloat;
          scratch = std::max(scratch, kernel * kFloat);
        }
        break;
      }
      case LayerKind::kDense: {
        keep(out, before_pool && !own_activation);
        first = false;
        const double units = static_cast<double>(PaddedUnits(layer.out.channels));
        const double inputs = static_cast<double>(layer.in.elements());
        packed += (inputs + 1) * units;
        if (training) {
          derived += std::ceil(inputs * out / kArrayFloats) * kArrayFloats;
          image += units * kFloat;
        }
        in_place = !own_activation;
        break;
      }
      case LayerKind::kMaxPool:
      case LayerKind::kAveragePool:
        keep(out, before_pool);
        if (training) image += out;  // which of the window it was
        in_place = true;
        break;
      case LayerKind::kDropout:
        if (!training || layer.rate <= 0) break;
        keep(out, before_pool);
        image += out;  // which were kept
        in_place = true;
        break;
      case LayerKind::kActivation:
        if (!own_activation) break;
        if (!in_place) keep(out, false);
        in_place = false;
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
