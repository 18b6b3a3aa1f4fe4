#include "core/dnn/int8_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/dnn/calibration.h"
#include "core/dnn/explain.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/precision.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "tests/core/nn/random_parameters.h"
#include "tests/core/nn/reference_forward.h"

// Plans in int8 against the same arithmetic written down in double: what is rounded, where, and
// what stays as it is.

namespace convd {
namespace {

using ::testing::HasSubstr;

Graph GraphOf(const std::string& text) {
  auto network = ParseNetwork("name: \"n\" " + text, "n");
  EXPECT_TRUE(network.ok()) << network.status();
  auto graph = Graph::Create(*network);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

struct Pictures {
  Pictures(const Graph& graph, int count, bool floats) : count(count) {
    uint32_t state = 5;
    for (int64_t i = 0; i < count * graph.input().elements(); ++i) {
      state = state * 1664525u + 1013904223u;
      bytes.push_back(static_cast<uint8_t>(state >> 24));
      values.push_back(static_cast<float>(state >> 8) / 8388608.0f - 0.5f);
    }
    images.type = floats ? ElementType::kFloat32 : ElementType::kUint8;
    images.pixels = floats ? static_cast<const void*>(values.data()) : bytes.data();
    images.count = count;
    images.height = graph.input().height;
    images.width = graph.input().width;
    images.channels = graph.input().channels;
  }

  std::vector<double> Image(int64_t i) const {
    const int64_t n = static_cast<int64_t>(bytes.size()) / count;
    if (images.type == ElementType::kUint8) {
      return {bytes.begin() + i * n, bytes.begin() + (i + 1) * n};
    }
    return {values.begin() + i * n, values.begin() + (i + 1) * n};
  }

  int count;
  std::vector<uint8_t> bytes;
  std::vector<float> values;
  ImageSet images;
};

std::vector<double> Rounded(const std::vector<double>& in, const v1::InputRange& range) {
  const double low = std::min(0.0f, range.low()), high = std::max(0.0f, range.high());
  const double scale = (high - low) / 255, zero = std::nearbyint(-low / scale);
  std::vector<double> out;
  for (const double x : in) {
    const double byte = std::clamp(std::nearbyint(x / scale) + zero, 0.0, 255.0);
    out.push_back((byte - zero) * scale);
  }
  return out;
}

// Each filter's weights as 127 steps to both sides of 0.
std::vector<double> RoundedKernel(const GraphLayer& layer, std::vector<double> kernel) {
  const int64_t filters = layer.out.channels, taps = static_cast<int64_t>(kernel.size()) / filters;
  for (int64_t f = 0; f < filters; ++f) {
    const auto at = [&](int64_t t) -> double& {
      return kernel[layer.kind == LayerKind::kDense ? t * filters + f : f * taps + t];
    };
    double largest = 0;
    for (int64_t t = 0; t < taps; ++t) largest = std::max(largest, std::abs(at(t)));
    if (largest == 0) continue;
    for (int64_t t = 0; t < taps; ++t)
      at(t) = std::nearbyint(at(t) / (largest / 127)) * (largest / 127);
  }
  return kernel;
}

std::vector<double> Int8Reference(const Graph& graph, const std::vector<float>& parameters,
                                  const v1::Quantization& quantization,
                                  const std::vector<double>& pixels) {
  const auto parameter = [&](int index) {
    if (index < 0) return std::vector<double>();
    const Parameter& p = graph.parameters()[index];
    return std::vector<double>(parameters.begin() + p.offset,
                               parameters.begin() + p.offset + p.elements);
  };
  std::vector<double> x;
  for (const double pixel : pixels) x.push_back(pixel * graph.scale());
  int weighted = 0;
  for (const GraphLayer& layer : graph.layers()) {
    if (layer.kind == LayerKind::kDropout) continue;
    std::vector<double> kernel = parameter(layer.kernel);
    if (HasWeights(layer)) {
      const v1::InputRange& range = quantization.inputs(weighted++);
      if (MultipliesInt8(layer)) {
        x = Rounded(x, range);
        kernel = RoundedKernel(layer, std::move(kernel));
      }
    }
    if (layer.kind == LayerKind::kActivation && layer.activation == v1::ACTIVATION_SOFTMAX) break;
    GraphLayer without = layer;
    if (layer.activation == v1::ACTIVATION_SOFTMAX) without.activation = v1::ACTIVATION_UNSPECIFIED;
    x = ReferenceLayer(without, kernel, parameter(layer.bias), x);
  }
  double sum = 0;
  const double largest = *std::max_element(x.begin(), x.end());
  for (double& v : x) sum += v = std::exp(v - largest);
  for (double& v : x) v /= sum;
  return x;
}

class Int8LayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status has = CheckPrecision("precision", v1::PRECISION_INT8);
    if (!has.ok()) GTEST_SKIP() << has.message();
  }

