#include "client/convctl/model_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Model Fashion() {
  v1::Model model;
  v1::ModelCard& card = *model.mutable_card();
  card.mutable_model()->set_name("fashion");
  card.mutable_model()->set_version(3);
  card.mutable_request()->set_precision(v1::PRECISION_BF16);
  card.mutable_request()->set_serving_precision(v1::PRECISION_INT8);
  for (const auto& [precision, accuracy] :
       {std::pair{v1::PRECISION_F32, 0.9123}, std::pair{v1::PRECISION_BF16, 0.9122},
        std::pair{v1::PRECISION_INT8, 0.9101}}) {
    v1::ServedAccuracy& served = *card.add_served();
    served.set_precision(precision);
    served.set_samples(10000);
    served.set_loss(0.25);
    served.set_accuracy(accuracy);
  }
  v1::Evaluation& evaluation = *model.add_evaluations();
  evaluation.mutable_metrics()->set_samples(10000);
  evaluation.set_precision(v1::PRECISION_INT8);
  model.add_evaluations()->mutable_metrics()->set_samples(5);  // from before there was a choice
  return model;
}

TEST(ModelTextTest, ShowsTheAccuracyAtEachPrecision) {
  const std::string text = ModelDetails(Fashion());
  EXPECT_THAT(text, HasSubstr("\nTrained in           bf16\n"));
  EXPECT_THAT(text, HasSubstr("\nServed at            int8\n"));
  EXPECT_THAT(text, HasSubstr("\n"
                              "SERVED AT  SAMPLES    LOSS  ACCURACY\n"
                              "f32         10,000  0.2500    0.9123\n"
                              "bf16        10,000  0.2500    0.9122\n"
                              "int8        10,000  0.2500    0.9101\n"));
  EXPECT_THAT(text, HasSubstr("\n"
                              "EVALUATED ON       PRECISION  SAMPLES    LOSS  ACCURACY  TIME\n"
                              "images sent along  int8        10,000  0.0000    0.0000  -\n"
                              "images sent along  f32              5  0.0000    0.0000  -\n"));
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST(ModelTextTest, AVersionFromBeforeThereWasAChoiceIsF32) {
  v1::Model model = Fashion();
  model.mutable_card()->clear_request();
  model.mutable_card()->clear_served();
  const std::string text = ModelDetails(model);
  EXPECT_THAT(text, HasSubstr("\nServed at            f32\n"));
  EXPECT_THAT(text, Not(HasSubstr("SERVED AT")));
}

TEST(ModelTextTest, ShowsHowTheTrainingSamplesWereVaried) {
  v1::Model model = Fashion();
  EXPECT_THAT(ModelDetails(model), HasSubstr("\nAugmentation         none\n"));
  v1::Augmentation& augmentation = *model.mutable_card()->mutable_request()->mutable_augmentation();
  augmentation.set_shift(1);
  EXPECT_THAT(ModelDetails(model), HasSubstr("\nAugmentation         shift by up to 1 pixel\n"));
  augmentation.set_horizontal_flip(true);
  augmentation.set_shift(4);
  EXPECT_THAT(ModelDetails(model),
              HasSubstr("\nAugmentation         horizontal flip, shift by up to 4 pixels\n"));
  augmentation.set_shift(0);
  EXPECT_THAT(ModelDetails(model), HasSubstr("\nAugmentation         horizontal flip\n"));
}

TEST(ModelTextTest, NamesWhatANewerServerHas) {
  v1::Model model = Fashion();
  model.mutable_card()->mutable_request()->set_serving_precision(static_cast<v1::Precision>(77));
  EXPECT_THAT(ModelDetails(model), HasSubstr("\nServed at            precision 77\n"));
}

}  // namespace
}  // namespace convd
