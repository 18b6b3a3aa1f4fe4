#include "core/dnn/split_layer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace convd {
namespace {

constexpr int kSlice = 16;  // what the kernels take filters and units by

// Beyond this, about a millisecond, a call of a single image is cut. Not sooner: each slice reads
// the layer's input anew.
constexpr double kMostCallFlop = 2 * kCallFlop;
// Weights are read once for each image or few.
constexpr double kMostCallFloats = 2 * kCallFloats;

// Of the longest call for one image, where the slice has `channels` of the output.
double LongestCall(GraphLayer layer, int channels, ConvolutionKernel kernel, bool training) {
  layer.out.channels = channels;
  if (layer.kind == LayerKind::kDense) {
    return 2.0 * static_cast<double>(layer.in.elements()) * channels;
  }
  const double whole = 2.0 * static_cast<double>(layer.out.elements()) * layer.window.kernel_h *
                       layer.window.kernel_w * layer.in.channels;
  if (kernel != ConvolutionKernel::kWinograd) return whole;
  // Those are cut by blocks of tiles first, and backward is both gradients.
  const WinogradShape shape = WinogradShapeOf(layer, 1, false, false);
  const auto tiles = static_cast<double>(WinogradTiles(shape));
  const double block = std::min(1.0, static_cast<double>(shape.block) / tiles);
  return whole / kWinogradSpeed * (training ? 2 : 1) * block;
}

double Weights(const GraphLayer& layer, int channels) {
  if (layer.kind == LayerKind::kDense) return static_cast<double>(layer.in.elements()) * channels;
  return static_cast<double>(layer.window.kernel_h) * layer.window.kernel_w * layer.in.channels /
         layer.groups * channels;
}

double Padded(int channels) { return (channels + kSlice - 1) / kSlice * kSlice; }

bool IsDepthwise(const GraphLayer& layer) {
  return layer.in.channels == layer.groups && layer.out.channels == layer.groups;
}

// `groups` of a layer's.
GraphLayer GroupsOf(const GraphLayer& layer, int groups) {
  GraphLayer slice = layer;
  slice.groups = groups;
  slice.in.channels = layer.in.channels / layer.groups * groups;
  slice.out.channels = layer.out.channels / layer.groups * groups;
  return slice;
}

std::vector<GraphLayer> GroupedSlicesOf(const GraphLayer& layer, bool training) {
  const auto fits = [&](int groups, double calls) {
    const GraphLayer slice = GroupsOf(layer, groups);
    return GroupedFlop(slice) <= calls * kCallFlop &&
           Weights(slice, slice.out.channels) <= calls * kCallFloats;
  };
  if (fits(layer.groups, 2)) return {layer};
  // Kernels of one channel a group take groups by vectors.
  const int step = IsDepthwise(layer) ? kSlice : 1;
  int groups = layer.groups;
  for (int count = 2; groups > step && !fits(groups, 1); ++count) {
    groups = (layer.groups + count * step - 1) / (count * step) * step;
  }
  std::vector<GraphLayer> slices;
  for (int begin = 0; begin < layer.groups; begin += groups) {
    const GraphLayer slice = GroupsOf(layer, std::min(groups, layer.groups - begin));
    if (slice.groups > 1) {
      slices.push_back(slice);
      continue;
    }
    for (GraphLayer& part : SlicesOf(slice, ConvolutionKernel::kOneDnn, training)) {
      slices.push_back(std::move(part));
    }
  }
  return slices;
}

// The columns of a slice in rows of all channels.
struct Columns {
  int64_t rows, all, begin, width;
  void Gather(const float* whole, float* slice) const {
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(slice + r * width, whole + r * all + begin, width * sizeof(float));
  }
  void Scatter(const float* slice, float* whole) const {
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(whole + r * all + begin, slice + r * width, width * sizeof(float));
  }
  void Add(const float* slice, float* whole) const {
    if (width == all) return ActiveKernels().add(rows * width, slice, whole);
    for (int64_t r = 0; r < rows; ++r)
      ActiveKernels().add(width, slice + r * width, whole + r * all + begin);
  }
};

class SplitLayer : public Operation {
 public:
  SplitLayer(const GraphLayer& layer, int64_t images, bool training,
             std::vector<std::unique_ptr<Operation>> slices)
      : Operation(slices[0]->name()),
        dense_(layer.kind == LayerKind::kDense),
        groups_(layer.groups),
        channels_(layer.out.channels),
        inputs_(dense_ ? layer.in.elements()
                       : int64_t{layer.in.channels} / groups_ * layer.window.kernel_h *
                             layer.window.kernel_w),
        images_(images),
        training_(training),
        slices_(std::move(slices)) {
    kernel = layer.kernel;
    bias = layer.bias;
    in_elements = groups_ > 1 ? layer.in.elements() : slices_[0]->in_elements;
    in_channels_ = groups_ > 1 ? layer.in.channels : in_elements;
    for (const auto& slice : slices_) out_elements += slice->out_elements;
    pixels_ = out_elements / channels_;
  }