  v1::Quantization CalibrateOn(const Graph& graph, const std::vector<float>& parameters,
                               const ImageSet& images) {
    auto quantization =
        Calibrate(graph, parameters, images, *executor_, Lane::kTrain, [] { return false; });
    EXPECT_TRUE(quantization.ok()) << quantization.status();
    return quantization.ok() ? *quantization : v1::Quantization();
  }

  void ExpectTheReferences(const Graph& graph, bool floats, int count = 21) {
    SCOPED_TRACE(floats ? "floats" : "bytes");
    const std::vector<float> parameters = RandomParameters(graph, 3);
    const Pictures pictures(graph, count, floats);
    const v1::Quantization quantization = CalibrateOn(graph, parameters, pictures.images);
    auto model = CompileInferenceModel(
        graph, parameters, {.precision = v1::PRECISION_INT8, .quantization = &quantization});
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<float> got(pictures.count * graph.classes());
    const absl::Status status =
        (*model)->Infer(pictures.images, absl::MakeSpan(got), *executor_, [] { return false; });
    ASSERT_TRUE(status.ok()) << status;
    double apart = 0, f32_apart = 0;
    for (int i = 0; i < pictures.count; ++i) {
      const std::vector<double> want =
          Int8Reference(graph, parameters, quantization, pictures.Image(i));
      const std::vector<double> f32 = ReferenceProbabilities(graph, parameters, pictures.Image(i));
      // A step more or less where f32 and double round apart; of scores, so logarithms.
      for (int c = 0; c < graph.classes(); ++c) {
        const double score = std::log(got[i * graph.classes() + c]);
        ASSERT_NEAR(score, std::log(want[c]), 0.02) << "image " << i;
        apart += std::abs(score - std::log(want[c]));
        f32_apart += std::abs(std::log(f32[c]) - std::log(want[c]));
      }
    }
    EXPECT_LT(apart, 0.25 * f32_apart) << "what was computed is f32";
  }

