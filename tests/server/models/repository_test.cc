#include "server/models/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/nn/presets.h"
#include "tests/server/models/memory_file_system.h"
#include "tests/server/predict/fake_inference_model.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class HandTurnedClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'700'000'000) + Monotonic(); }
  absl::Duration Monotonic() const override { return absl::Seconds(seconds.load()); }
  std::atomic<int64_t> seconds{1000};
};

v1::ModelVersion Id(const std::string& name, int64_t version = 0) {
  v1::ModelVersion id;
  id.set_name(name);
  id.set_version(version);
  return id;
}

v1::ModelCard Card(const std::string& name) {
  v1::ModelCard card;
  *card.mutable_model() = Id(name);
  card.set_job_id("job-7");
  card.set_data_sha256("abc");
  v1::EpochRecord* epoch = card.add_history();
  epoch->set_epoch(1);
  epoch->set_loss(1.0 / 3);
  (*card.mutable_library_versions())["onednn"] = "2.6.3";
  for (const char* label : {"T-shirt/top", "tro\"us\ner", "\xc3\xa4"}) card.add_labels(label);
  return card;
}

v1::Evaluation EvaluationOf(const v1::ModelVersion& model, double accuracy) {
  v1::Evaluation evaluation;
  *evaluation.mutable_model() = model;
  evaluation.mutable_metrics()->set_accuracy(accuracy);
  evaluation.mutable_metrics()->add_confusion(5);
  evaluation.mutable_metrics()->add_confusion(1);
  return evaluation;
}

class ModelRepositoryTest : public ::testing::Test {
 protected:
  ModelRepositoryTest() : graph_(*Graph::Create(DenseNetwork(2, 2, 1, 3))) {
    for (int64_t i = 0; i < graph_.parameter_count(); ++i) {
      parameters_.push_back(static_cast<float>(i) * 0.1f - 0.5f);
    }
    Reopen();
  }

  CompileModel Compiler() {
    return [this](const Graph& graph, absl::Span<const float> parameters)
               -> absl::StatusOr<std::shared_ptr<const InferenceModel>> {
      ++compiled_;
      if (on_compile_) {
        if (absl::Status status = on_compile_(graph); !status.ok()) return status;
      }
      {
        absl::MutexLock lock(&mu_);
        read_parameters_.assign(parameters.begin(), parameters.end());
      }
      return std::make_shared<FakeInferenceModel>(graph);
    };
  }
  void Reopen() {
    auto opened = ModelRepository::Open(*fs_, clock_, "/state", Compiler());
    ASSERT_TRUE(opened.ok()) << opened.status();
    repository_ = *std::move(opened);
  }
  v1::ModelVersion MustPublish(const std::string& name) {
    auto published = repository_->Publish(graph_, parameters_, Card(name));
    EXPECT_TRUE(published.ok()) << published.status();
    return published.ok() ? *published : v1::ModelVersion();
  }
  std::vector<std::string> Listed(const std::string& name = "") {
    std::vector<std::string> ids;
    for (const v1::Model& model : repository_->List(name)) {
      ids.push_back(absl::StrCat(model.card().model().name(), "/", model.card().model().version()));
    }
    std::vector<std::string> versions;
    for (const v1::ModelVersion& id : repository_->Versions(name)) {
      versions.push_back(absl::StrCat(id.name(), "/", id.version()));
    }
    EXPECT_EQ(ids, versions);
    return ids;
  }