  bool has_relu() const override { return slices_[0]->has_relu(); }
  bool backward_reads_output() const override { return slices_[0]->backward_reads_output(); }
  bool uses_reference_kernel() const override {
    return std::any_of(slices_.begin(), slices_.end(),
                       [](const auto& slice) { return slice->uses_reference_kernel(); });
  }

  void Prepare() override {
    for (const auto& slice : slices_) {
      slice->needs_dx = needs_dx;
      slice->masks_relu = masks_relu;
      slice->Prepare();
    }
  }

  int64_t scratch_bytes() const override {
    int64_t most = 0;
    for (const auto& slice : slices_) most = std::max(most, slice->scratch_bytes());
    return most;
  }
  int64_t packed_size() const override {
    int64_t sum = 0;
    for (const auto& slice : slices_) sum += slice->packed_size();
    return sum;
  }
  int64_t derived_size() const override {
    int64_t sum = 0;
    for (const auto& slice : slices_) sum += slice->derived_size();
    return sum;
  }

  absl::Status Pack(const float* from, const float* from_bias, float* packed) const override {
    AlignedBuffer units(UnitsFloats());
    for (Place at; at.slice < slices_.size(); Advance(at)) {
      const Operation& slice = *slices_[at.slice];
      const float* part = from + at.channel * inputs_;
      if (dense_) {
        UnitsOf(at).Gather(from, units.data());
        part = units.data();
      }
      const absl::Status status =
          slice.Pack(part, bias < 0 ? nullptr : from_bias + at.channel, packed + at.packed);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  void Unpack(const float* packed, float* to, float* to_bias) const override {
    AlignedBuffer units(UnitsFloats());
    for (Place at; at.slice < slices_.size(); Advance(at)) {
      float* const part = dense_ ? units.data() : to + at.channel * inputs_;
      slices_[at.slice]->Unpack(packed + at.packed, part,
                                bias < 0 ? nullptr : to_bias + at.channel);
      if (dense_) UnitsOf(at).Scatter(units.data(), to);
    }
  }

  void AddDerivedParts(int64_t packed, int64_t derived,
                       std::vector<DerivedPart>& parts) const override {
    for (Place at; at.slice < slices_.size(); Advance(at)) {
      slices_[at.slice]->AddDerivedParts(packed + at.packed, derived + at.derived, parts);
    }
  }

  void Bind(const Binding& b) const override {
    const auto buffer = [&](int64_t floats) {
      b.extra->emplace_back(images_ * floats);
      return b.extra->back().data();
    };
    const bool keeps_output = training_ && backward_reads_output();
    const int64_t widest = slices_[0]->out_elements, widest_in = slices_[0]->in_elements;
    float* const x = groups_ > 1 ? buffer(widest_in) : b.x;
    float* const shared_y = keeps_output ? nullptr : buffer(widest);
    float* const dy = training_ ? buffer(widest) : nullptr;
    float* const dx = training_ && b.dx != nullptr ? buffer(widest_in) : nullptr;
    for (Place at; at.slice < slices_.size(); Advance(at)) {
      const Operation& slice = *slices_[at.slice];
      const Columns columns{images_ * pixels_, channels_, at.channel, Channels(slice)};
      const Columns inputs = InputsOf(at);
      const auto gather_inputs = [inputs, from = b.x, to = x](MicroBatch&) {
        if (to != from) inputs.Gather(from, to);
      };
      std::vector<Call> forward, backward;
      Binding part = b;
      part.weights = b.weights + at.packed;
      part.derived = b.derived == nullptr ? nullptr : b.derived + at.derived;
      part.gradient_offset = b.gradient_offset + at.packed;
      part.y = keeps_output ? buffer(slice.out_elements) : shared_y;
      part.dy = dy;
      // The first of those that read an input writes what the others add to.
      const bool adds = at.channel % (channels_ / groups_) > 0;
      part.x = x;
      part.dx = b.dx != nullptr && (adds || groups_ > 1) ? dx : b.dx;
      part.forward = &forward;
      part.backward = &backward;
      slice.Bind(part);
      Before(forward.front(), gather_inputs);
      After(forward.back(),
            [columns, from = part.y, to = b.y](MicroBatch&) { columns.Scatter(from, to); });
      if (training_) {
        Before(backward.front(),
               [columns, from = b.dy, to = dy](MicroBatch&) { columns.Gather(from, to); });
        Before(backward.front(), gather_inputs);
        if (part.dx != b.dx) {
          After(backward.back(), [inputs, adds, dx, to = b.dx](MicroBatch&) {
            adds ? inputs.Add(dx, to) : inputs.Scatter(dx, to);
          });
        }
      }
      std::move(forward.begin(), forward.end(), std::back_inserter(*b.forward));
      std::move(backward.begin(), backward.end(), std::back_inserter(*b.backward));
    }
  }

 private:
  // Where a slice begins.
  struct Place {
    size_t slice = 0;
    int64_t channel = 0, packed = 0, derived = 0;
  };
  void Advance(Place& at) const {
    const Operation& slice = *slices_[at.slice++];
    at.channel += Channels(slice);
    at.packed += slice.packed_size();
    at.derived += slice.derived_size();
  }
  int64_t Channels(const Operation& slice) const { return slice.out_elements / pixels_; }

  // Of the layer's input, what a slice reads: all of it, or its groups' channels.
  Columns InputsOf(const Place& at) const {
    const int64_t pixels = in_elements / in_channels_;
    return {images_ * pixels, in_channels_,
            at.channel / (channels_ / groups_) * (in_channels_ / groups_),
            slices_[at.slice]->in_elements / pixels};
  }

  // Of a dense layer's kernel, inputs x units, those of one slice.
  Columns UnitsOf(const Place& at) const {
    return {inputs_, channels_, at.channel, Channels(*slices_[at.slice])};
  }
  int64_t UnitsFloats() const { return dense_ ? inputs_ * Channels(*slices_[0]) : 0; }

  template <typename F>
  static void Before(Call& call, F f) {
    call.run = [f, run = std::move(call.run)](MicroBatch& batch) {
      f(batch);
      run(batch);
    };
  }
  template <typename F>
  static void After(Call& call, F f) {
    call.run = [f, run = std::move(call.run)](MicroBatch& batch) {
      run(batch);
      f(batch);
    };
  }

  const bool dense_;
  const int64_t groups_;
  const int64_t channels_;
  const int64_t inputs_;  // products of an output
  const int64_t images_;
  const bool training_;
  const std::vector<std::unique_ptr<Operation>> slices_;
  int64_t pixels_ = 0;       // of an image's output
  int64_t in_channels_ = 0;  // without groups, all of an image's input
};

}  // namespace

std::vector<GraphLayer> SlicesOf(const GraphLayer& layer, ConvolutionKernel kernel, bool training) {
  if (layer.groups != 1) return GroupedSlicesOf(layer, training);
  const int all = layer.out.channels;
  const auto fits = [&](int channels, double flop, double weights) {
    return LongestCall(layer, channels, kernel, training) <= flop &&
           Weights(layer, channels) <= weights;
  };
  int channels = all;
  if (!fits(all, kMostCallFlop, kMostCallFloats)) {
    // Winograd's slices transform the input anew, so those are as long as may be.
    const double flop = kernel == ConvolutionKernel::kWinograd ? kMostCallFlop : kCallFlop;
    for (int count = 2; channels > kSlice && !fits(channels, flop, kCallFloats); ++count) {
      channels = (all + count * kSlice - 1) / (count * kSlice) * kSlice;
    }
  }
  std::vector<GraphLayer> slices;
  for (int begin = 0; begin < all; begin += channels) {
    slices.push_back(layer);
    slices.back().out.channels = std::min(channels, all - begin);
  }
  return slices;
}

double GroupedFlop(const GraphLayer& layer) {
  const double taps =
      2.0 * layer.out.height * layer.out.width * layer.window.kernel_h * layer.window.kernel_w;
  const int in = layer.in.channels / layer.groups, out = layer.out.channels / layer.groups;
  // A group's channels fill vectors in part: of the output, of the input for the gradients. With
  // one channel the groups fill them, and a product is half of what its pixel takes.
  const double flop = IsDepthwise(layer)
                          ? 2 * taps * Padded(layer.groups)
                          : taps * layer.groups * std::max(Padded(out) * in, Padded(in) * out);
  // Of few products a pixel memory takes longer.
  const auto floats = static_cast<double>(layer.in.elements() + layer.out.elements());
  return std::max(flop, floats / kCallFloats * kCallFlop);
}

std::unique_ptr<Operation> NewSplitLayer(const GraphLayer& layer, int64_t images, bool training,
                                         std::vector<std::unique_ptr<Operation>> slices) {
  return std::make_unique<SplitLayer>(layer, images, training, std::move(slices));
}

int64_t SplitLayerFloats(const GraphLayer& layer, int64_t out_elements, bool training) {
  // An output, or when training that of all slices; a slice's gradient, at most half of them; and
  // the gradient by the input.
  const int64_t in = layer.in.elements();
  // With groups a slice's channels of the input, too.
  return (training ? 2 * out_elements + in : out_elements) + (layer.groups > 1 ? in : 0);
}

}  // namespace convd