  std::unique_ptr<HandCrankedExecutor> executor_ = NewHandCrankedExecutor();
};

TEST_F(Int8LayerTest, PresetsComputeWhatTheArithmeticSays) {
  for (const std::string& name : PresetNames()) {
    SCOPED_TRACE(name);
    auto network = Preset(name);
    ASSERT_TRUE(network.ok());
    auto graph = Graph::Create(*network);
    ASSERT_TRUE(graph.ok());
    ExpectTheReferences(*graph, false);
  }
}

TEST_F(Int8LayerTest, EveryKindOfLayerComputesWhatTheArithmeticSays) {
  const std::string end = " layers { flatten {} } layers { dense { units: 5 } }";
  for (
      const std::string layers : {
          // Bytes between, with padding on all sides, strides, filters that fill no vector.
          "layers { conv { filters: 7 kernel: 3 padding: PADDING_SAME activation: ACTIVATION_RELU "
          "} } layers { conv { filters: 18 kernel: [2, 3] stride: 2 padding: PADDING_SAME } }",
          // Negative values as bytes: no ReLU between.
          "layers { conv { filters: 16 kernel: 3 } } layers { conv { filters: 8 kernel: 1 "
          "no_bias: true } }",
          // Floats between: other activations, pools that aren't fused, groups and dilation.
          "layers { conv { filters: 9 kernel: 3 activation: ACTIVATION_TANH } } layers { conv { "
          "filters: 6 kernel: 2 activation: ACTIVATION_ELU } }",
          "layers { conv { filters: 6 kernel: 3 } } layers { max_pool {} } layers { conv { "
          "filters: "
          "8 kernel: 2 padding: PADDING_SAME } } layers { max_pool { size: 2 stride: 1 } } layers "
          "{ conv { filters: 4 kernel: 2 padding: PADDING_SAME } } layers { average_pool {} }",
          "layers { conv { filters: 8 kernel: 3 } } layers { conv { filters: 8 kernel: 3 groups: 4 "
          "activation: ACTIVATION_RELU } } layers { conv { filters: 8 kernel: 2 dilation: 2 } }",
          // No weights first.
          "layers { average_pool {} } layers { dropout { rate: 0.5 } } layers { conv { filters: 4 "
          "kernel: 3 } }",
          "layers { flatten {} } layers { dense { units: 33 activation: ACTIVATION_RELU } } "
          "layers { dense { units: 12 } } layers { activation { activation: ACTIVATION_SIGMOID } }",
      }) {
    for (const int channels : {1, 3, 8}) {
      SCOPED_TRACE(layers + " on " + std::to_string(channels));
      const Graph graph =
          GraphOf("input { height: 11 width: 9 channels: " + std::to_string(channels) + " } " +
                  layers + end);
      ExpectTheReferences(graph, false);
      ExpectTheReferences(graph, true);
    }
  }
}

// FLOP of each call of layer "wide" that has any, and how many others it has, in a plan for one
// image.
struct WideCalls {
  std::vector<int64_t> flop;
  int copies = 0;
};
WideCalls CallsOfWide(const Graph& graph) {
  v1::Quantization quantization;
  for (const GraphLayer& layer : graph.layers()) {
    if (!HasWeights(layer)) continue;
    v1::InputRange& range = *quantization.add_inputs();
    range.set_layer(layer.name);
    range.set_high(1);
  }
  auto calls = PlanCalls(graph, {.precision = v1::PRECISION_INT8, .quantization = &quantization});
  EXPECT_TRUE(calls.ok()) << calls.status();
  WideCalls wide;
  for (const CallInfo& call : *calls) {
    if (call.layer.substr(0, 4) != "wide") continue;  // "wide+max_pool2d"
    if (call.flop > 0) {
      wide.flop.push_back(call.flop);
    } else {
      ++wide.copies;
    }
  }
  return wide;
}

// Half a millisecond is 288 MFLOP of 8 bits, or 5 MB: a call is of up to half as many again.
TEST_F(Int8LayerTest, CallsThatWouldKeepPredictionsWaitingAreCut) {
  const auto wide = [](int extent, int filters) {
    return CallsOfWide(GraphOf(absl::StrCat(
        "input { height: ", extent, " width: ", extent,
        " channels: 64 } layers { name: 'wide' conv { filters: ", filters,
        " kernel: 3 padding: PADDING_SAME } } layers { flatten {} } layers { dense { units: 3 } "
        "}")));
  };
  EXPECT_EQ(wide(15, 256).flop, (std::vector<int64_t>{2 * 15 * 15 * 9 * 64 * 256}));
  // 2 * 64 * 64 * 9 * 64 * 256 are 1208 MFLOP; eight blocks of filters of 32 pairs of rows each.
  EXPECT_EQ(wide(64, 256).flop, std::vector<int64_t>(4, int64_t{2} * 64 * 64 * 9 * 64 * 64));
  // Where there are few filters, by rows. They are computed as 16.
  const WideCalls few = wide(300, 8);
  EXPECT_EQ(few.flop.size(), 6u);
  for (const int64_t flop : few.flop) EXPECT_LE(2 * flop, 3 * 288'000'000 / 2);
  // 300 x 300 x 64 bytes are 5.8 MB, read and written.
  EXPECT_EQ(few.copies, 2);
  EXPECT_EQ(wide(15, 256).copies, 1);
  // 32 blocks of units, of 25,000 weights each.
  EXPECT_EQ(CallsOfWide(GraphOf("input { height: 1 width: 1 channels: 25000 } layers { flatten {} "
                                "} layers { name: 'wide' dense { units: 1000 } }"))
                .flop,
            (std::vector<int64_t>{9375000, 9375000, 10937500, 9375000, 10937500}));
}

TEST_F(Int8LayerTest, CutLayersComputeWhatTheArithmeticSays) {
  for (const std::string network : {
           // By rows, the copy as well, with a pool, and bytes behind it.
           "input { height: 440 width: 440 channels: 8 } layers { name: 'wide' conv { filters: 17 "
           "kernel: [5, 1] padding: PADDING_SAME activation: ACTIVATION_RELU } } layers { max_pool "
           "{ size: 2 } } layers { conv { filters: 3 kernel: 3 stride: 9 } } layers { flatten {} } "
           "layers { dense { units: 3 } }",
           // By filters.
           "input { height: 1 width: 1 channels: 17000 } layers { flatten {} } "
           "layers { name: 'wide' dense { units: 470 } } layers { dense { units: 3 } }",
       }) {
    SCOPED_TRACE(network);
    const Graph graph = GraphOf(network);
    EXPECT_GT(CallsOfWide(graph).flop.size(), 1u);
    ExpectTheReferences(graph, true, 1);
  }
}

TEST_F(Int8LayerTest, AllWeightsOrInputsMayBeZero) {
  const Graph graph = GraphOf(
      "input { height: 6 width: 6 channels: 1 } layers { conv { filters: 4 kernel: 3 } } layers { "
      "flatten {} } layers { dense { units: 3 } }");
  const Pictures pictures(graph, 2, true);
  const std::vector<float> parameters(graph.parameter_count(), 0.0f);
  const v1::Quantization quantization = CalibrateOn(graph, parameters, pictures.images);
  auto model = CompileInferenceModel(
      graph, parameters, {.precision = v1::PRECISION_INT8, .quantization = &quantization});
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<float> got(6);
  ASSERT_TRUE(
      (*model)->Infer(pictures.images, absl::MakeSpan(got), *executor_, [] { return false; }).ok());
  for (const float p : got) EXPECT_FLOAT_EQ(p, 1.0f / 3);
}

TEST_F(Int8LayerTest, OneScaleOfBytesIsTheirOwn) {
  const Graph graph = GraphOf(
      "input { height: 4 width: 4 channels: 1 } layers { flatten {} } layers { dense { units: 2 } "
      "}");
  Pictures dark(graph, 3, false);
  for (uint8_t& byte : dark.bytes) byte = static_cast<uint8_t>(byte % 16);
  const v1::Quantization quantization = CalibrateOn(graph, RandomParameters(graph, 1), dark.images);
  ASSERT_EQ(quantization.inputs_size(), 1);
  EXPECT_EQ(quantization.inputs(0).low(), 0);
  EXPECT_FLOAT_EQ(quantization.inputs(0).high(), 1);
  EXPECT_EQ(quantization.samples(), 3);
}

TEST_F(Int8LayerTest, RefusesAQuantizationOfAnotherNetworkOrOfNoNumbers) {
  auto network = Preset("keras-mnist");
  ASSERT_TRUE(network.ok());
  const Graph graph = *Graph::Create(*network);
  const std::vector<float> parameters = RandomParameters(graph, 3);
  const Pictures pictures(graph, 2, false);
  const v1::Quantization good = CalibrateOn(graph, parameters, pictures.images);
  ASSERT_EQ(good.inputs_size(), 3);
  const struct {
    const char* name;
    void (*change)(v1::Quantization&);
    const char* says;
  } kCases[] = {
      {"none", [](v1::Quantization& q) { q.clear_inputs(); }, "inputs[0]: there is none"},
      {"one missing", [](v1::Quantization& q) { q.mutable_inputs()->RemoveLast(); },
       "inputs[2]: there is none; want the range of layer \"dense\""},
      {"one twice", [](v1::Quantization& q) { *q.add_inputs() = q.inputs(2); },
       "inputs: got 4; the network has 3"},
      {"another's", [](v1::Quantization& q) { q.mutable_inputs(1)->set_layer("conv"); },
       "inputs[1].layer: got \"conv\"; want \"conv2d_1\""},
      {"turned round", [](v1::Quantization& q) { q.mutable_inputs(1)->set_low(1e9f); },
       "inputs[1]: got a range from"},
      {"no number", [](v1::Quantization& q) { q.mutable_inputs(2)->set_high(NAN); },
       "inputs[2]: got a range from"},
      {"endless", [](v1::Quantization& q) { q.mutable_inputs(0)->set_high(INFINITY); },
       "inputs[0]: got a range from"},
  };
  for (const auto& c : kCases) {
    v1::Quantization quantization = good;
    c.change(quantization);
    const auto model = CompileInferenceModel(
        graph, parameters, {.precision = v1::PRECISION_INT8, .quantization = &quantization});
    EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition) << c.name;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(c.says)) << c.name;
  }
  const auto model = CompileInferenceModel(graph, parameters, {.precision = v1::PRECISION_INT8});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
}

