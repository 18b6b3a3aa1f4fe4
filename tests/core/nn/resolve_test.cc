#include "core/nn/resolve.h"

#include <cmath>
#include <limits>
#include <string>

#include "core/nn/network_text.h"
#include "gmock/gmock.h"
#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

v1::Network Parse(const std::string& text) {
  absl::StatusOr<v1::Network> network = ParseNetwork(text, "test");
  EXPECT_TRUE(network.ok()) << network.status();
  return network.ok() ? *network : v1::Network();
}

const char kInput[] = "input { height: 8 width: 8 channels: 1 } ";
const char kEnd[] = " layers { flatten {} } layers { dense { units: 10 } }";

std::string With(const std::string& layers) { return kInput + layers + kEnd; }

void ExpectRefused(const v1::Network& network, const std::string& where, const std::string& found,
                   const std::string& wanted) {
  absl::StatusOr<v1::Network> resolved = ResolveNetwork(network);
  ASSERT_FALSE(resolved.ok()) << "where " << where;
  EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(resolved.status().message()),
              AllOf(HasSubstr(where), HasSubstr(found), HasSubstr(wanted)));
}

struct BadField {
  const char* name;
  std::string text;
  const char* where;
  const char* found;
  const char* wanted;
};

class BadFieldTest : public ::testing::TestWithParam<BadField> {};

TEST_P(BadFieldTest, IsRefusedByName) {
  const BadField& bad = GetParam();
  ExpectRefused(Parse(bad.text), bad.where, bad.found, bad.wanted);
}