  std::unique_ptr<MemoryFileSystem> fs_ = std::make_unique<MemoryFileSystem>();
  HandTurnedClock clock_;
  const Graph graph_;
  std::vector<float> parameters_;
  std::atomic<int> compiled_{0};
  std::function<absl::Status(const Graph&)> on_compile_;
  absl::Mutex mu_;
  std::vector<float> read_parameters_;
  std::unique_ptr<ModelRepository> repository_;
};

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
  const auto loaded = repository_->Load(Id("m"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(read_parameters_.size(), parameters_.size());
  EXPECT_EQ(0, std::memcmp(read_parameters_.data(), parameters_.data(), parameters_.size() * 4));
  EXPECT_EQ((*loaded)->card.model().version(), 1);
  EXPECT_EQ((*loaded)->model->graph().classes(), 3);
}

TEST_F(ModelRepositoryTest, KeepsALoadedVersionInMemory) {
  MustPublish("m");
  EXPECT_EQ(repository_->FindLoaded(Id("m")), nullptr);
  const auto first = repository_->Load(Id("m"));
  const auto second = repository_->Load(Id("m", 1));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(repository_->FindLoaded(Id("m")), *first);
  EXPECT_EQ(repository_->FindLoaded(Id("m", 1)), *first);
  EXPECT_EQ(compiled_, 1);
  MustPublish("m");
  EXPECT_EQ(repository_->FindLoaded(Id("m")), nullptr) << "version 2 is the newest now";
  EXPECT_EQ((*repository_->Load(Id("m")))->card.model().version(), 2);
  EXPECT_EQ(compiled_, 2);
}

TEST_F(ModelRepositoryTest, SaysWhatIsMissing) {
  MustPublish("m");
  MustPublish("m");
  for (auto* call :
       {+[](ModelRepository& r, const v1::ModelVersion& id) { return r.Load(id).status(); },
        +[](ModelRepository& r, const v1::ModelVersion& id) { return r.Get(id).status(); }}) {
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
  EXPECT_TRUE(repository_->Load(Id("a", 1)).ok());
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

TEST_F(ModelRepositoryTest, FindsAFlippedBitInAnyFileAndNamesIt) {
  for (const char* file : {"model.onnx", "model.textproto", "MANIFEST"}) {
    for (bool after_restart : {false, true}) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      for (int i = 0; i < 3; ++i) MustPublish("m");
      MustPublish("other");
      std::string& bytes = fs_->Bytes(absl::StrCat("/state/models/m/3/", file));
      bytes[bytes.size() / 2] ^= 1;
      if (after_restart) Reopen();
      const absl::Status status = repository_->Load(Id("m", 3)).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file;
      // A hash that changed in the MANIFEST can't be told from bytes that changed in the file.
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr("/state/models/m/3/"), HasSubstr(file)));
      EXPECT_EQ(repository_->Load(Id("m", 3)).status(), status) << "another error each time";
      EXPECT_EQ(repository_->Get(Id("m", 3)).status(), status);
      // The others are as they were, and the newest is the newest good one.
      EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1", "other/1"));
      const auto newest = repository_->Load(Id("m"));
      ASSERT_TRUE(newest.ok()) << newest.status();
      EXPECT_EQ((*newest)->card.model().version(), 2);
      EXPECT_EQ(repository_->FindLoaded(Id("m")), *newest);
      EXPECT_EQ(repository_->Get(Id("m"))->card().model().version(), 2);
      EXPECT_TRUE(repository_->Load(Id("other")).ok());
      EXPECT_THAT(repository_->TakeWarnings(), ElementsAre(HasSubstr(file)));
      // Its number is not given again.
      EXPECT_EQ(MustPublish("m").version(), 4);
    }
  }
}

TEST_F(ModelRepositoryTest, FindsMissingAndCutFiles) {
  for (const char* file : {"model.onnx", "model.textproto", "MANIFEST"}) {
    for (bool cut : {false, true}) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      MustPublish("m");
      const std::string path = absl::StrCat("/state/models/m/2/", file);
      if (cut) {
        fs_->Bytes(path).pop_back();
      } else {
        ASSERT_TRUE(fs_->Remove(path).ok());
      }
      Reopen();
      EXPECT_THAT(Listed(), ElementsAre("m/1")) << file;
      EXPECT_THAT(repository_->TakeWarnings(), ElementsAre(HasSubstr(path)));
      const absl::Status status = repository_->Load(Id("m", 2)).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(status.message()), HasSubstr(path));
      EXPECT_TRUE(repository_->Load(Id("m")).ok());
    }
  }
}

