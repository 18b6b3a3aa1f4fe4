// Which version a request gets: labels, defaults, take-overs, and what stays in memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::ModelVersion Labelled(const std::string& name, const std::string& label) {
  v1::ModelVersion id;
  id.set_name(name);
  id.set_label(label);
  return id;
}

class RepositoryLabelsTest : public ModelRepositoryTest {
 protected:
  int64_t Answering(const v1::ModelVersion& id) {
    const auto loaded = Load(id);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? (*loaded)->card.model().version() : 0;
  }
  void MustMove(const std::string& label, int64_t version) {
    const auto policy = repository_->MoveLabel("m", label, version);
    ASSERT_TRUE(policy.ok()) << policy.status();
  }
  void MustUpdate(const std::string& default_label) {
    v1::UpdateModelPolicyRequest change;
    change.set_name("m");
    change.set_default_label(default_label);
    const auto policy = repository_->UpdatePolicy(change);
    ASSERT_TRUE(policy.ok()) << policy.status();
  }
  void MustKeep(int64_t keep) {
    v1::UpdateModelPolicyRequest change;
    change.set_name("m");
    change.set_keep(keep);
    ASSERT_TRUE(repository_->UpdatePolicy(change).ok());
  }
  std::vector<v1::ModelVersion> Maintain() {
    return repository_->Maintain([](const v1::ModelVersion&) { return false; });
  }
};

TEST_F(RepositoryLabelsTest, AnswersWithWhatALabelStandsFor) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  MustMove("stable", 2);
  EXPECT_EQ(Answering(Labelled("m", "stable")), 2);
  EXPECT_EQ(Answering(Labelled("m", "latest")), 3);
  EXPECT_EQ(Answering(Id("m")), 3) << "a label alone is no default";
  MustUpdate("stable");
  EXPECT_EQ(Answering(Id("m")), 2);
  EXPECT_EQ(Answering(Labelled("m", "latest")), 3);
  for (bool restart : {false, true}) {
    if (restart) Reopen();
    EXPECT_EQ(Answering(Id("m")), 2);
    const v1::Model two = *repository_->Get(Labelled("m", "stable"));
    EXPECT_EQ(two.card().model().version(), 2);
    EXPECT_THAT(two.labels(), ElementsAre("stable"));
    EXPECT_TRUE(two.is_default());
    EXPECT_FALSE(repository_->Get(Id("m", 3))->is_default());
  }
  MustPublish("m");
  EXPECT_EQ(Answering(Id("m")), 2) << "a new version must not become the default by itself";
  MustUpdate("latest");
  EXPECT_EQ(Answering(Id("m")), 4);
}