// Whatever finite range a card holds, there is an answer or a refusal, and no undefined behaviour.
TEST_F(Int8LayerTest, AnswersOrRefusesWithRangesThatFitNothing) {
  auto network = Preset("keras-mnist");
  ASSERT_TRUE(network.ok());
  const Graph graph = *Graph::Create(*network);
  for (const float weight : {0.1f, 3e38f, INFINITY, NAN}) {
    std::vector<float> parameters = RandomParameters(graph, 3);
    const Pictures pictures(graph, 2, false);
    v1::Quantization quantization = CalibrateOn(graph, parameters, pictures.images);
    parameters[5] = weight;
    for (const float low : {-3.4e38f, -1.0f, 0.0f, 5.0f}) {
      for (const float high : {3.4e38f, 1e-44f, 0.0f, 7.0f}) {
        if (low > high) continue;
        for (v1::InputRange& range : *quantization.mutable_inputs()) {
          range.set_low(low);
          range.set_high(high);
        }
        auto model = CompileInferenceModel(
            graph, parameters, {.precision = v1::PRECISION_INT8, .quantization = &quantization});
        if (!model.ok()) {
          EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
          EXPECT_THAT(std::string(model.status().message()), HasSubstr("layer \"conv2d"));
          continue;
        }
        EXPECT_TRUE(std::isfinite(weight));
        std::vector<float> got(20);
        EXPECT_TRUE(
            (*model)
                ->Infer(pictures.images, absl::MakeSpan(got), *executor_, [] { return false; })
                .ok());
        for (const float p : got) EXPECT_TRUE(std::isfinite(p)) << weight << low << high;
      }
    }
  }
}

// As large a kernel as the image would make a padded copy of gigabytes.
TEST(MultipliesInt8, LeavesPaddingThatOutgrowsTheImageToF32) {
  const auto layer = [](const std::string& text) { return GraphOf(text).layers()[0]; };
  const std::string end = " layers { flatten {} } layers { dense { units: 2 } }";
  EXPECT_TRUE(MultipliesInt8(layer(
      "input { height: 28 width: 28 channels: 1 } layers { conv { filters: 2 kernel: 28 padding: "
      "PADDING_SAME } }" +
      end)));
  EXPECT_FALSE(MultipliesInt8(layer(
      "input { height: 1 width: 4096 channels: 1 } layers { conv { filters: 1 kernel: [4096, 1] "
      "padding: PADDING_SAME } }" +
      end)));
}

}  // namespace
}  // namespace convd
