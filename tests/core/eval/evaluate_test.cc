#include "core/eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace convd {
namespace {

// Four samples of three classes, counted by hand.
TEST(ComputeMetrics, CountsLossAccuracyConfusionAndClassFigures) {
  const std::vector<float> p = {0.5f,  0.25f, 0.25f,   // true 0: right
                                0.25f, 0.25f, 0.5f,    // true 1: taken for 2
                                0.25f, 0.5f,  0.25f,   // true 1: right
                                0.5f,  0.25f, 0.25f};  // true 2: taken for 0
  const std::vector<int32_t> labels = {0, 1, 1, 2};
  const v1::Metrics m = ComputeMetrics(p, labels, {"a", "b", "c"});
  EXPECT_EQ(m.samples(), 4);
  EXPECT_DOUBLE_EQ(m.loss(), (2 * std::log(2.0) + 2 * std::log(4.0)) / 4);
  EXPECT_DOUBLE_EQ(m.accuracy(), 0.5);
  EXPECT_EQ(std::vector<int64_t>(m.confusion().begin(), m.confusion().end()),
            (std::vector<int64_t>{1, 0, 0, 0, 1, 1, 1, 0, 0}));
  EXPECT_EQ(m.classes(1).label(), "b");
  EXPECT_EQ(m.classes(1).support(), 2);
  EXPECT_DOUBLE_EQ(m.classes(0).precision(), 0.5);
  EXPECT_DOUBLE_EQ(m.classes(0).recall(), 1);
  EXPECT_DOUBLE_EQ(m.classes(0).f1(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(m.classes(1).precision(), 1);
  EXPECT_DOUBLE_EQ(m.classes(1).recall(), 0.5);
  EXPECT_DOUBLE_EQ(m.classes(2).f1(), 0);
  EXPECT_EQ(m.top_5_accuracy(), 0);
}

TEST(ComputeMetrics, BreaksTiesTowardsTheLowerClassAndBoundsTheLoss) {
  const std::vector<float> p = {0.5f, 0.5f, 0.0f, 1.0f};
  const v1::Metrics m = ComputeMetrics(p, std::vector<int32_t>{1, 0}, {"a", "b"});
  EXPECT_EQ(m.accuracy(), 0);
  EXPECT_TRUE(std::isfinite(m.loss()));
}

TEST(ComputeMetrics, CountsTheFirstFiveOfMoreClasses) {
  const std::vector<float> p = {
      0.3f, 0.2f, 0.2f, 0.1f, 0.1f, 0.1f,   // true 5: sixth, behind equal ones
      0.3f, 0.2f, 0.2f, 0.1f, 0.1f, 0.1f};  // true 4: fifth
  const v1::Metrics m =
      ComputeMetrics(p, std::vector<int32_t>{5, 4}, {"0", "1", "2", "3", "4", "5"});
  EXPECT_DOUBLE_EQ(m.top_5_accuracy(), 0.5);
}

TEST(ComputeMetrics, LeavesTheMatrixOutWhereItWouldBeLargeAndKeepsTheRest) {
  const auto of = [](int64_t classes) {
    std::vector<float> p(2 * classes, 0.0f);
    p[classes - 1] = 1;  // true: the last, right
    p[classes + 3] = 1;  // true 2: taken for 3
    const std::vector<int32_t> labels = {static_cast<int32_t>(classes - 1), 2};
    return ComputeMetrics(p, labels, std::vector<std::string>(classes, "c"));
  };
  EXPECT_EQ(of(500).confusion_size(), 500 * 500);
  const v1::Metrics m = of(16'384);
  EXPECT_EQ(m.confusion_size(), 0);
  ASSERT_EQ(m.classes_size(), 16'384);
  EXPECT_EQ(m.accuracy(), 0.5);
  EXPECT_EQ(m.classes(16'383).f1(), 1);
  EXPECT_EQ(m.classes(2).support(), 1);
  EXPECT_EQ(m.classes(2).recall(), 0);
  EXPECT_EQ(m.classes(3).precision(), 0);
}

TEST(ComputeMetrics, IsAllZerosWithoutSamples) {
  const v1::Metrics m = ComputeMetrics({}, {}, {"a", "b"});
  EXPECT_EQ(m.samples(), 0);
  EXPECT_EQ(m.loss(), 0);
  EXPECT_EQ(m.accuracy(), 0);
}

}  // namespace
}  // namespace convd
