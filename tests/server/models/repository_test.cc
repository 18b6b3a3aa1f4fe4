#include "server/models/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ModelRepositoryTest, PublishesAFolderThatSaysEverything) {
  EXPECT_EQ(MustPublish("fashion").version(), 1);
  EXPECT_THAT(fs_->AllFiles(),
              ElementsAre("/state/models/fashion/1/MANIFEST", "/state/models/fashion/1/model.onnx",
                          "/state/models/fashion/1/model.textproto"));
  const absl::StatusOr<v1::Model> model = repository_->Get(Id("fashion"));
  ASSERT_TRUE(model.ok()) << model.status();
  const v1::ModelCard& card = model->card();
  EXPECT_EQ(card.model().version(), 1);
  EXPECT_EQ(card.parameters(), 15);  // 4 * 3 + 3
  EXPECT_EQ(card.network().layers_size(), 2);
  EXPECT_EQ(card.network().layers(0).name(), "flatten");
  EXPECT_EQ(card.created().seconds(), 1'700'001'000);
  EXPECT_EQ(card.history(0).loss(), 1.0 / 3);
  EXPECT_EQ(card.library_versions().at("onednn"), "2.6.3");
  EXPECT_EQ(card.labels(1), "tro\"us\ner");
  EXPECT_EQ(model->path(), "/state/models/fashion/1");
  int64_t bytes = 0;
  for (const std::string& file : fs_->AllFiles()) {
    bytes += static_cast<int64_t>(fs_->Bytes(file).size());
  }
  EXPECT_EQ(model->size_bytes(), bytes);
  EXPECT_THAT(model->summary(), HasSubstr("15"));
}

TEST_F(ModelRepositoryTest, NumbersVersionsOfEachNameFromOne) {
  EXPECT_EQ(MustPublish("a").version(), 1);
  EXPECT_EQ(MustPublish("a").version(), 2);
  EXPECT_EQ(MustPublish("b").version(), 1);
  EXPECT_EQ(MustPublish("a").version(), 3);
  EXPECT_THAT(Listed(), ElementsAre("a/3", "a/2", "a/1", "b/1"));
  EXPECT_THAT(Listed("a"), ElementsAre("a/3", "a/2", "a/1"));
  EXPECT_THAT(Listed("c"), IsEmpty());
}

TEST_F(ModelRepositoryTest, LoadsTheVeryWeightsFromTheOnnxFile) {
  parameters_[3] = std::nextafter(0.1f, 1.0f);
  parameters_[4] = -0.0f;
  parameters_[5] = std::numeric_limits<float>::denorm_min();
  MustPublish("m");
  const auto loaded = Load(Id("m"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(read_parameters_.size(), parameters_.size());
  EXPECT_EQ(0, std::memcmp(read_parameters_.data(), parameters_.data(), parameters_.size() * 4));
  EXPECT_EQ((*loaded)->card.model().version(), 1);
  EXPECT_EQ((*loaded)->model->graph().classes(), 3);
  const auto weights = repository_->ReadWeights(Id("m"));
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(weights->size(), parameters_.size());
  EXPECT_EQ(0, std::memcmp(weights->data(), parameters_.data(), parameters_.size() * 4));
}

TEST_F(ModelRepositoryTest, KeepsALoadedVersionInMemory) {
  MustPublish("m");
  EXPECT_EQ(FindLoaded(Id("m")), nullptr);
  const auto first = Load(Id("m"));
  const auto second = Load(Id("m", 1));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(FindLoaded(Id("m")), *first);
  EXPECT_EQ(FindLoaded(Id("m", 1)), *first);
  EXPECT_EQ(compiled_, 1);
}

TEST_F(ModelRepositoryTest, RefusesWhatDoesNotFitBeforeAnythingOfItIsRead) {
  MustPublish("m");
  const int64_t loaded = EstimateInferenceMemory(graph_, v1::PRECISION_F32, kWorkers);
  const int64_t weights = static_cast<int64_t>(parameters_.size()) * 4;
  memory_ = std::make_unique<MemoryLedger>(MemoryLedger::Limits{.all = loaded + weights - 1});
  const int64_t operations = fs_->operations();
  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = Load(Id("m")).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr("/state/models/m/1: takes about"), HasSubstr("nothing is taken")));
  }
  EXPECT_EQ(fs_->operations(), operations) << "files were looked at";
  EXPECT_EQ(compiled_, 0);
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  EXPECT_EQ(repository_->TakeWarnings().size(), 1u);

  memory_ = std::make_unique<MemoryLedger>(MemoryLedger::Limits{.all = loaded + weights});
  on_compile_ = [&](const Graph&, const InferenceOptions&) {
    EXPECT_EQ(memory_->taken().models, loaded + weights);
    return absl::OkStatus();
  };
  EXPECT_TRUE(Load(Id("m")).ok());
  EXPECT_EQ(compiled_, 1);
}

