#include "client/convctl/prediction_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace convd {
namespace {

using ::testing::ElementsAre;

PredictedImage Boot() {
  PredictedImage image = {"images[0]", "Sneaker", {}};
  const struct {
    const char* label;
    float probability;
  } top[] = {{"Ankle boot", 0.75f}, {"Sneaker", 0.25f}};
  for (const auto& t : top) {
    v1::ClassScore& score = *image.prediction.add_top();
    score.set_label(t.label);
    score.set_probability(t.probability);
  }
  return image;
}

TEST(PredictionTextTest, TheTableHasARowAClass) {
  EXPECT_EQ(PredictionTable({Boot()}),
            "IMAGE      CLASS       PROBABILITY  TRUE CLASS\n"
            "images[0]  Ankle boot       0.7500  Sneaker\n"
            "           Sneaker          0.2500\n");
}

TEST(PredictionTextTest, TheBlockShowsBarsAndTheTruth) {
  const TextBlock block = PredictionBlock(Boot(), Terminal{});
  EXPECT_EQ(block.width, 36);
  EXPECT_THAT(block.lines, ElementsAre("images[0]                           ",  //
                                       "                                    ",  //
                                       "Ankle boot  0.7500  ############    ",  //
                                       "Sneaker     0.2500  ####            ",  //
                                       "                                    ",  //
                                       "wrong: it is Sneaker                "));
}

TEST(PredictionTextTest, AProbabilityThatIsNoneDrawsNoBar) {
  PredictedImage image = {"x", "", {}};
  v1::ClassScore& score = *image.prediction.add_top();
  score.set_label("a");
  score.set_probability(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(PredictionBlock(image, Terminal{}).lines[2].find('#'), std::string::npos);
}

}  // namespace
}  // namespace convd