TEST_F(ModelRepositoryTest, TakesAMendedVersionBackAfterAWhile) {
  MustPublish("m");
  MustPublish("m");
  std::string& bytes = fs_->Bytes("/state/models/m/2/model.textproto");
  bytes[0] ^= 1;
  Reopen();
  EXPECT_EQ((*repository_->Load(Id("m")))->card.model().version(), 1);
  bytes[0] ^= 1;
  EXPECT_EQ(repository_->Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  clock_.seconds += 10;
  EXPECT_EQ((*repository_->Load(Id("m")))->card.model().version(), 2);
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
  EXPECT_GT(repository_->Get(Id("m"))->size_bytes(), 0);
}

TEST_F(ModelRepositoryTest, IsNoVersionWhenCopiedToAnotherNumberOrName) {
  MustPublish("m");
  for (const char* file : {"model.onnx", "model.textproto", "MANIFEST"}) {
    const std::string bytes = fs_->Bytes(absl::StrCat("/state/models/m/1/", file));
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
    fs_->Bytes(absl::StrCat("/state/models/n/1/", file)) = bytes;
  }
  Reopen();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  EXPECT_EQ(repository_->Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(repository_->Load(Id("n")).status().message()), HasSubstr("\"m\""));
}

TEST_F(ModelRepositoryTest, IgnoresWhatIsNotItsOwn) {
  MustPublish("m");
  fs_->Bytes("/state/models/m/notes.txt") = "x";
  fs_->Bytes("/state/models/m/01/MANIFEST") = "x";
  fs_->Bytes("/state/models/m/-1/MANIFEST") = "x";
  fs_->Bytes("/state/models/m/0/MANIFEST") = "x";
  fs_->Bytes("/state/models/m/99999999999999999999/MANIFEST") = "x";
  fs_->Bytes("/state/models/m/7") = "a file where a folder should be";
  fs_->Bytes("/state/models/m/1/readme.md") = "beside a version's files";
  fs_->Bytes("/state/models/m/1.evaluations.textproto") = "evaluations { nonsense }";
  fs_->Bytes("/state/models/.hidden/1/MANIFEST") = "x";
  fs_->Bytes("/state/models/a b\n/1/MANIFEST") = "x";
  fs_->Bytes("/state/models/file") = "x";
  fs_->Bytes(absl::StrCat("/state/models/", std::string(200, 'x'), "/1/MANIFEST")) = "x";
  Reopen();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  EXPECT_TRUE(repository_->Load(Id("m")).ok());
  const std::vector<std::string> warnings = repository_->TakeWarnings();
  EXPECT_EQ(warnings.size(), 11u) << testing::PrintToString(warnings);
  EXPECT_THAT(warnings, Contains(HasSubstr("a b\\n")));
  EXPECT_THAT(warnings, Contains(HasSubstr("notes.txt")));
  EXPECT_THAT(repository_->TakeWarnings(), IsEmpty());
  EXPECT_EQ(MustPublish("m").version(), 8) << "7 is taken, by whatever it is";
}

TEST_F(ModelRepositoryTest, NeverWritesOverEvaluationsThatItCouldNotRead) {
  MustPublish("m");
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.25)).ok());
  const std::string path = "/state/models/m/1.evaluations.textproto";
  const std::string good = fs_->Bytes(path);
  // The disk fails once, while the file is read.
  for (int64_t k = 1;; ++k) {
    fs_->FailAt(k);
    auto opened = ModelRepository::Open(*fs_, clock_, "/state", Compiler());
    const bool failed = fs_->operations() >= k;
    fs_->FailAt(0);
    if (!failed) break;
    if (!opened.ok() || (*opened)->List("").empty()) continue;
    ASSERT_TRUE((*opened)->AddEvaluation(EvaluationOf(Id("m", 1), 0.5)).ok()) << k;
    EXPECT_EQ((*opened)->Get(Id("m"))->evaluations_size(), 2) << k;
    fs_->Bytes(path) = good;
  }
  // The file is damaged.
  fs_->Bytes(path) = "evaluations { nonsense }";
  Reopen();
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.5)).ok());
  EXPECT_EQ(repository_->Get(Id("m"))->evaluations_size(), 1);
  EXPECT_EQ(fs_->Bytes(path + ".damaged"), "evaluations { nonsense }");
}

TEST_F(ModelRepositoryTest, NeverGivesAVersionTheEvaluationsOfAnother) {
  MustPublish("m");
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.5)).ok());
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/1").ok());
  Reopen();
  const v1::ModelVersion next = MustPublish("m");
  EXPECT_EQ(next.version(), 2);
  EXPECT_EQ(repository_->Get(next)->evaluations_size(), 0);
}