TEST_F(ModelRepositoryTest, AModelHasItsMemoryAsLongAsAnybodyHoldsIt) {
  MustPublish("m");
  const int64_t loaded = EstimateInferenceMemory(graph_, v1::PRECISION_F32, kWorkers);
  std::shared_ptr<const InferenceModel> held = (*Load(Id("m")))->model;
  EXPECT_EQ(memory_->taken().models, loaded);
  ASSERT_TRUE(repository_->Unload(Id("m")).ok());
  EXPECT_EQ(memory_->taken().models, loaded);
  held = nullptr;
  EXPECT_EQ(memory_->taken().models, 0);
  // What can't be loaded has nothing.
  on_compile_ = [](const Graph&, const InferenceOptions&) { return absl::InternalError("no"); };
  EXPECT_FALSE(Load(Id("m")).ok());
  EXPECT_EQ(memory_->taken().models, 0);
  on_compile_ = nullptr;
  fs_->Bytes("/state/models/m/1/model.onnx")[0] ^= 1;
  EXPECT_FALSE(Load(Id("m")).ok());
  EXPECT_EQ(memory_->taken().models, 0);
}

TEST_F(ModelRepositoryTest, AVersionWhoseFilesWereExchangedHasTheMemoryThatItTakes) {
  MustPublish("m");
  const Graph larger = *Graph::Create(DenseNetwork(40, 50, 1, 3));
  MemoryFileSystem elsewhere;
  ASSERT_TRUE((*ModelRepository::Open(elsewhere, clock_, "/state"))
                  ->Publish(larger, std::vector<float>(larger.parameter_count()), Card("m"))
                  .ok());
  for (const std::string& file : elsewhere.AllFiles()) fs_->Bytes(file) = elsewhere.Bytes(file);
  ASSERT_TRUE(Load(Id("m")).ok());
  EXPECT_EQ(memory_->taken().models, EstimateInferenceMemory(larger, v1::PRECISION_F32, kWorkers));
}

TEST_F(ModelRepositoryTest, SaysWhatIsMissing) {
  MustPublish("m");
  MustPublish("m");
  for (auto* call :
       {+[](ModelRepository& r, const v1::ModelVersion& id) {
          return r.Load(id, v1::PRECISION_UNSPECIFIED).status();
        },
        +[](ModelRepository& r, const v1::ModelVersion& id) { return r.Get(id).status(); },
        +[](ModelRepository& r, const v1::ModelVersion& id) {
          return r.ReadWeights(id).status();
        }}) {
    absl::Status status = call(*repository_, Id("other"));
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()), HasSubstr("\"other\""));
    status = call(*repository_, Id("m", 9));
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("no version 9"), HasSubstr("newest is 2")));
    EXPECT_EQ(call(*repository_, Id("../m")).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(call(*repository_, Id("m", -1)).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(ModelRepositoryTest, PublishesNothingThatCouldNotBeReadBack) {
  v1::ModelCard hostile = Card("../../etc");
  EXPECT_EQ(repository_->Publish(graph_, parameters_, hostile).status().code(),
            absl::StatusCode::kInvalidArgument);
  std::vector<float> short_by_one(parameters_.begin(), parameters_.end() - 1);
  EXPECT_EQ(repository_->Publish(graph_, short_by_one, Card("m")).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> parameters = parameters_;
    parameters[13] = bad;
    const absl::Status status = repository_->Publish(graph_, parameters, Card("m")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("dense/bias: element 1"));
  }
  v1::ModelCard four_labels = Card("m");
  four_labels.add_labels("one too many");
  EXPECT_EQ(repository_->Publish(graph_, parameters_, four_labels).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(fs_->AllFiles(), IsEmpty());
}

TEST_F(ModelRepositoryTest, NamesClassesWithoutALabelByTheirIndex) {
  v1::ModelCard card = Card("m");
  card.clear_labels();
  card.add_labels("zero");
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  EXPECT_THAT(repository_->Get(Id("m"))->card().labels(), ElementsAre("zero", "1", "2"));
}

TEST_F(ModelRepositoryTest, FindsEverythingAfterARestart) {
  MustPublish("a");
  MustPublish("b");
  MustPublish("a");
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("a", 1), 0.75)).ok());
  const v1::Model before = *repository_->Get(Id("a", 1));
  Reopen();
  EXPECT_THAT(repository_->TakeWarnings(), IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre("a/2", "a/1", "b/1"));
  EXPECT_EQ(repository_->Get(Id("a", 1))->SerializeAsString(), before.SerializeAsString());
  EXPECT_TRUE(Load(Id("a", 1)).ok());
  EXPECT_EQ(MustPublish("a").version(), 3);
}

TEST_F(ModelRepositoryTest, KeepsTheLastHundredEvaluations) {
  MustPublish("m");
  for (int i = 0; i < 103; ++i) {
    ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), i)).ok());
  }
  for (bool reopen : {false, true}) {
    if (reopen) Reopen();
    const v1::Model model = *repository_->Get(Id("m"));
    ASSERT_EQ(model.evaluations_size(), 100);
    EXPECT_EQ(model.evaluations(0).metrics().accuracy(), 3);
    EXPECT_EQ(model.evaluations(99).metrics().accuracy(), 102);
    EXPECT_THAT(model.evaluations(99).metrics().confusion(), ElementsAre(5, 1));
  }
}

