#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/explain.h"
#include "core/dnn/plan.h"
#include "core/dnn/precision.h"
#include "core/nn/graph.h"
#include "core/nn/network_text.h"
#include "core/random/random.h"
#include "core/status/status_macros.h"
#include "tests/core/nn/random_parameters.h"
#include "tests/core/nn/reference_forward.h"

// The gradient of every layer kind, as a training plan computes it, against finite differences of a
// forward pass in double. A layer's gradient by its input is in the gradients of the layers before
// it, which is why most networks below begin with a convolution or a dense layer.

namespace convd {
namespace {

struct Case {
  const char* name;
  const char* network;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr uint64_t kSeed = 0xfeedfacecafe;
constexpr uint32_t kEpoch = 3;
constexpr int kSamples = 7;

// What dropout, as random.h says it draws, multiplies an element by.
double DropoutFactorOf(int layer, uint32_t sample, float rate, int64_t element) {
  const RandomStream stream{kSeed, RandomPurpose::kDropout, static_cast<uint32_t>(layer), kEpoch,
                            sample};
  const uint32_t word = RandomBlock(stream, static_cast<uint32_t>(element / 4))[element % 4];
  return word >= DropoutThreshold(rate) ? 1 / (1 - double{rate}) : 0.0;
}

struct LabelledPixels {
  std::vector<float> pixels;
  std::vector<int32_t> labels;
};

// Pixels in [-1, 1], so that no two are equal and the first layer sees both signs.
ImageSet RandomImages(const Graph& graph, int count) {
  auto owner = std::make_shared<LabelledPixels>();
  std::mt19937 generator(99);
  for (int64_t i = 0; i < count * graph.input().elements(); ++i) {
    owner->pixels.push_back(static_cast<float>(generator() / 2147483648.0 - 1));
  }
  for (int i = 0; i < count; ++i) {
    owner->labels.push_back(static_cast<int32_t>(generator() % graph.classes()));
  }
  ImageSet images;
  images.count = count;
  images.height = graph.input().height;
  images.width = graph.input().width;
  images.channels = graph.input().channels;
  images.type = ElementType::kFloat32;
  images.pixels = owner->pixels.data();
  images.labels = owner->labels;
  images.owner = owner;
  return images;
}

// Mean cross-entropy in epoch kEpoch, dropout on.
double ReferenceLoss(const Graph& graph, const std::vector<double>& parameters,
                     const ImageSet& images, int64_t* correct = nullptr) {
  double sum = 0;
  for (int64_t s = 0; s < images.count; ++s) {
    const float* image = reinterpret_cast<const float*>(images.image(s));
    const std::vector<double> pixels(image, image + images.image_elements());
    auto dropout = [&](int layer, int64_t element) {
      return DropoutFactorOf(layer, static_cast<uint32_t>(s), graph.layers()[layer].rate, element);
    };
    const std::vector<double> scores =
        ReferenceActivations(graph, parameters, pixels, dropout).back();
    const int label = images.labels[s];
    if (correct != nullptr) {
      *correct += std::max_element(scores.begin(), scores.end()) - scores.begin() == label;
    }
    sum += graph.layers().back().activation == v1::ACTIVATION_SOFTMAX
               ? -std::log(scores[label])
               : ReferenceCrossEntropy(scores, label);
  }
  return sum / static_cast<double>(images.count);
}

// Derivative by one parameter, central differences.
double NumericGradient(const Graph& graph, std::vector<double> parameters, const ImageSet& images,
                       int64_t at) {
  const double step = 1e-6;  // small enough to cross hardly any kink of a ReLU or a maximum
  const double middle = parameters[at];
  parameters[at] = middle + step;
  const double above = ReferenceLoss(graph, parameters, images);
  parameters[at] = middle - step;
  const double below = ReferenceLoss(graph, parameters, images);
  return (above - below) / (2 * step);
}

struct PlanGradient {
  std::vector<double> gradient;  // canonical
  double loss = 0;               // mean over the samples
  int64_t correct = 0;
};

absl::Status RunPlan(const Graph& graph, const std::vector<float>& parameters,
                     const ImageSet& images, int64_t micro_batch, PlanGradient* result,
                     v1::Precision precision = v1::PRECISION_F32) {
  CONVD_ASSIGN_OR_RETURN(
      const std::shared_ptr<const Plan> plan,
      Plan::Compile(graph, {.training = true, .images = micro_batch, .precision = precision}));
  AlignedBuffer packed(plan->packed_size()), derived(plan->derived_size());
  CONVD_RETURN_IF_ERROR(plan->Pack(parameters, packed.data()));
  for (int part = 0; part < plan->derive_parts(); ++part) {
    CONVD_RETURN_IF_ERROR(plan->Derive(part, packed.data(), derived.data()));
  }
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                         plan->NewWorkspace(packed.data(), derived.data(), [] { return true; }));
  std::vector<uint32_t> samples(images.count);
  std::iota(samples.begin(), samples.end(), 0);
  result->gradient.assign(graph.parameter_count(), 0);
  AlignedBuffer gradient(plan->packed_size());
  std::vector<float> canonical(graph.parameter_count());
  for (int64_t at = 0; at < images.count; at += micro_batch) {
    // Whatever lies in the buffer is overwritten.
    std::fill(gradient.data(), gradient.data() + gradient.size(), NAN);
    MicroBatch batch;
    batch.images = &images;
    batch.samples = absl::MakeConstSpan(samples).subspan(at, micro_batch);  // the last may be short
    batch.loss_scale = 1 / static_cast<float>(images.count);
    batch.seed = kSeed;
    batch.epoch = kEpoch;
    batch.gradient = gradient.data();
    for (int phase = 0; phase < plan->phases(); ++phase) {
      CONVD_RETURN_IF_ERROR(plan->RunPhase(phase, *workspace, batch, [] { return true; }));
    }
    CONVD_RETURN_IF_ERROR(plan->Unpack(gradient.data(), absl::MakeSpan(canonical)));
    for (size_t i = 0; i < canonical.size(); ++i) result->gradient[i] += canonical[i];
    result->loss += batch.loss_sum / static_cast<double>(images.count);
    result->correct += batch.correct;
  }
  return absl::OkStatus();
}

class GradientTest : public ::testing::TestWithParam<Case> {};

TEST_P(GradientTest, AgreesWithFiniteDifferences) {
  auto network = ParseNetwork(GetParam().network, GetParam().name);
  ASSERT_TRUE(network.ok()) << network.status();
  network->set_name("gradient");
  network->mutable_preprocessing()->set_scale(0.75f);
  auto graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const ImageSet images = RandomImages(*graph, kSamples);
  const std::vector<float> initial = RandomParameters(*graph, 5);

  // All images at once; slices of which the last is short; a slice an image; a slice with blanks.
  std::vector<PlanGradient> plans;
  for (int64_t micro_batch : {7, 3, 1, 10}) {
    SCOPED_TRACE("micro-batch " + std::to_string(micro_batch));
    const absl::Status status =
        RunPlan(*graph, initial, images, micro_batch, &plans.emplace_back());
    ASSERT_TRUE(status.ok()) << status;
  }

  const std::vector<double> parameters(initial.begin(), initial.end());
  int64_t correct = 0;
  const double loss = ReferenceLoss(*graph, parameters, images, &correct);
  for (const PlanGradient& plan : plans) {
    EXPECT_NEAR(plan.loss, loss, 1e-5 * loss);
    EXPECT_EQ(plan.correct, correct);
  }

  for (const Parameter& parameter : graph->parameters()) {
    SCOPED_TRACE(parameter.name);
    // Every element of a small array, about 150 spread over a large one; an odd stride meets every
    // place of a block of 8 or 16.
    const int64_t stride = parameter.elements <= 300 ? 1 : parameter.elements / 150 | 1;
    double largest = 0;
    std::vector<std::pair<int64_t, double>> numeric;
    for (int64_t e = 0; e < parameter.elements; e += stride) {
      numeric.push_back({e, NumericGradient(*graph, parameters, images, parameter.offset + e)});
      largest = std::max(largest, std::abs(numeric.back().second));
    }
    EXPECT_GT(largest, 1e-7) << "nothing to compare";
    for (const PlanGradient& plan : plans) {
      for (const auto& [e, want] : numeric) {
        ASSERT_NEAR(plan.gradient[parameter.offset + e], want, 1e-4 * largest) << "element " << e;
      }
    }
  }
}

// Products of factors that were rounded to 8 bits: the gradient points where f32's does.
TEST_P(GradientTest, InBf16IsNearF32s) {
  if (!CheckPrecision("", v1::PRECISION_BF16).ok()) GTEST_SKIP() << "no bf16 here";
  auto network = ParseNetwork(GetParam().network, GetParam().name);
  ASSERT_TRUE(network.ok()) << network.status();
  network->set_name("gradient");
  auto graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const ImageSet images = RandomImages(*graph, kSamples);
  const std::vector<float> initial = RandomParameters(*graph, 5);
  for (int64_t micro_batch : {7, 3}) {
    PlanGradient f32, bf16;
    absl::Status status = RunPlan(*graph, initial, images, micro_batch, &f32);
    ASSERT_TRUE(status.ok()) << status;
    status = RunPlan(*graph, initial, images, micro_batch, &bf16, v1::PRECISION_BF16);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_NEAR(bf16.loss, f32.loss, 0.02 * f32.loss);
    double norm = 0, difference = 0;
    for (size_t i = 0; i < f32.gradient.size(); ++i) {
      norm += f32.gradient[i] * f32.gradient[i];
      difference += (bf16.gradient[i] - f32.gradient[i]) * (bf16.gradient[i] - f32.gradient[i]);
    }
    EXPECT_LE(std::sqrt(difference), 0.05 * std::sqrt(norm));
  }
}

// Too large for finite differences: against the same layer without groups, whose kernel is zero
// where a group doesn't read.
TEST(GradientOfGroups, OfACutLayerIsThatOfOneWithoutGroups) {
  const auto graph = [](const std::string& layer) {
    auto network = ParseNetwork(
        "name: 'n' input { height: 40 width: 40 channels: 3 } layers { conv "
        "{ filters: 128 kernel: 1 } } layers { conv { filters: 96 kernel: 3 " +
            layer +
            " activation: ACTIVATION_RELU } } layers { average_pool { size: "
            "9 } } layers { flatten {} } layers { dense { units: 3 } }",
        "n");
    EXPECT_TRUE(network.ok()) << network.status();
    return *Graph::Create(*network);
  };
  constexpr int kGroups = 2, kIn = 128, kOut = 96, kTaps = 9;
  const Graph grouped = graph("groups: 2"), whole = graph("");
  const auto calls = PlanCalls(grouped, {.training = true});
  ASSERT_TRUE(calls.ok()) << calls.status();
  EXPECT_GT(std::count_if(calls->begin(), calls->end(),
                          [](const CallInfo& c) { return c.pass == "backward_data"; }),
            2)
      << "it isn't cut";
  // Where each of the grouped network's parameters is among the whole one's.
  std::vector<int64_t> place;
  const Parameter& kernel = grouped.parameters()[grouped.layers()[1].kernel];
  const int64_t zeros = whole.parameter_count() - grouped.parameter_count();
  for (int64_t i = 0; i < grouped.parameter_count(); ++i) {
    const int64_t at = i - kernel.offset, row = kIn / kGroups * kTaps;
    if (at < 0 || at >= kernel.elements) {
      place.push_back(at < 0 ? i : i + zeros);
    } else {
      const int64_t filter = at / row, group = filter / (kOut / kGroups);
      place.push_back(kernel.offset + filter * kIn * kTaps + group * row + at % row);
    }
  }
  const std::vector<float> initial = RandomParameters(grouped, 5);
  std::vector<float> with_zeros(whole.parameter_count());
  for (size_t i = 0; i < initial.size(); ++i) with_zeros[place[i]] = initial[i];
  const ImageSet images = RandomImages(grouped, 3);
  PlanGradient want, got;
  ASSERT_TRUE(RunPlan(whole, with_zeros, images, 2, &want).ok());
  ASSERT_TRUE(RunPlan(grouped, initial, images, 2, &got).ok());
  EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
  double largest = 0;
  for (const double value : want.gradient) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < place.size(); ++i)
    ASSERT_NEAR(got.gradient[i], want.gradient[place[i]], 1e-4 * largest) << "parameter " << i;
}

constexpr Case kConvolutions[] = {
    {"Valid", R"(input { height: 6 width: 5 channels: 3 }
                 layers { conv { filters: 4 kernel: [3, 2] activation: ACTIVATION_RELU } }
                 layers { conv { filters: 3 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"OneChannelStridedSame", R"(input { height: 9 width: 9 channels: 1 }
                 layers { conv { filters: 8 kernel: 3 stride: 2 padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { conv { filters: 5 kernel: 3 padding: PADDING_SAME } }
                 layers { flatten {} }
                 layers { dense { units: 4 activation: ACTIVATION_SOFTMAX } })"},
    {"SameWithTheOddRowAtTheEnd", R"(input { height: 8 width: 7 channels: 2 }
                 layers { conv { filters: 3 kernel: [4, 2] padding: PADDING_SAME } }
                 layers { conv { filters: 4 kernel: 3 stride: [2, 3] padding: PADDING_SAME } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"StrideBeyondTheKernel", R"(input { height: 10 width: 9 channels: 3 }
                 layers { conv { filters: 6 kernel: 1 } }
                 layers { conv { filters: 4 kernel: 2 stride: 3 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"Dilated", R"(input { height: 9 width: 8 channels: 2 }
                 layers { conv { filters: 4 kernel: 3 dilation: [2, 1] padding: PADDING_SAME } }
                 layers { conv { filters: 5 kernel: [3, 2] dilation: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"Groups", R"(input { height: 6 width: 6 channels: 4 }
                 layers { conv { filters: 6 kernel: 3 groups: 2 activation: ACTIVATION_TANH } }
                 layers { conv { filters: 9 kernel: 2 groups: 3 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"DepthwiseWithMultiplier", R"(input { height: 6 width: 6 channels: 3 }
                 layers { conv { filters: 3 kernel: 3 groups: 3 padding: PADDING_SAME } }
                 layers { conv { filters: 6 kernel: 3 groups: 3 stride: 2 padding: PADDING_SAME
                                 activation: ACTIVATION_SIGMOID } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"DepthwiseOfManyChannels", R"(input { height: 5 width: 5 channels: 2 }
                 layers { conv { filters: 24 kernel: 2 } }
                 layers { conv { filters: 24 kernel: 3 groups: 24 padding: PADDING_SAME } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"ChannelsOfWholeBlocks", R"(input { height: 5 width: 5 channels: 16 }
                 layers { conv { filters: 16 kernel: 3 activation: ACTIVATION_RELU } }
                 layers { conv { filters: 32 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 16 } })"},
    {"ChannelsBetweenBlocks", R"(input { height: 5 width: 4 channels: 3 }
                 layers { conv { filters: 17 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { conv { filters: 9 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 11 } })"},
    {"KernelOfTheWholeImage", R"(input { height: 4 width: 5 channels: 2 }
                 layers { conv { filters: 7 kernel: [4, 5] activation: ACTIVATION_ELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"EndsTheNetworkOnOnePixel", R"(input { height: 3 width: 3 channels: 2 }
                 layers { conv { filters: 6 kernel: 2 activation: ACTIVATION_TANH } }
                 layers { conv { filters: 4 kernel: 2 } } layers { flatten {} })"},
    {"OneColumn", R"(input { height: 12 width: 1 channels: 2 }
                 layers { conv { filters: 5 kernel: [3, 1] } }
                 layers { max_pool { size: [2, 1] } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"WithoutBias", R"(input { height: 5 width: 5 channels: 2 }
                 layers { conv { filters: 4 kernel: 2 no_bias: true activation: ACTIVATION_RELU } }
                 layers { conv { filters: 4 kernel: 2 no_bias: true } }
                 layers { flatten {} } layers { dense { units: 3 no_bias: true } })"},
};

// By Winograd's algorithm: channels and filters of whole blocks, 3x3, stride 1.
constexpr Case kWinograd[] = {
    {"SameAfterOneAnother", R"(input { height: 6 width: 5 channels: 16 }
                 layers { conv { filters: 16 kernel: 3 padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { conv { filters: 32 kernel: 3 padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"TanhInPlace", R"(input { height: 5 width: 5 channels: 2 }
                 layers { conv { filters: 16 kernel: 2 } }
                 layers { conv { filters: 16 kernel: 3 activation: ACTIVATION_TANH } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"BeforeAnOverlappingPool", R"(input { height: 7 width: 7 channels: 3 }
                 layers { conv { filters: 16 kernel: 2 padding: PADDING_SAME } }
                 layers { conv { filters: 16 kernel: 3 padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 3 stride: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"PoolWithoutReLU", R"(input { height: 8 width: 7 channels: 3 }
                 layers { conv { filters: 16 kernel: 3 activation: ACTIVATION_ELU } }
                 layers { conv { filters: 16 kernel: 3 padding: PADDING_SAME } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"PoolAndTwoReLUs", R"(input { height: 8 width: 8 channels: 3 }
                 layers { conv { filters: 16 kernel: 3 } }
                 layers { conv { filters: 16 kernel: 3 padding: PADDING_SAME no_bias: true } }
                 layers { activation { activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } }
                 layers { activation { activation: ACTIVATION_ELU } }
                 layers { conv { filters: 32 kernel: 3 activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"FirstBehindADropout", R"(input { height: 5 width: 6 channels: 16 }
                 layers { dropout { rate: 0.4 } }
                 layers { conv { filters: 16 kernel: 3 padding: PADDING_SAME no_bias: true } }
                 layers { max_pool { size: 2 } } layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
};

// A first layer of few channels, any number of filters and any window.
constexpr Case kNarrow[] = {
    {"SameBeforeATanh", R"(input { height: 6 width: 7 channels: 1 }
                 layers { conv { filters: 6 kernel: 5 padding: PADDING_SAME
                                 activation: ACTIVATION_TANH } }
                 layers { average_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"SameWithTheOddRowAtTheEnd", R"(input { height: 9 width: 8 channels: 1 }
                 layers { conv { filters: 5 kernel: [4, 3] padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"PoolWithoutReLU", R"(input { height: 8 width: 9 channels: 1 }
                 layers { conv { filters: 3 kernel: [6, 5] padding: PADDING_SAME no_bias: true } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"SameOfThreeChannels", R"(input { height: 7 width: 6 channels: 3 }
                 layers { conv { filters: 10 kernel: 3 padding: PADDING_SAME
                                 activation: ACTIVATION_RELU } }
                 layers { conv { filters: 4 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"OfFifteenTaps", R"(input { height: 8 width: 7 channels: 3 }
                 layers { conv { filters: 20 kernel: 5 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"BehindADropout", R"(input { height: 6 width: 6 channels: 1 }
                 layers { dropout { rate: 0.4 } }
                 layers { conv { filters: 9 kernel: 3 padding: PADDING_SAME
                                 activation: ACTIVATION_ELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
};

constexpr Case kPools[] = {
    {"MaxOfAWindowBeyondAByte", R"(input { height: 18 width: 18 channels: 1 }
                 layers { conv { filters: 19 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 17 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"Max", R"(input { height: 7 width: 8 channels: 2 }
                 layers { conv { filters: 5 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { max_pool {} }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxOfWholeBlocks", R"(input { height: 10 width: 10 channels: 1 }
                 layers { conv { filters: 32 kernel: 3 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxOverlappingSame", R"(input { height: 8 width: 7 channels: 2 }
                 layers { conv { filters: 4 kernel: 2 } }
                 layers { max_pool { size: 3 stride: 2 padding: PADDING_SAME } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxOfNegativesAtTheBorder", R"(input { height: 5 width: 5 channels: 2 }
                 layers { conv { filters: 4 kernel: 2 activation: ACTIVATION_ELU } }
                 layers { max_pool { size: 3 stride: 1 padding: PADDING_SAME } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxOblongLeavingARest", R"(input { height: 8 width: 9 channels: 2 }
                 layers { conv { filters: 4 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: [3, 1] stride: [2, 3] } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxBeforeAReLU", R"(input { height: 7 width: 7 channels: 1 }
                 layers { conv { filters: 8 kernel: 2 } }
                 layers { max_pool { size: 2 } }
                 layers { activation { activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxOfTheImage", R"(input { height: 6 width: 6 channels: 3 }
                 layers { max_pool { size: 2 } } layers { conv { filters: 4 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"Average", R"(input { height: 7 width: 8 channels: 2 }
                 layers { conv { filters: 5 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { average_pool {} }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"AverageWithoutThePadding", R"(input { height: 8 width: 7 channels: 2 }
                 layers { conv { filters: 4 kernel: 2 } }
                 layers { average_pool { size: 3 stride: 2 padding: PADDING_SAME } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"AverageOverlapping", R"(input { height: 7 width: 6 channels: 2 }
                 layers { conv { filters: 8 kernel: 2 } }
                 layers { average_pool { size: [2, 3] stride: 1 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"AverageOfTheWholeImage", R"(input { height: 6 width: 6 channels: 2 }
                 layers { conv { filters: 6 kernel: 3 activation: ACTIVATION_TANH } }
                 layers { average_pool { size: 4 } } layers { flatten {} })"},
    {"AverageOfTheImage", R"(input { height: 6 width: 6 channels: 1 }
                 layers { average_pool { size: 2 } } layers { conv { filters: 4 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxThenDropout", R"(input { height: 7 width: 7 channels: 1 }
                 layers { conv { filters: 8 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } } layers { dropout { rate: 0.5 } }
                 layers { conv { filters: 5 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { dropout { rate: 0.25 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"MaxThenTanh", R"(input { height: 7 width: 7 channels: 1 }
                 layers { conv { filters: 8 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } }
                 layers { activation { activation: ACTIVATION_TANH } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"PoolAfterPool", R"(input { height: 10 width: 10 channels: 1 }
                 layers { conv { filters: 4 kernel: 3 activation: ACTIVATION_RELU } }
                 layers { max_pool { size: 2 } } layers { average_pool { size: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
};

constexpr Case kDense[] = {
    {"OnlyOne", R"(input { height: 3 width: 2 channels: 2 }
                 layers { flatten {} } layers { dense { units: 5 } })"},
    {"AfterAnImageInHeightWidthChannelOrder", R"(input { height: 4 width: 3 channels: 2 }
                 layers { conv { filters: 12 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"TwoClasses", R"(input { height: 3 width: 3 channels: 1 }
                 layers { flatten {} } layers { dense { units: 6 activation: ACTIVATION_RELU } }
                 layers { dense { units: 2 activation: ACTIVATION_SOFTMAX } })"},
    {"ThreeInARow", R"(input { height: 3 width: 3 channels: 1 } layers { flatten {} }
                 layers { dense { units: 20 activation: ACTIVATION_TANH } }
                 layers { dense { units: 13 activation: ACTIVATION_SIGMOID no_bias: true } }
                 layers { dense { units: 7 } }
                 layers { activation { activation: ACTIVATION_SOFTMAX } })"},
};

constexpr Case kDropouts[] = {
    {"OfAVector", R"(input { height: 4 width: 4 channels: 2 }
                 layers { conv { filters: 5 kernel: 2 } } layers { flatten {} }
                 layers { dropout { rate: 0.5 } } layers { dense { units: 3 } })"},
    {"OfAnImageInHeightWidthChannelOrder", R"(input { height: 5 width: 4 channels: 2 }
                 layers { conv { filters: 9 kernel: 2 } } layers { dropout { rate: 0.3 } }
                 layers { conv { filters: 3 kernel: 2 } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"OfTheInput", R"(input { height: 4 width: 4 channels: 2 } layers { dropout { rate: 0.2 } }
                 layers { conv { filters: 5 kernel: 2 activation: ACTIVATION_RELU } }
                 layers { flatten {} } layers { dense { units: 3 } })"},
    {"TwoOfThem", R"(input { height: 4 width: 4 channels: 1 } layers { flatten {} }
                 layers { dense { units: 10 activation: ACTIVATION_RELU } }
                 layers { dropout { rate: 0.5 } } layers { dropout { rate: 0.25 } }
                 layers { dense { units: 3 } })"},
    {"BetweenActivations", R"(input { height: 5 width: 5 channels: 2 }
                 layers { conv { filters: 6 kernel: 2 activation: ACTIVATION_TANH } }
                 layers { dropout { rate: 0.5 } }
                 layers { activation { activation: ACTIVATION_SIGMOID } }
                 layers { activation { activation: ACTIVATION_ELU } } layers { flatten {} }
                 layers { dense { units: 9 activation: ACTIVATION_RELU } }
                 layers { dropout { rate: 0.25 } }
                 layers { activation { activation: ACTIVATION_LEAKY_RELU } }
                 layers { dense { units: 3 } })"},
    {"OfNothing", R"(input { height: 4 width: 4 channels: 1 } layers { flatten {} }
                 layers { dense { units: 10 activation: ACTIVATION_RELU } }
                 layers { dropout { rate: 0 } } layers { dense { units: 3 } })"},
};

#define CONVD_ACTIVATION_CASE(name, fused, standing)                          \
  {name,                                                                      \
   "input { height: 6 width: 5 channels: 2 }"                                 \
   "layers { conv { filters: 6 kernel: 2 activation: " fused                  \
   " } }"                                                                     \
   "layers { conv { filters: 5 kernel: 2 } } layers { activation { " standing \
   " } }"                                                                     \
   "layers { flatten {} } layers { dense { units: 9 activation: " fused       \
   " } }"                                                                     \
   "layers { dense { units: 7 } } layers { activation { " standing            \
   " } }"                                                                     \
   "layers { dense { units: 3 } }"}
constexpr Case kActivations[] = {
    CONVD_ACTIVATION_CASE("ReLU", "ACTIVATION_RELU", "activation: ACTIVATION_RELU"),
    CONVD_ACTIVATION_CASE("LeakyReLU", "ACTIVATION_LEAKY_RELU",
                          "activation: ACTIVATION_LEAKY_RELU alpha: 0.1"),
    CONVD_ACTIVATION_CASE("ELU", "ACTIVATION_ELU", "activation: ACTIVATION_ELU alpha: 0.7"),
    CONVD_ACTIVATION_CASE("Sigmoid", "ACTIVATION_SIGMOID", "activation: ACTIVATION_SIGMOID"),
    CONVD_ACTIVATION_CASE("Tanh", "ACTIVATION_TANH", "activation: ACTIVATION_TANH"),
};
#undef CONVD_ACTIVATION_CASE

std::string CaseName(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Convolution, GradientTest, ::testing::ValuesIn(kConvolutions), CaseName);
INSTANTIATE_TEST_SUITE_P(Winograd, GradientTest, ::testing::ValuesIn(kWinograd), CaseName);
INSTANTIATE_TEST_SUITE_P(Narrow, GradientTest, ::testing::ValuesIn(kNarrow), CaseName);
INSTANTIATE_TEST_SUITE_P(Pool, GradientTest, ::testing::ValuesIn(kPools), CaseName);
INSTANTIATE_TEST_SUITE_P(Dense, GradientTest, ::testing::ValuesIn(kDense), CaseName);
INSTANTIATE_TEST_SUITE_P(Dropout, GradientTest, ::testing::ValuesIn(kDropouts), CaseName);
INSTANTIATE_TEST_SUITE_P(Activation, GradientTest, ::testing::ValuesIn(kActivations), CaseName);

}  // namespace
}  // namespace convd