TEST_F(RepositoryLabelsTest, SaysWhatIsMissingOrImpossible) {
  MustPublish("m");
  MustMove("stable", 0);
  const absl::Status no_label = Load(Labelled("m", "canary")).status();
  EXPECT_EQ(no_label.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_label.message()),
              AllOf(HasSubstr("\"canary\""), HasSubstr("\"stable\"")));
  EXPECT_EQ(FindLoaded(Labelled("m", "canary")), nullptr);
  v1::ModelVersion both = Labelled("m", "stable");
  both.set_version(1);
  EXPECT_EQ(Load(both).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(repository_->MoveLabel("m", "stable", 9).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(repository_->MoveLabel("n", "stable", 1).status().code(), absl::StatusCode::kNotFound);
  for (const char* label : {"latest", "7", "a b", ""}) {
    EXPECT_EQ(repository_->MoveLabel("m", label, 1).status().code(),
              absl::StatusCode::kInvalidArgument)
        << label;
  }
  v1::UpdateModelPolicyRequest change;
  change.set_name("m");
  change.set_default_label("canary");
  EXPECT_EQ(repository_->UpdatePolicy(change).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(repository_->RollBackLabel("m", "").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(repository_->RollBackLabel("m", "stable").status().code(),
            absl::StatusCode::kFailedPrecondition)
      << "it has never been anywhere else";
  EXPECT_TRUE(repository_->RemoveLabel("m", "stable").ok());
  EXPECT_EQ(Load(Labelled("m", "stable")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RepositoryLabelsTest, RollsBackAndForth) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  MustMove("stable", 1);
  MustMove("stable", 3);
  MustUpdate("stable");
  ASSERT_TRUE(repository_->RollBackLabel("m", "").ok());
  EXPECT_EQ(Answering(Id("m")), 1);
  ASSERT_TRUE(repository_->RollBackLabel("m", "stable").ok());
  EXPECT_EQ(Answering(Id("m")), 3);
}

TEST_F(RepositoryLabelsTest, LoadsANewVersionBeforeItTakesOver) {
  MustPublish("m");
  const auto first = Load(Id("m"));
  ASSERT_TRUE(first.ok());
  bool listed_while_loading = false;
  on_compile_ = [&](const Graph&, const InferenceOptions&) {
    listed_while_loading = Listed("m").size() > 1;
    EXPECT_EQ(FindLoaded(Id("m")), *first) << "who asks meanwhile waits for nothing";
    return absl::OkStatus();
  };
  MustPublish("m");
  EXPECT_FALSE(listed_while_loading);
  EXPECT_EQ(compiled_, 2);
  ASSERT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
  EXPECT_EQ((*first)->card.model().version(), 1) << "who holds it keeps it";
  EXPECT_THAT(repository_->Get(Id("m", 1))->in_memory(), IsEmpty());
}

TEST_F(RepositoryLabelsTest, LoadsNothingThatNobodyAskedFor) {
  MustPublish("m");
  MustPublish("m");
  MustMove("stable", 1);
  EXPECT_EQ(compiled_, 0);
}

TEST_F(RepositoryLabelsTest, GivesTheMemoryBackWithTheLastRequest) {
  MustPublish("m");
  auto held = *Load(Id("m"));
  const std::weak_ptr<const LoadedModel> first = held;
  MustPublish("m");
  EXPECT_FALSE(first.expired());
  held = nullptr;
  EXPECT_TRUE(first.expired());
}

TEST_F(RepositoryLabelsTest, GivesTheMemoryBackWhereOnlyALabelIsAskedFor) {
  MustPublish("m");
  MustPublish("m");
  MustPublish("m");
  MustMove("stable", 1);
  const std::weak_ptr<const LoadedModel> first = *Load(Labelled("m", "stable"));
  MustMove("stable", 2);
  EXPECT_TRUE(first.expired()) << "though nobody has ever loaded the default";
  EXPECT_NE(FindLoaded(Labelled("m", "stable")), nullptr);
}

TEST_F(RepositoryLabelsTest, TheLastGoodAnswersWhereWhatIsMeantCannotBeLoaded) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  on_compile_ = [](const Graph&, const InferenceOptions&) { return absl::InternalError("no"); };
  MustPublish("m");
  MustKeep(1);
  for (int i = 0; i < 3; ++i) {
    Maintain();
    EXPECT_THAT(Listed("m"), ElementsAre("m/2", "m/1"))
        << "one that can't be loaded is none to keep";
    EXPECT_EQ(Answering(Id("m")), 1) << "after another attempt";
    EXPECT_NE(FindLoaded(Id("m")), nullptr) << "which nobody waits for again for a while";
    EXPECT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kInternal);
    clock_.seconds += 11;
  }
  on_compile_ = nullptr;
  EXPECT_EQ(Answering(Id("m")), 2);
}

TEST_F(RepositoryLabelsTest, WhatACompilerThrowsIsAnErrorThatNobodyWaitsForAgain) {
  MustPublish("m");
  on_compile_ = [](const Graph&, const InferenceOptions&) -> absl::Status {
    throw std::bad_alloc();
  };
  EXPECT_EQ(Load(Id("m")).status().code(), absl::StatusCode::kResourceExhausted);
  on_compile_ = [](const Graph&, const InferenceOptions&) -> absl::Status {
    throw std::runtime_error("could not create a primitive");
  };
  const absl::Status thrown = Load(Id("m")).status();
  EXPECT_EQ(thrown.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(thrown.message()),
              AllOf(HasSubstr("/state/models/m/1"), HasSubstr("could not create a primitive")));
  on_compile_ = nullptr;
  EXPECT_EQ(Answering(Id("m")), 1);
}

TEST_F(RepositoryLabelsTest, TakesOverAtWhatTheNewVersionIsServedAt) {
  v1::ModelCard card = Card("m");
  card.mutable_request()->set_serving_precision(v1::PRECISION_F32);
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  ASSERT_TRUE(Load(Id("m")).ok());
  ASSERT_TRUE(Load(Id("m"), v1::PRECISION_BF16).ok());
  card.mutable_request()->set_serving_precision(v1::PRECISION_INT8);
  v1::InputRange& range = *card.mutable_quantization()->add_inputs();
  card.mutable_quantization()->set_samples(1);
  range.set_layer("dense");
  range.set_high(1);
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  ASSERT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(FindLoaded(Id("m"))->precision, v1::PRECISION_INT8);
  EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
  EXPECT_EQ(FindLoaded(Id("m"), v1::PRECISION_BF16)->card.model().version(), 2);
}

TEST_F(RepositoryLabelsTest, MovesNoLabelToWhatThisCpuCannotServe) {
  MustPublish("m");
  v1::ModelCard card = Card("m");
  card.mutable_request()->set_serving_precision(v1::PRECISION_INT8);
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  MustMove("stable", 1);
  EXPECT_EQ(repository_->MoveLabel("m", "stable", 2).status().code(),
            absl::StatusCode::kFailedPrecondition)
      << "it has no ranges for int8";
  EXPECT_EQ(Answering(Labelled("m", "stable")), 1);
}

TEST_F(RepositoryLabelsTest, GivesNoNumberTwiceThatALabelSpeaksOf) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  MustMove("stable", 3);
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/3").ok());
  Maintain();
  EXPECT_THAT(Listed("m"), ElementsAre("m/2", "m/1"));
  EXPECT_EQ(MustPublish("m").version(), 4);
  EXPECT_EQ(Load(Labelled("m", "stable")).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m").ok());
  Maintain();
  EXPECT_EQ(MustPublish("m").version(), 5);
}

TEST_F(RepositoryLabelsTest, KeepsWhatALabelWouldBeRolledBackTo) {
  for (int i = 0; i < 4; ++i) MustPublish("m");
  MustMove("stable", 1);
  MustMove("stable", 4);
  MustKeep(1);
  Maintain();
  EXPECT_THAT(Listed("m"), ElementsAre("m/4", "m/3", "m/1"));
  ASSERT_TRUE(repository_->RollBackLabel("m", "stable").ok());
  EXPECT_EQ(Answering(Labelled("m", "stable")), 1);
}

TEST_F(RepositoryLabelsTest, KeepsWhatIsAskedForByItsNumberForFiveMinutes) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m", 1)).ok());
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  clock_.seconds += 200;
  EXPECT_NE(FindLoaded(Id("m", 1)), nullptr);
  clock_.seconds += 299;
  Maintain();
  EXPECT_THAT(repository_->Get(Id("m", 1))->in_memory(), ElementsAre(v1::PRECISION_F32));
  clock_.seconds += 2;
  Maintain();
  EXPECT_THAT(repository_->Get(Id("m", 1))->in_memory(), IsEmpty());
  EXPECT_NE(FindLoaded(Id("m")), nullptr) << "the default stays";
}

TEST_F(RepositoryLabelsTest, MovesALabelOnlyToWhatCanAnswer) {
  MustPublish("m");
  MustPublish("m");
  MustMove("stable", 1);
  for (bool in_memory : {false, true}) {
    if (in_memory) {
      ASSERT_TRUE(Load(Labelled("m", "stable")).ok());
    }
    std::string& onnx = fs_->Bytes("/state/models/m/2/model.onnx");
    onnx[onnx.size() / 2] ^= 1;
    EXPECT_EQ(repository_->MoveLabel("m", "stable", 2).status().code(),
              absl::StatusCode::kDataLoss);
    onnx[onnx.size() / 2] ^= 1;
    EXPECT_EQ(Answering(Labelled("m", "stable")), 1);
    clock_.seconds += 10;
  }
  on_compile_ = [](const Graph&, const InferenceOptions&) { return absl::InternalError("no"); };
  Maintain();
  EXPECT_FALSE(repository_->MoveLabel("m", "stable", 2).ok());
  EXPECT_EQ(Answering(Labelled("m", "stable")), 1);
  on_compile_ = nullptr;
  MustMove("stable", 2);
  ASSERT_NE(FindLoaded(Labelled("m", "stable")), nullptr);
  EXPECT_EQ(FindLoaded(Labelled("m", "stable"))->card.model().version(), 2);
}

TEST_F(RepositoryLabelsTest, UnloadsAndLoadsAgain) {
  MustPublish("m");
  MustPublish("n");
  const std::weak_ptr<const LoadedModel> m = *Load(Id("m"));
  ASSERT_TRUE(Load(Id("n")).ok());
  ASSERT_TRUE(repository_->Unload(Id("m", 1)).ok());
  EXPECT_TRUE(m.expired());
  EXPECT_EQ(FindLoaded(Id("m")), nullptr);
  EXPECT_NE(FindLoaded(Id("n")), nullptr);
  EXPECT_TRUE(Load(Id("m")).ok());
  ASSERT_TRUE(repository_->Unload(Id("m")).ok());
  EXPECT_EQ(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(repository_->Unload(Id("o")).code(), absl::StatusCode::kNotFound);
}

TEST_F(RepositoryLabelsTest, ADamagedPolicyHidesNothingButItsLabels) {
  MustPublish("m");
  MustPublish("n");
  MustMove("stable", 1);
  const std::string good = fs_->Bytes("/state/models/m/policy.textproto");
  fs_->Bytes("/state/models/m/policy.textproto") = "nonsense";
  Reopen();
  EXPECT_THAT(repository_->TakeWarnings(), ElementsAre(HasSubstr("policy.textproto")));
  EXPECT_EQ(Load(Id("m")).status().code(), absl::StatusCode::kDataLoss)
      << "what the default is nobody knows";
  EXPECT_EQ(Answering(Id("m", 1)), 1);
  EXPECT_EQ(Answering(Id("n")), 1);
  EXPECT_EQ(repository_->MoveLabel("m", "stable", 1).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MustPublish("m").version(), 2);
  Maintain();
  EXPECT_THAT(repository_->TakeWarnings(), IsEmpty()) << "once is enough";
  fs_->Bytes("/state/models/m/policy.textproto") = good;
  Maintain();
  EXPECT_EQ(Answering(Labelled("m", "stable")), 1);
}

TEST_F(RepositoryLabelsTest, DeletesAVersionForGood) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 3), 0.5)).ok());
  const auto held = Load(Id("m", 3));
  ASSERT_TRUE(repository_->Delete(Id("m", 3)).ok());
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
  EXPECT_EQ((*held)->card.model().version(), 3);
  EXPECT_EQ(Load(Id("m", 3)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Answering(Id("m")), 2);
  EXPECT_FALSE(fs_->Exists("/state/models/m/3"));
  EXPECT_FALSE(fs_->Exists("/state/models/m/3.evaluations.textproto"));
  EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
  Reopen();
  EXPECT_EQ(MustPublish("m").version(), 4) << "who remembers version 3 must not get another one";
  EXPECT_EQ(repository_->Delete(Id("m", 3)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(repository_->Delete(Id("m")).code(), absl::StatusCode::kInvalidArgument);
  for (int i : {1, 2, 4}) ASSERT_TRUE(repository_->Delete(Id("m", i)).ok());
  EXPECT_EQ(Load(Id("m")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MustPublish("m").version(), 5);
}

TEST_F(RepositoryLabelsTest, LoadsTheOneBeforeBeforeItDeletesTheNewest) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  const auto newest = Load(Id("m"));
  ASSERT_TRUE(newest.ok());
  ASSERT_TRUE(Load(Labelled("m", "latest"), v1::PRECISION_BF16).ok());
  fs_->Bytes("/state/models/m/2/model.onnx")[7] ^= 1;
  on_compile_ = [&](const Graph&, const InferenceOptions&) {
    EXPECT_EQ(FindLoaded(Id("m")), *newest) << "who asks meanwhile waits for nothing";
    return absl::OkStatus();
  };
  compiled_ = 0;
  ASSERT_TRUE(repository_->Delete(Id("m", 3)).ok());
  EXPECT_EQ(compiled_, 2);
  for (v1::Precision precision : {v1::PRECISION_F32, v1::PRECISION_BF16}) {
    ASSERT_NE(FindLoaded(Id("m"), precision), nullptr);
    EXPECT_EQ(FindLoaded(Id("m"), precision)->card.model().version(), 1) << "2 is damaged";
  }
}

TEST_F(RepositoryLabelsTest, KeepsTheNewestWhereNothingElseCouldAnswer) {
  MustPublish("m");
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  on_compile_ = [](const Graph&, const InferenceOptions&) {
    return absl::ResourceExhaustedError("no memory");
  };
  const absl::Status status = repository_->Delete(Id("m", 2));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("version 1"), HasSubstr("no memory"), HasSubstr("unload version 2")));
  ASSERT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
  ASSERT_TRUE(repository_->Unload(Id("m", 2)).ok());
  EXPECT_TRUE(repository_->Delete(Id("m", 2)).ok());
  // Nothing is loaded for one that nobody asks for, nor instead of the last.
  MustPublish("m");
  on_compile_ = nullptr;
  ASSERT_TRUE(Load(Id("m")).ok());
  compiled_ = 0;
  EXPECT_TRUE(repository_->Delete(Id("m", 1)).ok());
  EXPECT_TRUE(repository_->Delete(Id("m", 3)).ok());
  EXPECT_EQ(compiled_, 0);
}