TEST_F(ModelRepositoryTest, KeepsFewerEvaluationsWhereTheyAreLarge) {
  MustPublish("m");
  v1::Evaluation large = EvaluationOf(Id("m", 1), 0);
  for (int i = 0; i < 2'500'000; ++i) large.mutable_metrics()->add_confusion(7);
  for (int i = 0; i < 3; ++i) {
    large.mutable_metrics()->set_accuracy(i);
    ASSERT_TRUE(repository_->AddEvaluation(large).ok());
  }
  EXPECT_LE(fs_->Bytes("/state/models/m/1.evaluations.textproto").size(), size_t{16} << 20);
  Reopen();
  const v1::Model model = *repository_->Get(Id("m"));
  ASSERT_EQ(model.evaluations_size(), 2);  // of 7.5 MB each
  EXPECT_EQ(model.evaluations(1).metrics().accuracy(), 2);
}

TEST_F(ModelRepositoryTest, KeepsNoEvaluationOfWhatIsNotThere) {
  MustPublish("m");
  EXPECT_EQ(repository_->AddEvaluation(EvaluationOf(Id("m", 2), 1)).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(repository_->AddEvaluation(EvaluationOf(Id("m", 0), 1)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(repository_->AddEvaluation(EvaluationOf(Id("a/b", 1), 1)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(fs_->AllFiles().size(), 3u);
}

TEST_F(ModelRepositoryTest, TellsACompilersErrorAsItsOwn) {
  MustPublish("m");
  on_compile_ = [](const Graph&, const InferenceOptions&) {
    return absl::InvalidArgumentError("no such layout");
  };
  const absl::Status status = Load(Id("m")).status();
  // INVALID_ARGUMENT would blame the caller's request.
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no such layout"));
  on_compile_ = nullptr;
  EXPECT_TRUE(Load(Id("m")).ok()) << "a failed load must be tried again";
}

TEST_F(ModelRepositoryTest, ReadsOnceForAllWhoWantTheSameVersion) {
  MustPublish("m");
  absl::Notification compiling, go;
  on_compile_ = [&](const Graph&, const InferenceOptions&) {
    compiling.Notify();  // a second compilation would crash here
    go.WaitForNotification();
    return absl::OkStatus();
  };
  std::vector<std::shared_ptr<const LoadedModel>> loaded(4);
  std::vector<std::thread> threads;
  for (auto& l : loaded) {
    threads.emplace_back([&] {
      auto model = Load(Id("m"));
      ASSERT_TRUE(model.ok());
      l = *model;
    });
  }
  compiling.WaitForNotification();
  go.Notify();
  for (std::thread& thread : threads) thread.join();
  for (const auto& l : loaded) EXPECT_EQ(l, loaded[0]);
  EXPECT_EQ(compiled_, 1);
}

TEST_F(ModelRepositoryTest, GoesOnWhileAnotherModelIsLoading) {
  MustPublish("slow");
  MustPublish("fast");
  absl::Notification compiling, go;
  on_compile_ = [&, first = std::make_shared<std::atomic<bool>>(true)](const Graph&,
                                                                       const InferenceOptions&) {
    if (first->exchange(false)) {
      compiling.Notify();
      go.WaitForNotification();
    }
    return absl::OkStatus();
  };
  std::thread slow([&] { EXPECT_TRUE(Load(Id("slow")).ok()); });
  compiling.WaitForNotification();
  // All of this would wait for ever if the repository were locked.
  EXPECT_TRUE(Load(Id("fast")).ok());
  EXPECT_EQ(FindLoaded(Id("slow")), nullptr);
  EXPECT_TRUE(repository_->Get(Id("slow")).ok());
  EXPECT_EQ(Listed().size(), 2u);
  MustPublish("slow");
  EXPECT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("slow", 1), 1)).ok());
  go.Notify();
  slow.join();
}

TEST_F(ModelRepositoryTest, GivesEachOfManyPublishersItsOwnNumber) {
  std::vector<std::thread> threads;
  absl::Mutex mu;
  std::set<int64_t> numbers;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        const auto id = repository_->Publish(graph_, parameters_, Card("m"));
        ASSERT_TRUE(id.ok()) << id.status();
        EXPECT_TRUE(Load(*id).ok());
        EXPECT_TRUE(repository_->AddEvaluation(EvaluationOf(*id, 1)).ok());
        repository_->List("");
        absl::MutexLock lock(&mu);
        EXPECT_TRUE(numbers.insert(id->version()).second);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(numbers.size(), 20u);
  EXPECT_EQ(*numbers.rbegin(), 20) << "numbers have no gaps";
  EXPECT_EQ(Load(Id("m")).value()->card.model().version(), 20);
}

}  // namespace
}  // namespace convd
