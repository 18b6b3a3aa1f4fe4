// What the repository makes of damaged files, of strangers' ones, and of disks that fail.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
      const absl::Status status = Load(Id("m", 3)).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file;
      // A hash that changed in the MANIFEST can't be told from bytes that changed in the file.
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr("/state/models/m/3/"), HasSubstr(file)));
      EXPECT_EQ(Load(Id("m", 3)).status(), status) << "another error each time";
      EXPECT_EQ(repository_->Get(Id("m", 3)).status(), status);
      // The others are as they were, and the newest is the newest good one.
      EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1", "other/1"));
      const auto newest = Load(Id("m"));
      ASSERT_TRUE(newest.ok()) << newest.status();
      EXPECT_EQ((*newest)->card.model().version(), 2);
      EXPECT_EQ(FindLoaded(Id("m")), *newest);
      EXPECT_EQ(repository_->Get(Id("m"))->card().model().version(), 2);
      EXPECT_TRUE(Load(Id("other")).ok());
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
      const absl::Status status = Load(Id("m", 2)).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(status.message()), HasSubstr(path));
      EXPECT_TRUE(Load(Id("m")).ok());
    }
  }
}

TEST_F(ModelRepositoryTest, TakesAMendedVersionBackAfterAWhile) {
  MustPublish("m");
  MustPublish("m");
  std::string& bytes = fs_->Bytes("/state/models/m/2/model.textproto");
  bytes[0] ^= 1;
  Reopen();
  EXPECT_EQ((*Load(Id("m")))->card.model().version(), 1);
  bytes[0] ^= 1;
  EXPECT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  clock_.seconds += 10;
  EXPECT_EQ((*Load(Id("m")))->card.model().version(), 1) << "no request waits for it";
  repository_->Maintain([](const v1::ModelVersion&) { return false; });
  EXPECT_EQ((*Load(Id("m")))->card.model().version(), 2);
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
  EXPECT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Load(Id("n")).status().message()), HasSubstr("\"m\""));
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
  EXPECT_TRUE(Load(Id("m")).ok());
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
    EXPECT_EQ((*opened)->Get(Id("m", 1))->evaluations_size(), 2) << k;
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
        const auto loaded = Load(Id("m", number));
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
      EXPECT_TRUE(Load(Id("m", 1)).ok()) << k;
      EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
      const auto loaded = Load(Id("m", 2));
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
      const int before = repository_->Get(Id("m"))->evaluations_size();
      if (power_cut) fs_ = fs_->AfterPowerCut(false);
      if (!power_cut) {
        EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty()) << k;
      }
      Reopen();
      const v1::Model model = *repository_->Get(Id("m"));
      ASSERT_GE(model.evaluations_size(), added.ok() ? 2 : 1) << k;
      if (!power_cut) {
        EXPECT_EQ(model.evaluations_size(), before) << k << ": shown as after a restart";
      }
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
  const auto loaded = Load(Id("m"));
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

}  // namespace
}  // namespace convd