TEST_F(RepositoryLabelsTest, DeletesNoVersionWithALabel) {
  MustPublish("m");
  MustMove("stable", 1);
  MustMove("canary", 1);
  const absl::Status status = repository_->Delete(Id("m", 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("canary, stable"));
  EXPECT_EQ(Answering(Id("m")), 1);
}

TEST_F(RepositoryLabelsTest, DeletesADamagedVersion) {
  MustPublish("m");
  MustPublish("m");
  fs_->Bytes("/state/models/m/2/MANIFEST") = "x";
  Reopen();
  const std::vector<v1::Model> damaged = repository_->Damaged("m");
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].card().model().version(), 2);
  EXPECT_THAT(damaged[0].damage(), HasSubstr("MANIFEST"));
  EXPECT_THAT(repository_->Damaged("n"), IsEmpty());
  EXPECT_TRUE(repository_->Delete(Id("m", 2)).ok());
  EXPECT_THAT(repository_->Damaged(""), IsEmpty());
}

TEST_F(RepositoryLabelsTest, KeepsTheNewestAndWhatIsLabelledOrUsed) {
  for (int i = 0; i < 7; ++i) MustPublish("m");
  MustPublish("n");
  MustMove("stable", 1);
  MustKeep(2);
  const auto held = Load(Id("m", 3));
  const auto deleted =
      repository_->Maintain([](const v1::ModelVersion& id) { return id.version() == 4; });
  EXPECT_THAT(Listed(), ElementsAre("m/7", "m/6", "m/4", "m/3", "m/1", "n/1"));
  ASSERT_EQ(deleted.size(), 2u);
  EXPECT_EQ(deleted[0].version(), 5);
  EXPECT_EQ(deleted[1].version(), 2);
  MustPublish("m");
  Maintain();
  EXPECT_THAT(Listed("m"), ElementsAre("m/8", "m/7", "m/3", "m/1"));
}

