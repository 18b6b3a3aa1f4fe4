#include "client/convctl/model_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::ModelCard Card() {
  v1::ModelCard card;
  card.mutable_model()->set_name("m");
  card.mutable_model()->set_version(1);
  card.set_job_id("j-1");
  card.mutable_created()->set_seconds(100);
  card.mutable_request()->set_batch_size(32);
  card.mutable_request()->set_request_id("once");
  card.mutable_network()->add_layers()->set_name("conv2d");
  card.mutable_network()->add_layers()->set_name("dense");
  card.set_data_sha256("abc");
  for (int epoch = 1; epoch <= 2; ++epoch) {
    v1::EpochRecord& record = *card.add_history();
    record.set_epoch(epoch);
    record.set_loss(1.0 / epoch);
    record.set_seconds(epoch);
  }
  card.mutable_validation()->set_accuracy(0.5);
  card.mutable_validation()->add_confusion(3);
  (*card.mutable_library_versions())["onednn"] = "2.6.3";
  return card;
}

std::vector<std::string> Lines(const v1::ModelCard& a, const v1::ModelCard& b) {
  std::vector<std::string> lines;
  for (const CardDifference& d : CompareCards(a, b)) {
    lines.push_back(absl::StrCat(d.field, ": ", d.a, " | ", d.b));
  }
  return lines;
}

TEST(ModelDiffTest, IgnoresWhatAnyTwoVersionsDifferIn) {
  v1::ModelCard other = Card();
  other.mutable_model()->set_version(2);
  other.set_job_id("j-2");
  other.mutable_created()->set_seconds(200);
  other.mutable_request()->set_request_id("twice");
  other.set_training_seconds(7);
  other.mutable_history(0)->set_loss(5);
  other.mutable_history(1)->set_seconds(9);
  other.mutable_validation()->set_confusion(0, 4);
  EXPECT_THAT(CompareCards(Card(), other), IsEmpty());
}

TEST(ModelDiffTest, NamesEachFieldWithBothValues) {
  v1::ModelCard other = Card();
  other.mutable_request()->set_batch_size(64);
  other.mutable_network()->mutable_layers(1)->set_name("out");
  other.set_data_sha256("def");
  other.mutable_history(1)->set_loss(0.25);
  other.mutable_validation()->set_accuracy(0.75);
  (*other.mutable_library_versions())["onednn"] = "3.7";
  EXPECT_THAT(
      Lines(Card(), other),
      ElementsAre("request.batch_size: 32 | 64", "network.layers[1].name: \"dense\" | \"out\"",
                  "data_sha256: \"abc\" | \"def\"", "validation.accuracy: 0.5 | 0.75",
                  "last_epoch.loss: 0.5 | 0.25", "library_versions.onednn: 2.6.3 | 3.7"));
}

TEST(ModelDiffTest, ShowsWhatOnlyOneOfThemHas) {
  v1::ModelCard other = Card();
  other.mutable_request()->mutable_augmentation()->set_shift(2);
  other.mutable_network()->mutable_layers()->RemoveLast();
  EXPECT_THAT(Lines(Card(), other), ElementsAre("network.layers[1].name: \"dense\" | -",
                                                "request.augmentation.shift: - | 2"));
}

}  // namespace
}  // namespace convd
