// Versions served at several precisions: which one is meant, what each takes, and that the trouble
// of one is none of the others'.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RepositoryPrecisionTest : public ModelRepositoryTest {
 protected:
  // A version of "m" with this serving precision in its card, and a quantization or none.
  v1::ModelVersion PublishServedAt(v1::Precision precision, bool quantized = true) {
    v1::ModelCard card = Card("m");
    card.mutable_request()->set_serving_precision(precision);
    if (quantized) {
      card.mutable_quantization()->set_samples(7);
      card.mutable_quantization()->add_inputs()->set_layer("dense");
    }
    auto published = repository_->Publish(graph_, parameters_, card);
    EXPECT_TRUE(published.ok()) << published.status();
    return published.ok() ? *published : v1::ModelVersion();
  }
  void ExpectRefused(const absl::StatusOr<std::shared_ptr<const LoadedModel>>& loaded,
                     const std::vector<std::string>& says) {
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kFailedPrecondition) << loaded.status();
    for (const std::string& s : says) {
      EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(s));
    }
  }
  // What the compiler was asked for, in order.
  void RecordCompiled() {
    on_compile_ = [this](const Graph&, const InferenceOptions& options) {
      absl::MutexLock lock(&mu_);
      asked_.push_back(options.precision);
      samples_.push_back(options.quantization != nullptr ? options.quantization->samples() : -1);
      return absl::OkStatus();
    };
  }
  std::vector<v1::Precision> asked_;
  std::vector<int64_t> samples_;
};

TEST_F(RepositoryPrecisionTest, TakesTheRequestsWordThenTheCardsThenF32) {
  RecordCompiled();
  PublishServedAt(v1::PRECISION_INT8);
  PublishServedAt(v1::PRECISION_UNSPECIFIED);  // as a card from before there was a choice
  for (const auto& [version, named, meant] :
       {std::tuple{1, v1::PRECISION_UNSPECIFIED, v1::PRECISION_INT8},
        std::tuple{1, v1::PRECISION_BF16, v1::PRECISION_BF16},
        std::tuple{1, v1::PRECISION_F32, v1::PRECISION_F32},
        std::tuple{2, v1::PRECISION_UNSPECIFIED, v1::PRECISION_F32},
        std::tuple{2, v1::PRECISION_INT8, v1::PRECISION_INT8}}) {
    EXPECT_EQ(FindLoaded(Id("m", version), named), nullptr);
    const auto loaded = Load(Id("m", version), named);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->precision, meant);
    EXPECT_EQ((*loaded)->card.model().version(), version);
    EXPECT_EQ(FindLoaded(Id("m", version), named), *loaded);
    EXPECT_EQ(FindLoaded(Id("m", version), meant), *loaded);
    EXPECT_EQ(*Load(Id("m", version), meant), *loaded);
  }
  EXPECT_THAT(asked_, ElementsAre(v1::PRECISION_INT8, v1::PRECISION_BF16, v1::PRECISION_F32,
                                  v1::PRECISION_F32, v1::PRECISION_INT8));
  EXPECT_THAT(samples_, ElementsAre(7, 7, 7, 7, 7));
}