// ThreadSanitizer runs this, too.
TEST_F(RepositoryLabelsTest, LosesNoRequestWhileVersionsComeAndGo) {
  for (int i = 0; i < 2; ++i) MustPublish("m");
  MustMove("stable", 1);
  std::atomic<bool> done{false};
  std::atomic<int64_t> answers{0};
  std::vector<std::thread> threads;
  for (const v1::ModelVersion& id : {Labelled("m", "stable"), Id("m"), Id("m", 1)}) {
    threads.emplace_back([&, id] {
      while (!done) {
        std::shared_ptr<const LoadedModel> model = FindLoaded(id);
        if (model == nullptr) {
          const auto loaded = Load(id);
          ASSERT_TRUE(loaded.ok()) << loaded.status();
          model = *loaded;
        }
        if (id.version() > 0) {
          ASSERT_EQ(model->card.model().version(), id.version());
        }
        ++answers;
      }
    });
  }
  MustKeep(3);
  const auto keep_two = [](const v1::ModelVersion& id) { return id.version() <= 2; };
  for (int cycle = 0; cycle < 200; ++cycle) {
    MustMove("stable", cycle % 2 == 0 ? 2 : 1);
    ASSERT_TRUE(repository_->Unload(Id("m")).ok());
    if (cycle % 10 == 0) MustPublish("m");
    clock_.seconds += 100;
    repository_->Maintain(keep_two);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(answers, 200);
  repository_->Maintain(keep_two);  // of those that answered a request at the last time
  EXPECT_EQ(Listed("m").size(), 5u) << "1 and 2, of which one has the label, and three more";
}

TEST_F(RepositoryLabelsTest, ChangesAPolicyOrNotWhateverFails) {
  enum class Fails { kOnce, kForAWhile, kUntilThePowerGoes };
  for (Fails fails : {Fails::kOnce, Fails::kForAWhile, Fails::kUntilThePowerGoes}) {
    for (int64_t k = 1;; ++k) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      MustPublish("m");
      MustMove("stable", 1);
      fs_->FailAt(k, fails != Fails::kOnce);
      const auto moved = repository_->MoveLabel("m", "stable", 2);
      const bool failed = fs_->operations() >= k;
      fs_->FailAt(0);
      if (fails == Fails::kForAWhile) Maintain();
      const int64_t before = repository_->Policy("m")->labels(0).version();
      if (fails == Fails::kUntilThePowerGoes) fs_ = fs_->AfterPowerCut(false);
      Reopen();
      const int64_t after = repository_->Policy("m")->labels(0).version();
      if (moved.ok()) {
        EXPECT_EQ(after, 2) << k;
      }
      EXPECT_TRUE(after == 1 || after == 2) << k;
      if (fails != Fails::kUntilThePowerGoes) {
        EXPECT_EQ(before, after) << k << ": it must stand for what it will after a restart";
      }
      if (!failed) break;
    }
  }
}

