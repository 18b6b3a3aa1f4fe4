#include "core/dnn/split_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/dnn/plan.h"
#include "core/nn/network_text.h"
#include "tests/core/nn/random_parameters.h"

namespace convd {
namespace {

Graph GraphOf(const std::string& text) {
  auto network = ParseNetwork("name: 'n' " + text, "n");
  EXPECT_TRUE(network.ok()) << network.status();
  auto graph = Graph::Create(*network);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

// A layer behind another one, small, so that the test says what its slices are.
struct Case {
  const char* name;
  const char* layers;
  ConvolutionKernel kernel;
  std::vector<int> slices;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr int64_t kImages = 3;

std::vector<float> Random(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(generator() / 2147483648.0 - 1);
  return values;
}

struct Result {
  std::vector<float> y, dx, kernel_gradient, bias_gradient, kernel_back;
  int64_t flop = 0;
};

// Runs one operation on fixed inputs, forward and, when training, backward.
Result RunOperation(Operation& o, const Graph& graph, bool training, bool relu_masked) {
  const GraphLayer& layer = graph.layers()[1];
  o.needs_dx = training;
  o.masks_relu = training && relu_masked && o.has_relu();
  o.Prepare();
  const std::vector<float> canonical = RandomParameters(graph, 7);
  const float* const kernel = canonical.data() + graph.parameters()[layer.kernel].offset;
  const float* const bias = canonical.data() + graph.parameters()[layer.bias].offset;
  AlignedBuffer packed(o.packed_size()), derived(o.derived_size()), gradient(o.packed_size());
  EXPECT_TRUE(o.Pack(kernel, bias, packed.data()).ok());
  std::vector<Operation::DerivedPart> parts;
  o.AddDerivedParts(0, 0, parts);
  if (training) {
    for (const auto& part : parts) {
      part.operation->Derive(packed.data() + part.packed, derived.data() + part.derived);
    }
  }
  std::vector<float> x = Random(kImages * o.in_elements, 1),
                     dy = Random(kImages * o.out_elements, 2);
  AlignedBuffer xs(kImages * o.in_elements), ys(kImages * o.out_elements),
      dxs(kImages * o.in_elements), dys(kImages * o.out_elements),
      scratch((o.scratch_bytes() + 64) / 4);
  std::copy(x.begin(), x.end(), xs.data());
  std::copy(dy.begin(), dy.end(), dys.data());
  std::fill(dxs.data(), dxs.data() + dxs.size(), NAN);  // all of it is written
  std::fill(gradient.data(), gradient.data() + gradient.size(), NAN);
  dnnl::stream stream(CpuEngine());
  std::vector<AlignedBuffer> extra;
  std::vector<Call> forward, backward;
  Binding b;
  b.weights = packed.data();
  b.derived = training ? derived.data() : nullptr;
  b.x = xs.data();
  b.y = ys.data();
  b.dx = training ? dxs.data() : nullptr;
  b.dy = training ? dys.data() : nullptr;
  b.scratch = scratch.data();
  b.stream = &stream;
  b.extra = &extra;
  b.forward = &forward;
  b.backward = &backward;
  o.Bind(b);
  MicroBatch batch;
  batch.gradient = gradient.data();
  for (auto* calls : {&forward, &backward}) {
    for (Call& call : *calls) call.run(batch);
  }
  Result result;
  for (const Call& call : forward) result.flop += call.info.flop;
  result.y.assign(ys.data(), ys.data() + ys.size());
  if (!training) return result;
  result.dx.assign(dxs.data(), dxs.data() + dxs.size());
  result.kernel_gradient.resize(graph.parameters()[layer.kernel].elements);
  result.bias_gradient.resize(layer.out.channels);
  o.Unpack(gradient.data(), result.kernel_gradient.data(), result.bias_gradient.data());
  result.kernel_back.resize(result.kernel_gradient.size());
  std::vector<float> bias_back(layer.out.channels);
  o.Unpack(packed.data(), result.kernel_back.data(), bias_back.data());
  EXPECT_EQ(result.kernel_back, std::vector<float>(kernel, kernel + result.kernel_gradient.size()));
  EXPECT_EQ(bias_back, std::vector<float>(bias, bias + layer.out.channels));
  return result;
}

void ExpectNear(const std::vector<float>& got, const std::vector<float>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 1e-5f * largest) << what << " " << i;
  }
}

class SplitLayer : public ::testing::TestWithParam<Case> {};

TEST_P(SplitLayer, ComputesWhatTheWholeLayerDoes) {
  const Graph graph = GraphOf(GetParam().layers);
  const GraphLayer& layer = graph.layers()[1];
  const ConvolutionKernel kernel = GetParam().kernel;
  ASSERT_EQ(ChooseConvolutionKernel(graph, 1, false), kernel);
  const FusedLayers fused = Fuse(graph, 1, kernel != ConvolutionKernel::kOneDnn);
  for (const bool training : {false, true}) {
    SCOPED_TRACE(training ? "training" : "inference");
    const PlanOptions options{.training = training, .images = kImages};
    const auto operation = [&](int channels) -> std::unique_ptr<Operation> {
      GraphLayer part = layer;
      part.out.channels = channels;
      const int group = layer.out.channels / layer.groups;
      part.groups = std::max(1, channels / group);
      part.in.channels = layer.in.channels / layer.groups * part.groups;
      FusedLayers with = fused;
      GraphLayer pool;
      if (fused.pool != nullptr) {
        pool = *fused.pool;
        pool.in.channels = pool.out.channels = channels;
        with.pool = &pool;
      }
      if (layer.kind == LayerKind::kDense) return NewDense(part, kImages, training, fused.relu);
      if (kernel == ConvolutionKernel::kOneDnn) {
        return NewConvolution(part, part.in, options, fused.relu);
      }
      return NewOwnConvolution(part, kernel, options, with);
    };
    const auto whole = operation(layer.out.channels);
    std::vector<std::unique_ptr<Operation>> slices;
    for (const int channels : GetParam().slices) slices.push_back(operation(channels));
    const auto split = NewSplitLayer(layer, kImages, training, std::move(slices));
    EXPECT_EQ(split->name(), whole->name());
    EXPECT_EQ(split->in_elements, whole->in_elements);
    EXPECT_EQ(split->out_elements, whole->out_elements);
    const Result want = RunOperation(*whole, graph, training, fused.pool == nullptr);
    const Result got = RunOperation(*split, graph, training, fused.pool == nullptr);
    EXPECT_EQ(got.flop, want.flop);
    if (layer.groups > 1 && GetParam().slices[0] >= layer.out.channels / layer.groups) {
      EXPECT_EQ(got.y, want.y);
      EXPECT_EQ(got.dx, want.dx);
      EXPECT_EQ(got.kernel_gradient, want.kernel_gradient);
      EXPECT_EQ(got.bias_gradient, want.bias_gradient);
    }
    ExpectNear(got.y, want.y, "y");
    ExpectNear(got.dx, want.dx, "dx");
    ExpectNear(got.kernel_gradient, want.kernel_gradient, "kernel");
    ExpectNear(got.bias_gradient, want.bias_gradient, "bias");
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, SplitLayer,
                         ::testing::Values(Case{"OneDnn",
                                                R"(input { height: 7 width: 6 channels: 3 }
                layers { conv { filters: 20 kernel: 2 } }
                layers { conv { filters: 40 kernel: 5 padding: PADDING_SAME
                                activation: ACTIVATION_RELU } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {16, 16, 8}},
                                           Case{"Strided",
                                                R"(input { height: 9 width: 9 channels: 3 }
                layers { conv { filters: 32 kernel: 2 } }
                layers { conv { filters: 48 kernel: 3 stride: 2 } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {32, 16}},
                                           Case{"Winograd",
                                                R"(input { height: 7 width: 6 channels: 3 }
                layers { conv { filters: 16 kernel: 2 } }
                layers { conv { filters: 48 kernel: 3 padding: PADDING_SAME
                                activation: ACTIVATION_RELU } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kWinograd,
                                                {32, 16}},
                                           Case{"WinogradWithAPool",
                                                R"(input { height: 9 width: 9 channels: 3 }
                layers { conv { filters: 16 kernel: 2 } }
                layers { conv { filters: 48 kernel: 3 activation: ACTIVATION_RELU } }
                layers { max_pool { size: 2 } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kWinograd,
                                                {16, 16, 16}},
                                           Case{"Groups",
                                                R"(input { height: 7 width: 6 channels: 3 }
                layers { conv { filters: 40 kernel: 2 } }
                layers { conv { filters: 24 kernel: 3 groups: 8 padding: PADDING_SAME
                                activation: ACTIVATION_RELU } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {9, 9, 6}},
                                           Case{"Depthwise",
                                                R"(input { height: 9 width: 9 channels: 3 }
                layers { conv { filters: 40 kernel: 2 } }
                layers { conv { filters: 40 kernel: 3 groups: 40 stride: 2 } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {16, 16, 8}},
                                           Case{"PartsOfGroups",
                                                R"(input { height: 7 width: 6 channels: 3 }
                layers { conv { filters: 48 kernel: 2 } }
                layers { conv { filters: 80 kernel: 3 groups: 2 padding: PADDING_SAME
                                activation: ACTIVATION_RELU } }
                layers { flatten {} } layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {16, 16, 8, 16, 16, 8}},
                                           Case{"Dense",
                                                R"(input { height: 1 width: 1 channels: 30 }
                layers { flatten {} }
                layers { dense { units: 37 activation: ACTIVATION_RELU } }
                layers { dense { units: 3 } })",
                                                ConvolutionKernel::kOneDnn,
                                                {16, 16, 5}}),
                         [](const auto& info) { return std::string(info.param.name); });

// The longest call of a training plan and of predictions' plans, in FLOP that take as long as a
// direct convolution's.
double LongestCall(const Graph& graph, bool training, int64_t images) {
  auto plan = Plan::Compile(graph, {.training = training, .images = images});
  EXPECT_TRUE(plan.ok()) << plan.status();
  std::vector<float> packed((*plan)->packed_size()), derived((*plan)->derived_size() + 1);
  auto workspace = (*plan)->NewWorkspace(packed.data(), derived.data(), [] { return true; });
  EXPECT_TRUE(workspace.ok()) << workspace.status();
  double longest = 0;
  for (const CallInfo& call : (*workspace)->calls()) {
    const bool winograd = call.layout.find("winograd") != std::string::npos;
    longest = std::max(longest, static_cast<double>(call.flop) / (winograd ? 2 : 1));
  }
  return longest;
}

TEST(SlicesOf, KeepCallsBelowAMillisecond) {
  const char* const networks[] = {
      // Winograd's, and too wide for it.
      R"(input { height: 15 width: 15 channels: 3 }
         layers { conv { filters: 64 kernel: 3 padding: PADDING_SAME } }
         layers { conv { filters: 256 kernel: 3 padding: PADDING_SAME } }
         layers { conv { filters: 256 kernel: 3 padding: PADDING_SAME } } layers { max_pool {} }
         layers { conv { filters: 512 kernel: 3 padding: PADDING_SAME } }
         layers { flatten {} } layers { dense { units: 10 } })",
      R"(input { height: 14 width: 14 channels: 3 }
         layers { conv { filters: 512 kernel: 1 } }
         layers { conv { filters: 512 kernel: 3 padding: PADDING_SAME } }
         layers { flatten {} } layers { dense { units: 10 } })",
      R"(input { height: 28 width: 28 channels: 3 }
         layers { conv { filters: 256 kernel: 5 padding: PADDING_SAME } }
         layers { conv { filters: 256 kernel: 3 padding: PADDING_SAME } } layers { max_pool {} }
         layers { conv { filters: 250 kernel: 5 padding: PADDING_SAME } }
         layers { flatten {} } layers { dense { units: 10 } })",
      // Groups that are too long themselves.
      R"(input { height: 14 width: 14 channels: 3 }
         layers { conv { filters: 512 kernel: 1 } }
         layers { conv { filters: 512 kernel: 3 groups: 2 padding: PADDING_SAME } }
         layers { flatten {} } layers { dense { units: 10 } })",
  };
  for (const char* const network : networks) {
    const Graph graph = GraphOf(network);
    EXPECT_LE(LongestCall(graph, true, MicroBatchImages(graph, 1000)), 144e6) << network;
    EXPECT_LE(LongestCall(graph, false, 1), 144e6) << network;
  }
}

std::vector<int> Channels(const Graph& graph, size_t layer, bool training) {
  std::vector<int> channels;
  const ConvolutionKernel kernel = ChooseConvolutionKernel(graph, layer, layer == 0);
  for (const GraphLayer& slice : SlicesOf(graph.layers()[layer], kernel, training)) {
    channels.push_back(slice.out.channels);
  }
  return channels;
}

// 2 x 15 x 15 x 25 x 64 FLOP a filter are 0.72e6: 200 are the most of a whole layer, 100 of a
// slice.
TEST(SlicesOf, CutsALayerOnlyWhereAnImageOfItIsTooLong) {
  const auto layer = [](int filters) {
    return GraphOf("input { height: 15 width: 15 channels: 64 } layers { conv { filters: " +
                   std::to_string(filters) +
                   " kernel: 5 padding: PADDING_SAME } } layers { flatten {} }"
                   " layers { dense { units: 3 } }");
  };
  EXPECT_EQ(Channels(layer(200), 0, true), (std::vector<int>{200}));
  EXPECT_EQ(Channels(layer(201), 0, true), (std::vector<int>{80, 80, 41}));
  EXPECT_EQ(Channels(layer(256), 0, false), (std::vector<int>{96, 96, 64}));
}

struct GroupedSlices {
  std::vector<int> groups, in, out;
};
// Of a layer of 3x3 on `extent` x `extent` pixels.
GroupedSlices CutGroups(int extent, int in, int out, int groups) {
  const std::string text = std::to_string(extent);
  const Graph graph =
      GraphOf("input { height: " + text + " width: " + text + " channels: " + std::to_string(in) +
              " } layers { conv { kernel: 3 padding: PADDING_SAME filters: " + std::to_string(out) +
              " groups: " + std::to_string(groups) +
              " } } layers { flatten {} } layers { dense { units: 3 } }");
  GroupedSlices slices;
  for (const GraphLayer& s : SlicesOf(graph.layers()[0], ConvolutionKernel::kOneDnn, true)) {
    slices.groups.push_back(s.groups);
    slices.in.push_back(s.in.channels);
    slices.out.push_back(s.out.channels);
  }
  return slices;
}

TEST(SlicesOf, CutsBetweenGroups) {
  // 2 x 32 x 32 x 9 x 32 x 32 FLOP a group are 18.9e6: 7 are the most of a whole layer, 3 of a
  // slice.
  EXPECT_EQ(CutGroups(32, 224, 224, 7).groups, (std::vector<int>{7}));
  GroupedSlices slices = CutGroups(32, 256, 256, 8);
  EXPECT_EQ(slices.groups, (std::vector<int>{3, 3, 2}));
  EXPECT_EQ(slices.in, (std::vector<int>{96, 96, 64}));
  EXPECT_EQ(slices.out, slices.in);
  // Four channels take as long as 16 in a vector: 2 x 32 x 32 x 9 x 4 x 16 FLOP are 1.18e6 a group.
  EXPECT_EQ(CutGroups(32, 488, 488, 122).groups, (std::vector<int>{122}));
  EXPECT_EQ(CutGroups(32, 492, 492, 123).groups, (std::vector<int>{41, 41, 41}));
  // 2 x 14 x 14 x 9 x 256 FLOP a filter are 0.90e6: 79 are the most of a slice.
  slices = CutGroups(14, 512, 512, 2);
  EXPECT_EQ(slices.groups, std::vector<int>(8, 1));
  EXPECT_EQ(slices.in, std::vector<int>(8, 256));
  EXPECT_EQ(slices.out, std::vector<int>(8, 64));
}

// What they read and write beyond the caches takes longer than what they compute: 2 x 128 x 128
// floats a channel, of which 38 are the most of a slice.
TEST(SlicesOf, CutsDepthwiseLayersByWhatTheyReadAndWrite) {
  EXPECT_EQ(CutGroups(128, 76, 76, 76).groups, (std::vector<int>{76}));
  EXPECT_EQ(CutGroups(128, 77, 77, 77).groups, (std::vector<int>{32, 32, 13}));
  // The kernels take no less than 16.
  EXPECT_EQ(CutGroups(400, 40, 40, 40).groups, (std::vector<int>{16, 16, 8}));
  EXPECT_EQ(CutGroups(400, 16, 16, 16).groups, (std::vector<int>{16}));
}

// As does a micro-batch of them.
TEST(MicroBatchImages, CountsWhatLayersWithGroupsTake) {
  const auto images = [](const std::string& layer) {
    return MicroBatchImages(
        GraphOf(
            "input { height: 112 width: 112 channels: 8 } layers { conv { filters: 32 kernel: 1 "
            "} } layers { " +
            layer +
            " } layers { average_pool { size: 8 } } layers { flatten {} } layers { "
            "dense { units: 3 } }"),
        1000);
  };
  EXPECT_EQ(images("max_pool {}"), 4);
  // 2 x 112 x 112 x 32 floats are 0.8e6, of which a call takes 1.25e6.
  EXPECT_EQ(images("conv { filters: 32 kernel: 3 groups: 32 }"), 1);
}

// Weights that are read once an image are as slow as memory.
TEST(SlicesOf, CutsDenseLayersByTheirWeights) {
  const auto layer = [](int units) {
    return GraphOf(
        "input { height: 1 width: 1 channels: 25000 } layers { flatten {} }"
        " layers { dense { units: " +
        std::to_string(units) + " } }");
  };
  EXPECT_EQ(Channels(layer(100), 1, true), (std::vector<int>{100}));
  EXPECT_EQ(Channels(layer(128), 1, true), (std::vector<int>{48, 48, 32}));
}

}  // namespace
}  // namespace convd
