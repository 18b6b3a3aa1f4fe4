#include "core/nn/presets.h"

#include <fstream>
#include <sstream>
#include <string>

#include "core/nn/graph.h"
#include "core/nn/network_text.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ReadExample(const std::string& name) {
  std::ifstream file(std::string(CONVD_SOURCE_DIR) + "/docs/networks/" + name + ".textproto");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Row {
  std::string name;
  Shape out;
  int64_t parameters;
  bool operator==(const Row&) const = default;
};
void PrintTo(const Row& row, std::ostream* os) {
  *os << row.name << " " << row.out.height << "x" << row.out.width << "x" << row.out.channels << " "
      << row.parameters;
}

std::vector<Row> Rows(const Graph& graph) {
  std::vector<Row> rows;
  for (const GraphLayer& l : graph.layers()) rows.push_back({l.name, l.out, l.parameter_count});
  return rows;
}

// The lecture's figures, as its model.summary() shows them.
TEST(PresetsTest, KerasMnistHasTheLecturesShapesAndParameters) {
  absl::StatusOr<v1::Network> network = Preset("keras-mnist");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->name(), "keras-mnist");
  EXPECT_EQ(graph->input(), (Shape{28, 28, 1}));
  EXPECT_THAT(Rows(*graph),
              ElementsAre(Row{"conv2d", {26, 26, 32}, 320}, Row{"max_pooling2d", {13, 13, 32}, 0},
                          Row{"conv2d_1", {11, 11, 64}, 18496},
                          Row{"max_pooling2d_1", {5, 5, 64}, 0}, Row{"flatten", {1, 1, 1600}, 0},
                          Row{"dropout", {1, 1, 1600}, 0}, Row{"dense", {1, 1, 10}, 16010}));
  EXPECT_EQ(graph->parameter_count(), 34826);
  EXPECT_EQ(graph->classes(), 10);
  EXPECT_EQ(graph->layers()[0].activation, v1::ACTIVATION_RELU);
  EXPECT_EQ(graph->layers()[2].activation, v1::ACTIVATION_RELU);
  EXPECT_EQ(graph->layers()[5].rate, 0.5f);
  EXPECT_EQ(graph->layers()[6].activation, v1::ACTIVATION_SOFTMAX);
}

TEST(PresetsTest, ClassicCifar10HasTheLecturesShapesAndParameters) {
  absl::StatusOr<v1::Network> network = Preset("classic-cifar10");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->input(), (Shape{32, 32, 3}));
  EXPECT_THAT(Rows(*graph),
              ElementsAre(Row{"conv2d", {30, 30, 32}, 896}, Row{"conv2d_1", {28, 28, 64}, 18496},
                          Row{"max_pooling2d", {14, 14, 64}, 0}, Row{"flatten", {1, 1, 12544}, 0},
                          Row{"dense", {1, 1, 10}, 125450}));
  // 27 coefficients a filter.
  EXPECT_EQ(graph->parameters()[0].elements, 27 * 32);
  EXPECT_EQ(graph->parameter_count(), 144842);
  EXPECT_EQ(graph->layers()[0].activation, v1::ACTIVATION_RELU);
  EXPECT_EQ(graph->layers()[1].activation, v1::ACTIVATION_RELU);
}

// By hand: 6 * (25 + 1), 16 * (150 + 1), (400 + 1) * 120, (120 + 1) * 84, (84 + 1) * 10.
TEST(PresetsTest, LeNet5HasTheParametersThatAHandCounts) {
  absl::StatusOr<v1::Network> network = Preset("lenet5");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->name(), "lenet5");
  EXPECT_EQ(graph->input(), (Shape{28, 28, 1}));
  EXPECT_THAT(
      Rows(*graph),
      ElementsAre(Row{"conv2d", {28, 28, 6}, 156}, Row{"average_pooling2d", {14, 14, 6}, 0},
                  Row{"conv2d_1", {10, 10, 16}, 2416}, Row{"average_pooling2d_1", {5, 5, 16}, 0},
                  Row{"flatten", {1, 1, 400}, 0}, Row{"dense", {1, 1, 120}, 48120},
                  Row{"dense_1", {1, 1, 84}, 10164}, Row{"dense_2", {1, 1, 10}, 850}));
  EXPECT_EQ(graph->parameter_count(), 61706);
  EXPECT_EQ(graph->classes(), 10);
  for (const int layer : {0, 2, 5, 6}) {
    EXPECT_EQ(graph->layers()[layer].activation, v1::ACTIVATION_TANH) << layer;
  }
  EXPECT_EQ(graph->layers()[7].activation, v1::ACTIVATION_SOFTMAX);
}

TEST(PresetsTest, TheExamplesInDocsAreThePresets) {
  EXPECT_THAT(PresetNames(), ElementsAre("keras-mnist", "classic-cifar10", "lenet5"));
  for (const std::string& name : PresetNames()) {
    absl::StatusOr<v1::Network> preset = Preset(name);
    ASSERT_TRUE(preset.ok()) << preset.status();
    absl::StatusOr<v1::Network> example = ParseNetwork(ReadExample(name), name);
    ASSERT_TRUE(example.ok()) << example.status();
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*preset, *example)) << name;
  }
}

TEST(PresetsTest, TheExampleOfEveryLayerIsANetwork) {
  absl::StatusOr<v1::Network> example = ParseNetwork(ReadExample("every-layer"), "every-layer");
  ASSERT_TRUE(example.ok()) << example.status();
  absl::StatusOr<Graph> graph = Graph::Create(*example);
  ASSERT_TRUE(graph.ok()) << graph.status();
  // The shapes that its comments give.
  EXPECT_EQ(graph->layers()[0].out, (Shape{28, 28, 16}));
  EXPECT_EQ(graph->layers()[1].out, (Shape{14, 14, 24}));
  EXPECT_EQ(graph->layers()[3].out, (Shape{14, 14, 24}));
  EXPECT_EQ(graph->layers()[4].out, (Shape{7, 7, 24}));
  EXPECT_EQ(graph->layers()[5].out, (Shape{4, 7, 20}));
  EXPECT_EQ(graph->layers()[6].out, (Shape{2, 3, 20}));
  EXPECT_EQ(graph->layers()[7].out, (Shape{1, 1, 120}));
  EXPECT_EQ(graph->scale(), 1.0f / 255);
}

TEST(PresetsTest, AnUnknownNameListsTheKnownOnes) {
  absl::StatusOr<v1::Network> network = Preset("resnet");
  ASSERT_FALSE(network.ok());
  EXPECT_EQ(network.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(network.status().message()),
              AllOf(HasSubstr("\"resnet\""), HasSubstr("keras-mnist, classic-cifar10, lenet5")));
  network = Preset(std::string(5000, '\n'));
  ASSERT_FALSE(network.ok());
  EXPECT_EQ(network.status().code(), absl::StatusCode::kNotFound);
  EXPECT_LT(network.status().message().size(), 300u);
}

}  // namespace
}  // namespace convd