INSTANTIATE_TEST_SUITE_P(
    Network, BadFieldTest,
    ::testing::Values(
        BadField{"Empty", "", "network: layers:", "got 0", "want 1 to 1000"},
        BadField{"NoInput", kEnd, "network: input:", "is not set", "want height, width"},
        BadField{"ZeroHeight", std::string("input { width: 8 channels: 1 }") + kEnd,
                 "network: input.height:", "got 0", "want 1 to 65536"},
        BadField{"NegativeWidth", std::string("input { height: 8 width: -8 channels: 1 }") + kEnd,
                 "network: input.width:", "got -8", "want 1 to 65536"},
        BadField{"HugeChannels",
                 std::string("input { height: 8 width: 8 channels: 2147483647 }") + kEnd,
                 "network: input.channels:", "got 2147483647", "want 1 to 65536"},
        BadField{"Name", std::string("name: \"../x\" ") + With(""), "network.name", "../x",
                 "letters, digits"},
        BadField{"ZeroScale", std::string("preprocessing { scale: 0 }") + With(""),
                 "network: preprocessing.scale:", "got 0", "finite number above 0"},
        BadField{"NegativeScale", std::string("preprocessing { scale: -1 }") + With(""),
                 "network: preprocessing.scale:", "got -1", "finite number above 0"},
        BadField{"InfiniteScale", std::string("preprocessing { scale: inf }") + With(""),
                 "network: preprocessing.scale:", "got inf", "finite number above 0"},
        BadField{"NanScale", std::string("preprocessing { scale: nan }") + With(""),
                 "network: preprocessing.scale:", "got nan", "finite number above 0"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Layer, BadFieldTest,
    ::testing::Values(
        BadField{"BadName", With("layers { name: \"a/b\" flatten {} }"), "network.layers[0].name",
                 "a/b", "letters, digits"},
        BadField{"TwiceTheName",
                 With("layers { name: \"a\" flatten {} } layers { name: \"a\" dropout {} }"),
                 "network.layers[1].name", "got \"a\"", "used once"},
        BadField{"NoKind", With("layers { name: \"odd\" }"), "network.layers[0] \"odd\"",
                 "no kind is set", "conv, max_pool"},
        BadField{"NoKernel", With("layers { conv { filters: 2 } }"),
                 "layer \"conv2d\": conv.kernel:", "got 0 values", "height, width"},
        BadField{"ThreeKernels", With("layers { conv { filters: 2 kernel: [1, 1, 1] } }"),
                 "layer \"conv2d\": conv.kernel:", "got 3 values", "height, width"},
        BadField{"ZeroKernel", With("layers { conv { filters: 2 kernel: [3, 0] } }"),
                 "layer \"conv2d\": conv.kernel:", "got 0", "want 1 to 65536"},
        BadField{"NoFilters", With("layers { conv { kernel: 3 } }"),
                 "layer \"conv2d\": conv.filters:", "got 0", "want 1 to"},
        BadField{"HugeFilters", With("layers { conv { filters: 2147483647 kernel: 3 } }"),
                 "layer \"conv2d\": conv.filters:", "got 2147483647", "want 1 to 268435456"},
        BadField{"NegativeStride", With("layers { conv { filters: 2 kernel: 3 stride: -1 } }"),
                 "layer \"conv2d\": conv.stride:", "got -1", "want 1 to 65536"},
        BadField{"HugeDilation",
                 With("layers { conv { filters: 2 kernel: 3 dilation: 2147483647 } }"),
                 "layer \"conv2d\": conv.dilation:", "got 2147483647", "want 1 to 65536"},
        BadField{"NegativeGroups", With("layers { conv { filters: 2 kernel: 3 groups: -2 } }"),
                 "layer \"conv2d\": conv.groups:", "got -2", "want 1 to"},
        BadField{"PoolSize", With("layers { name: \"p\" max_pool { size: -2 } }"),
                 "layer \"p\": max_pool.size:", "got -2", "want 1 to 65536"},
        BadField{"PoolStride", With("layers { average_pool { stride: [1, 2, 3] } }"),
                 "layer \"average_pooling2d\": average_pool.stride:", "got 3 values",
                 "height, width"},
        BadField{"NoUnits", With("layers { dense {} }"), "layer \"dense\": dense.units:", "got 0",
                 "want 1 to"},
        BadField{"RateOne", With("layers { dropout { rate: 1 } }"),
                 "layer \"dropout\": dropout.rate:", "got 1", "at least 0 and less than 1"},
        BadField{"RateNegative", With("layers { dropout { rate: -0.5 } }"),
                 "layer \"dropout\": dropout.rate:", "got -0.5", "at least 0"},
        BadField{"RateNan", With("layers { dropout { rate: nan } }"),
                 "layer \"dropout\": dropout.rate:", "got nan", "at least 0"},
        BadField{"NoActivation", With("layers { activation {} }"),
                 "layer \"activation\": activation.activation:", "is not set", "ACTIVATION_RELU"},
        BadField{"AlphaOfRelu",
                 With("layers { activation { activation: ACTIVATION_RELU alpha: 1 } }"),
                 "layer \"activation\": activation.alpha:", "got 1 with ACTIVATION_RELU",
                 "only ACTIVATION_LEAKY_RELU and ACTIVATION_ELU"},
        BadField{"AlphaInfinite",
                 With("layers { activation { activation: ACTIVATION_ELU alpha: inf } }"),
                 "layer \"activation\": activation.alpha:", "got inf", "finite number from 0"},
        BadField{"AlphaNegative",
                 With("layers { activation { activation: ACTIVATION_LEAKY_RELU alpha: -0.1 } }"),
                 "layer \"activation\": activation.alpha:", "got -0.1", "finite number from 0"},
        BadField{"SoftmaxInTheMiddle",
                 With("layers { activation { activation: ACTIVATION_SOFTMAX } }"),
                 "layer \"activation\": activation.activation:", "got ACTIVATION_SOFTMAX",
                 "only the network's last layer"},
        BadField{"FusedSoftmaxInTheMiddle",
                 With("layers { flatten {} } layers { dense { units: 4 activation: "
                      "ACTIVATION_SOFTMAX } }"),
                 "layer \"dense\": dense.activation:", "got ACTIVATION_SOFTMAX",
                 "only the network's last layer"},
        BadField{"SoftmaxOfAConvolution",
                 std::string(kInput) +
                     "layers { conv { filters: 2 kernel: 8 activation: ACTIVATION_SOFTMAX } }",
                 "layer \"conv2d\": conv.activation:", "got ACTIVATION_SOFTMAX", "dense"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Inputs, BadFieldTest,
    ::testing::Values(
        BadField{"OfTheFirst", With("layers { inputs: \"image\" flatten {} }"),
                 "layer \"flatten\": inputs:", "got \"image\"", "want none"},
        BadField{"SkipsALayer",
                 With("layers { name: \"a\" dropout {} } layers { name: \"b\" dropout {} } "
                      "layers { name: \"c\" inputs: \"a\" dropout {} }"),
                 "layer \"c\": inputs:", "got \"a\"", "want \"b\", the layer before it"},
        BadField{"Unknown",
                 With("layers { name: \"a\" dropout {} } layers { name: \"b\" inputs: \"z\" "
                      "dropout {} }"),
                 "layer \"b\": inputs:", "got \"z\"", "want \"a\""},
        BadField{"Two",
                 With("layers { name: \"a\" dropout {} } layers { name: \"b\" inputs: \"a\" "
                      "inputs: \"a\" dropout {} }"),
                 "layer \"b\": inputs:", "got \"a\", \"a\"", "branches are not supported yet"},
        BadField{"BadName",
                 With("layers { name: \"a\" dropout {} } layers { name: \"b\" inputs: \"\\n\" "
                      "dropout {} }"),
                 "layer \"b\": inputs[0]", "\\n", "letters, digits"}),
    [](const auto& info) { return info.param.name; });

TEST(ResolveTest, TheLayerBeforeMayBeNamed) {
  absl::StatusOr<v1::Network> resolved = ResolveNetwork(
      Parse(With("layers { dropout {} } layers { inputs: \"dropout\" dropout {} }")));
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->layers(1).inputs_size(), 1);
}

TEST(ResolveTest, RefusesEnumValuesOfALaterProtocol) {
  v1::Network network =
      Parse(With("layers { conv { filters: 2 kernel: 1 } } layers { max_pool {} }"));
  v1::Network bad = network;
  bad.mutable_layers(0)->mutable_conv()->set_activation(static_cast<v1::Activation>(77));
  ExpectRefused(bad, "layer \"conv2d\": conv.activation:", "got 77", "ACTIVATION_RELU");
  bad = network;
  bad.mutable_layers(0)->mutable_conv()->set_padding(static_cast<v1::Padding>(9));
  ExpectRefused(bad, "layer \"conv2d\": conv.padding:", "got 9", "PADDING_SAME");
  bad = network;
  bad.mutable_layers(1)->mutable_max_pool()->set_padding(static_cast<v1::Padding>(-1));
  ExpectRefused(bad, "layer \"max_pooling2d\": max_pool.padding:", "got -1", "PADDING_SAME");
  bad = network;
  bad.set_loss(static_cast<v1::Loss>(5));
  ExpectRefused(bad, "network: loss:", "got 5", "LOSS_SOFTMAX_CROSS_ENTROPY");
}

TEST(ResolveTest, RefusesFieldsOfALaterProtocol) {
  v1::Network network = Parse(With(""));
  v1::Layer* layer = network.mutable_layers(1);
  layer->GetReflection()->MutableUnknownFields(layer)->AddVarint(99, 1);
  ExpectRefused(network, "network.layers[1]", "got field number 99", "does not know");
  network = Parse(With(""));
  v1::InputShape* input = network.mutable_input();
  input->GetReflection()->MutableUnknownFields(input)->AddVarint(7, 1);
  ExpectRefused(network, "network.input", "got field number 7", "does not know");
}

TEST(ResolveTest, RefusesAThousandAndOneLayers) {
  v1::Network network = Parse(With(""));
  while (network.layers_size() < 1001) network.add_layers()->mutable_dropout();
  ExpectRefused(network, "network: layers:", "got 1001", "want 1 to 1000");
}

TEST(ResolveTest, LongInputNamesDoNotFillTheMessage) {
  v1::Network network = Parse(With(""));
  for (int i = 0; i < 100000; ++i) network.mutable_layers(1)->add_inputs("someone");
  absl::StatusOr<v1::Network> resolved = ResolveNetwork(network);
  ASSERT_FALSE(resolved.ok());
  EXPECT_LT(resolved.status().message().size(), 600u);
}

TEST(ResolveTest, WritesAxesOutInFull) {
  absl::StatusOr<v1::Network> resolved = ResolveNetwork(Parse(With(R"pb(
    layers {
      conv {
        filters: 2
        kernel: [ 3, 1 ]
        stride: 2
      }
    }
    layers { average_pool { size: 3 } })pb")));
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  const v1::Conv2D& conv = resolved->layers(0).conv();
  EXPECT_THAT(conv.kernel(), ::testing::ElementsAre(3, 1));
  EXPECT_THAT(conv.stride(), ::testing::ElementsAre(2, 2));
  EXPECT_THAT(conv.dilation(), ::testing::ElementsAre(1, 1));
  EXPECT_EQ(conv.groups(), 1);
  EXPECT_EQ(conv.padding(), v1::PADDING_VALID);
  EXPECT_THAT(resolved->layers(1).average_pool().stride(), ::testing::ElementsAre(3, 3));
  EXPECT_EQ(resolved->preprocessing().scale(), 1.0f / 255);
}

}  // namespace
}  // namespace convd
