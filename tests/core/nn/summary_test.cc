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

TEST(SummaryTest, CountsEachOfSeveralDenseLayers) {
  absl::StatusOr<v1::Network> network = Preset("lenet5");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Summary(*graph),
            R"(Model: "lenet5"
_____________________________________________________________________________
 Layer (type)                            Output Shape            Param #
=============================================================================
 conv2d (Conv2D)                         (None, 28, 28, 6)       156
 average_pooling2d (AveragePooling2D)    (None, 14, 14, 6)       0
 conv2d_1 (Conv2D)                       (None, 10, 10, 16)      2,416
 average_pooling2d_1 (AveragePooling2D)  (None, 5, 5, 16)        0
 flatten (Flatten)                       (None, 400)             0
 dense (Dense)                           (None, 120)             48,120
 dense_1 (Dense)                         (None, 84)              10,164
 dense_2 (Dense)                         (None, 10)              850
=============================================================================
Total params: 61,706
Trainable params: 61,706
Non-trainable params: 0
_____________________________________________________________________________
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