TEST_F(RepositoryPrecisionTest, SaysWhatTheCpuLacksAndTouchesNothing) {
  precisions_ = {v1::PRECISION_F32};
  PublishServedAt(v1::PRECISION_F32);
  PublishServedAt(v1::PRECISION_BF16);
  // The request's own word.
  ExpectRefused(Load(Id("m"), v1::PRECISION_INT8), {"precision: got 3"});
  // The version's.
  ExpectRefused(Load(Id("m")), {"model \"m\" version 2 is served at bf16, which this CPU lacks",
                                "serving_precision: got 2", "a request may ask for precision f32"});
  EXPECT_EQ(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(compiled_, 0);
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
  EXPECT_THAT(repository_->TakeWarnings(), IsEmpty());
  // And what a request may ask for instead.
  const auto f32 = Load(Id("m"), v1::PRECISION_F32);
  ASSERT_TRUE(f32.ok()) << f32.status();
  EXPECT_EQ((*f32)->card.model().version(), 2) << "not an older one";
  ExpectRefused(Load(Id("m")), {"bf16"});
  EXPECT_EQ((*Load(Id("m", 1)))->precision, v1::PRECISION_F32);
}

TEST_F(RepositoryPrecisionTest, TakesAQuantizationForInt8) {
  PublishServedAt(v1::PRECISION_INT8, /*quantized=*/false);
  for (const v1::Precision named : {v1::PRECISION_INT8, v1::PRECISION_UNSPECIFIED}) {
    ExpectRefused(Load(Id("m"), named),
                  {"model \"m\" version 1 has no quantization", "train it again, or ask for f32",
                   named == v1::PRECISION_INT8 ? "precision: " : "serving_precision: "});
  }
  EXPECT_EQ(compiled_, 0);
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  EXPECT_TRUE(Load(Id("m"), v1::PRECISION_BF16).ok());
  EXPECT_TRUE(Load(Id("m"), v1::PRECISION_F32).ok());
  EXPECT_THAT(repository_->TakeWarnings(), IsEmpty());
}

TEST_F(RepositoryPrecisionTest, SurvivesWordsThatAreNoPrecisions) {
  for (const int word : {77, 4, -1, -2147483647 - 1}) {
    const v1::ModelVersion id = PublishServedAt(static_cast<v1::Precision>(word));
    for (const bool reopen : {false, true}) {
      if (reopen) Reopen();
      ExpectRefused(Load(id), {absl::StrCat("is served at precision ", word), "precision f32"});
      EXPECT_EQ(FindLoaded(id), nullptr);
      EXPECT_TRUE(repository_->Get(id).ok());
      EXPECT_TRUE(Load(id, v1::PRECISION_F32).ok());
      const absl::Status asked = Load(id, static_cast<v1::Precision>(word)).status();
      EXPECT_EQ(asked.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(asked.message()), HasSubstr(absl::StrCat("precision: got ", word)));
    }
  }
}

// Where a quantization doesn't fit the network, for one.
TEST_F(RepositoryPrecisionTest, ACompilersRefusalOfOnePrecisionIsNoneOfTheOthers) {
  PublishServedAt(v1::PRECISION_F32);
  PublishServedAt(v1::PRECISION_INT8);
  for (const auto code : {absl::StatusCode::kFailedPrecondition, absl::StatusCode::kDataLoss}) {
    on_compile_ = [code](const Graph&, const InferenceOptions& options) {
      return options.precision == v1::PRECISION_INT8 ? absl::Status(code, "no range of dense")
                                                     : absl::OkStatus();
    };
    const absl::Status status = Load(Id("m")).status();
    EXPECT_EQ(status.code(),
              code == absl::StatusCode::kDataLoss ? absl::StatusCode::kInternal : code);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("/state/models/m/2"), HasSubstr("no range of dense")));
    EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
    EXPECT_EQ((*Load(Id("m"), v1::PRECISION_F32))->card.model().version(), 2);
    EXPECT_EQ(FindLoaded(Id("m"), v1::PRECISION_F32)->card.model().version(), 2);
  }
  EXPECT_THAT(repository_->TakeWarnings(),
              ElementsAre(AllOf(HasSubstr("PRECISION_INT8"), HasSubstr("no range of dense"))));
  on_compile_ = nullptr;
  EXPECT_TRUE(Load(Id("m")).ok()) << "a failed load must be tried again";
}

TEST_F(RepositoryPrecisionTest, LoadsEachOnceAndSideBySide) {
  PublishServedAt(v1::PRECISION_INT8);
  absl::Notification compiling, go;
  on_compile_ = [&](const Graph&, const InferenceOptions& options) {
    if (options.precision == v1::PRECISION_INT8) {
      compiling.Notify();  // a second compilation would crash here
      go.WaitForNotification();
    }
    return absl::OkStatus();
  };
  std::vector<std::shared_ptr<const LoadedModel>> loaded(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < loaded.size(); ++i) {
    threads.emplace_back([&, i] {
      auto model = Load(Id("m"), i % 2 == 0 ? v1::PRECISION_UNSPECIFIED : v1::PRECISION_INT8);
      ASSERT_TRUE(model.ok()) << model.status();
      loaded[i] = *model;
    });
  }
  compiling.WaitForNotification();
  // Would wait for ever if one precision held up the others.
  EXPECT_TRUE(Load(Id("m"), v1::PRECISION_F32).ok());
  EXPECT_EQ(FindLoaded(Id("m")), nullptr);
  go.Notify();
  for (std::thread& thread : threads) thread.join();
  for (const auto& l : loaded) EXPECT_EQ(l, loaded[0]);
  EXPECT_EQ(loaded[0]->precision, v1::PRECISION_INT8);
  EXPECT_EQ(compiled_, 2);
}