TEST_F(ModelRepositoryTest, RemovesOnlyItsOwnLeftovers) {
  fs_->Bytes("/state/tmp/model-123-4/model.onnx") = "half";
  fs_->Bytes("/state/tmp/model-evaluation") = "half";
  fs_->Bytes("/state/tmp/dataset-5/array") = "somebody else's";
  Reopen();
  EXPECT_THAT(fs_->AllFiles(), ElementsAre("/state/tmp/dataset-5/array"));
  EXPECT_EQ(repository_->TakeWarnings().size(), 2u);
}

// One operation after the other fails, alone or with all that follow it.
TEST_F(ModelRepositoryTest, PublishesAllOrNothingWhateverFails) {
  for (bool ever_after : {false, true}) {
    for (bool first_of_its_name : {false, true}) {
      for (int64_t k = 1;; ++k) {
        fs_ = std::make_unique<MemoryFileSystem>();
        Reopen();
        if (!first_of_its_name) MustPublish("m");
        const std::vector<std::string> files = fs_->AllFiles();
        const int64_t number = first_of_its_name ? 1 : 2;
        fs_->FailAt(k, ever_after);
        const auto published = repository_->Publish(graph_, parameters_, Card("m"));
        const bool failed = fs_->operations() >= k;
        fs_->FailAt(0);
        if (!failed) {
          ASSERT_TRUE(published.ok()) << published.status();
          ASSERT_GT(k, 10) << "nothing was made to fail";
          break;
        }
        if (published.ok()) {
          // Only what comes after publishing may fail unseen.
          EXPECT_EQ(Listed().front(), absl::StrCat("m/", number));
        } else {
          EXPECT_EQ(Listed().size(), first_of_its_name ? 0u : 1u) << k;
          if (!ever_after) {
            EXPECT_EQ(fs_->AllFiles(), files) << k;
            EXPECT_EQ(fs_->Exists("/state/models/m"), !first_of_its_name) << k;
          }
        }
        Reopen();
        EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
        const auto loaded = repository_->Load(Id("m", number));
        if (published.ok()) {
          EXPECT_TRUE(loaded.ok()) << k << ": " << loaded.status();
        } else if (!ever_after) {
          EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound) << k;
        } else {
          // The disk may have died between the rename and taking it back.
          EXPECT_TRUE(loaded.ok() || absl::IsNotFound(loaded.status())) << k << loaded.status();
        }
        EXPECT_TRUE(repository_->Publish(graph_, parameters_, Card("m")).ok()) << k;
      }
    }
  }
}

// The power goes off after each operation; the disk keeps as little, or as much, as it may.
TEST_F(ModelRepositoryTest, HasAllOrNothingAfterAPowerCut) {
  for (bool entries_survive : {false, true}) {
    for (int64_t k = 1;; ++k) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      fs_->FailAt(k, /*ever_after=*/true);
      const auto published = repository_->Publish(graph_, parameters_, Card("m"));
      const bool failed = fs_->operations() >= k;
      fs_ = fs_->AfterPowerCut(entries_survive);
      Reopen();
      EXPECT_TRUE(repository_->Load(Id("m", 1)).ok()) << k;
      EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
      const auto loaded = repository_->Load(Id("m", 2));
      if (published.ok()) {
        EXPECT_TRUE(loaded.ok()) << "promised, and lost: " << k << ": " << loaded.status();
      } else {
        EXPECT_TRUE(loaded.ok() || absl::IsNotFound(loaded.status())) << k << loaded.status();
      }
      if (!failed) break;
    }
  }
}

TEST_F(ModelRepositoryTest, KeepsAnEvaluationOrNotWhateverFails) {
  for (bool power_cut : {false, true}) {
    for (int64_t k = 1;; ++k) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.25)).ok());
      fs_->FailAt(k, power_cut);
      const absl::Status added = repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.5));
      const bool failed = fs_->operations() >= k;
      fs_->FailAt(0);
      EXPECT_EQ(repository_->Get(Id("m"))->evaluations_size(), added.ok() ? 2 : 1) << k;
      if (power_cut) fs_ = fs_->AfterPowerCut(false);
      if (!power_cut) {
        EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
      }
      Reopen();
      const v1::Model model = *repository_->Get(Id("m"));
      ASSERT_GE(model.evaluations_size(), added.ok() ? 2 : 1) << k;
      EXPECT_EQ(model.evaluations(0).metrics().accuracy(), 0.25) << k;
      if (!failed) {
        ASSERT_TRUE(added.ok()) << added;
        break;
      }
    }
  }
}