TEST_F(RepositoryLabelsTest, DeletesAllOrNothingWhateverFails) {
  enum class Then { kNextRound, kPowerCut, kPowerCutThatLosesNoEntry };
  for (Then then : {Then::kNextRound, Then::kPowerCut, Then::kPowerCutThatLosesNoEntry}) {
    for (int64_t k = 1;; ++k) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      MustPublish("m");
      ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.25)).ok());
      ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 2), 0.5)).ok());
      fs_->FailAt(k, then != Then::kNextRound);
      const absl::Status deleted = repository_->Delete(Id("m", 2));
      const bool failed = fs_->operations() >= k;
      fs_->FailAt(0);
      if (then == Then::kNextRound) {
        Maintain();
      } else {
        fs_ = fs_->AfterPowerCut(then == Then::kPowerCutThatLosesNoEntry);
        Reopen();
      }
      EXPECT_EQ(Answering(Id("m", 1)), 1) << k;
      EXPECT_EQ(repository_->Get(Id("m", 1))->evaluations_size(), 1) << k;
      EXPECT_THAT(repository_->Damaged(""), IsEmpty()) << k;
      EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
      const auto two = repository_->Get(Id("m", 2));
      if (deleted.ok()) {
        EXPECT_FALSE(two.ok()) << k;
      }
      EXPECT_EQ(fs_->Exists("/state/models/m/2"), two.ok()) << k;
      EXPECT_EQ(fs_->Exists("/state/models/m/2.evaluations.textproto"), two.ok()) << k;
      if (two.ok()) {
        EXPECT_EQ(two->evaluations_size(), 1) << k;
      }
      Reopen();
      EXPECT_EQ(MustPublish("m").version(), 3) << k;
      if (!failed) break;
    }
  }
}

}  // namespace
}  // namespace convd
