#include "core/nn/summary.h"

#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

TEST(SummaryTest, IsTheTableThatKerasPrints) {
  absl::StatusOr<v1::Network> network = Preset("keras-mnist");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Summary(*graph),
            R"(Model: "keras-mnist"
_____________________________________________________________________
 Layer (type)                    Output Shape            Param #
=====================================================================
 conv2d (Conv2D)                 (None, 26, 26, 32)      320
 max_pooling2d (MaxPooling2D)    (None, 13, 13, 32)      0
 conv2d_1 (Conv2D)               (None, 11, 11, 64)      18,496
 max_pooling2d_1 (MaxPooling2D)  (None, 5, 5, 64)        0
 flatten (Flatten)               (None, 1600)            0
 dropout (Dropout)               (None, 1600)            0
 dense (Dense)                   (None, 10)              16,010
=====================================================================
Total params: 34,826
Trainable params: 34,826
Non-trainable params: 0
_____________________________________________________________________
)");
}

TEST(SummaryTest, ColumnsWidenForLongNames) {
  const std::string name(64, 'x');
  absl::StatusOr<v1::Network> network =
      ParseNetwork("input { height: 4 width: 4 channels: 1 } layers { name: \"" + name +
                       "\" average_pool {} } layers { flatten {} } layers { dense { units: 2 } }",
                   "test");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string summary = Summary(*graph);
  EXPECT_THAT(summary, HasSubstr(" " + name + " (AveragePooling2D)  (None, 2, 2, 1)"));
  EXPECT_THAT(summary, HasSubstr("\n flatten (Flatten)" + std::string(66, ' ') + "  (None, 4)"));
}

}  // namespace
}  // namespace convd