// The disk went bad after one precision was loaded.
TEST_F(RepositoryPrecisionTest, WhatIsInMemoryAnswersThoughTheFilesAreDamaged) {
  PublishServedAt(v1::PRECISION_F32);
  PublishServedAt(v1::PRECISION_F32);
  const auto good = Load(Id("m"));
  ASSERT_TRUE(good.ok()) << good.status();
  fs_->Bytes("/state/models/m/2/model.onnx")[10] ^= 1;
  EXPECT_EQ(Load(Id("m", 2), v1::PRECISION_BF16).status().code(), absl::StatusCode::kDataLoss);
  const auto older = Load(Id("m"), v1::PRECISION_BF16);
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_EQ((*older)->card.model().version(), 1);
  EXPECT_EQ(FindLoaded(Id("m"), v1::PRECISION_BF16), *older);
  for (const int64_t version : {0, 2}) {
    EXPECT_EQ(*Load(Id("m", version)), *good);
    EXPECT_EQ(FindLoaded(Id("m", version)), *good);
  }
  // And is shown, and evaluated.
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
  EXPECT_TRUE(repository_->Get(Id("m", 2)).ok());
  v1::Evaluation evaluation;
  *evaluation.mutable_model() = Id("m", 2);
  EXPECT_TRUE(repository_->AddEvaluation(evaluation).ok());
  EXPECT_THAT(repository_->TakeWarnings(), ElementsAre(HasSubstr("PRECISION_BF16")));
  // Once the files are mended the other precision is there, too.
  fs_->Bytes("/state/models/m/2/model.onnx")[10] ^= 1;
  EXPECT_EQ(Load(Id("m", 2), v1::PRECISION_BF16).status().code(), absl::StatusCode::kDataLoss);
  clock_.seconds += 10;
  EXPECT_TRUE(Load(Id("m", 2), v1::PRECISION_BF16).ok());
}

// Before anything is compiled, or read.
TEST_F(RepositoryPrecisionTest, RefusesAQuantizationOfAnotherNetwork) {
  v1::ModelCard card = Card("m");
  card.mutable_quantization()->set_samples(7);
  card.mutable_quantization()->add_inputs()->set_layer("x\n" + std::string(1000, 'y'));
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  const auto loaded = Load(Id("m"), v1::PRECISION_INT8);
  ExpectRefused(loaded, {"precision: model \"m\" version 1", "inputs[0].layer: got \"x\\ny",
                         "want \"dense\"", "ask for f32"});
  EXPECT_LT(loaded.status().message().size(), 400u);
  EXPECT_EQ(compiled_, 0);
}

// Its own precision is in the card, which is what could not be read.
TEST_F(RepositoryPrecisionTest, AMendedCardSaysWhatTheVersionIsServedAt) {
  PublishServedAt(v1::PRECISION_BF16);
  std::string& bytes = fs_->Bytes("/state/models/m/1/model.textproto");
  bytes[0] ^= 1;
  Reopen();
  EXPECT_EQ(Load(Id("m")).status().code(), absl::StatusCode::kDataLoss);
  bytes[0] ^= 1;
  clock_.seconds += 10;
  repository_->Maintain([](const v1::ModelVersion&) { return false; });
  precisions_ = {v1::PRECISION_F32};
  ExpectRefused(Load(Id("m")), {"is served at bf16"});
  precisions_.insert(v1::PRECISION_BF16);
  EXPECT_EQ((*Load(Id("m")))->precision, v1::PRECISION_BF16);
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
}

}  // namespace
}  // namespace convd