TEST_F(ModelRepositoryTest, WorksOnARealDiskAndFollowsNoLinks) {
  namespace fs = std::filesystem;
  std::string state = testing::TempDir() + "repository_test_XXXXXX";
  ASSERT_NE(mkdtemp(state.data()), nullptr);
  const auto remove = absl::MakeCleanup([&] { fs::remove_all(state); });
  const auto open = [&] {
    auto opened = ModelRepository::Open(FileSystem::Posix(), clock_, state + "/a/b", Compiler());
    EXPECT_TRUE(opened.ok()) << opened.status();
    repository_ = *std::move(opened);
  };
  open();
  MustPublish("m");
  MustPublish("m");
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.5)).ok());
  ASSERT_TRUE(repository_->AddEvaluation(EvaluationOf(Id("m", 1), 0.75)).ok());
  const fs::path models = fs::canonical(state) / "a/b/models";
  fs::create_directory_symlink(models / "m", models / "n");
  fs::create_directory_symlink(models / "m/1", models / "m/3");
  fs::create_directory_symlink("/", models / "m/4");
  std::ofstream(models / "m/2/model.onnx", std::ios::app) << "x";
  open();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  EXPECT_EQ(repository_->TakeWarnings().size(), 4u);
  const auto loaded = repository_->Load(Id("m"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(read_parameters_, parameters_);
  const v1::Model model = *repository_->Get(Id("m"));
  EXPECT_EQ(model.path(), (models / "m/1").string());
  EXPECT_EQ(model.evaluations_size(), 2);
  EXPECT_TRUE(fs::is_empty(fs::canonical(state) / "a/b/tmp"));
  EXPECT_EQ(MustPublish("m").version(), 5);
  // Nothing is published through a link.
  EXPECT_EQ(repository_->Publish(graph_, parameters_, Card("n")).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ModelRepositoryTest, TellsACompilersErrorAsItsOwn) {
  MustPublish("m");
  on_compile_ = [](const Graph&) { return absl::InvalidArgumentError("no such layout"); };
  const absl::Status status = repository_->Load(Id("m")).status();
  // INVALID_ARGUMENT would blame the caller's request.
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no such layout"));
  on_compile_ = nullptr;
  EXPECT_TRUE(repository_->Load(Id("m")).ok()) << "a failed load must be tried again";
}

TEST_F(ModelRepositoryTest, ReadsOnceForAllWhoWantTheSameVersion) {
  MustPublish("m");
  absl::Notification compiling, go;
  on_compile_ = [&](const Graph&) {
    compiling.Notify();  // a second compilation would crash here
    go.WaitForNotification();
    return absl::OkStatus();
  };
  std::vector<std::shared_ptr<const LoadedModel>> loaded(4);
  std::vector<std::thread> threads;
  for (auto& l : loaded) {
    threads.emplace_back([&] {
      auto model = repository_->Load(Id("m"));
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
  on_compile_ = [&, first = std::make_shared<std::atomic<bool>>(true)](const Graph&) {
    if (first->exchange(false)) {
      compiling.Notify();
      go.WaitForNotification();
    }
    return absl::OkStatus();
  };
  std::thread slow([&] { EXPECT_TRUE(repository_->Load(Id("slow")).ok()); });
  compiling.WaitForNotification();
  // All of this would wait for ever if the repository were locked.
  EXPECT_TRUE(repository_->Load(Id("fast")).ok());
  EXPECT_EQ(repository_->FindLoaded(Id("slow")), nullptr);
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
        EXPECT_TRUE(repository_->Load(*id).ok());
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
  EXPECT_EQ(repository_->Load(Id("m")).value()->card.model().version(), 20);
}

}  // namespace
}  // namespace convd
