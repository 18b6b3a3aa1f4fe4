// Versions that come and go by other hands: copied in, mended, removed, and disks that are lost.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RepositoryCopiesTest : public ModelRepositoryTest {
 protected:
  // The files of m/2 as somebody else made it, who has them elsewhere.
  std::map<std::string, std::string> FilesOfTwo() {
    std::map<std::string, std::string> files;
    auto elsewhere = std::make_unique<MemoryFileSystem>();
    fs_.swap(elsewhere);
    Reopen();
    MustPublish("m");
    MustPublish("m");
    for (const char* file : {"MANIFEST", "model.onnx", "model.textproto"}) {
      files[file] = fs_->Bytes(absl::StrCat("/state/models/m/2/", file));
    }
    fs_.swap(elsewhere);
    Reopen();
    return files;
  }
  void Maintain() {
    repository_->Maintain([](const v1::ModelVersion&) { return false; });
  }
  // How often it is read from now on.
  const std::atomic<int>& CountReads(const std::string& counted) {
    reads_ = 0;
    fs_->OnOperation([this, counted](std::string_view operation, const std::string& path) {
      if (operation == "read" && path == counted) ++reads_;
    });
    return reads_;
  }
  // As it is polled: damage is looked at again after ten seconds.
  void MaintainLater() {
    clock_.seconds += 10;
    Maintain();
  }

 private:
  std::atomic<int> reads_{0};
};

TEST_F(RepositoryCopiesTest, TakesUpWhatIsCopiedInOnceItIsWhole) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  std::vector<std::vector<std::string>> orders = {{"MANIFEST", "model.onnx", "model.textproto"},
                                                  {"model.textproto", "model.onnx", "MANIFEST"},
                                                  {"model.onnx", "MANIFEST", "model.textproto"}};
  for (const std::vector<std::string>& order : orders) {
    for (bool preallocated : {false, true}) {
      fs_ = std::make_unique<MemoryFileSystem>();
      Reopen();
      MustPublish("m");
      ASSERT_TRUE(Load(Id("m")).ok());
      const int compiled = compiled_;
      for (const std::string& file : order) {
        const std::string& whole = files.at(file);
        // In four pieces, with the rest missing or, as some copiers write it, zero.
        for (size_t piece = 0; piece < 4; ++piece) {
          std::string part = whole.substr(0, whole.size() * piece / 4);
          if (preallocated) part.resize(whole.size(), '\0');
          fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = part;
          MaintainLater();
          EXPECT_THAT(Listed(), ElementsAre("m/1")) << file << " " << piece;
          EXPECT_EQ((*Load(Id("m")))->card.model().version(), 1);
          EXPECT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
        }
        fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = whole;
      }
      EXPECT_EQ(compiled_, compiled);
      ASSERT_EQ(repository_->Damaged("").size(), 1u);
      MaintainLater();
      EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
      EXPECT_THAT(repository_->Damaged(""), IsEmpty());
      ASSERT_NE(FindLoaded(Id("m")), nullptr) << "it is loaded before it takes over";
      EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
    }
  }
}

TEST_F(RepositoryCopiesTest, TakesUpAWholeVersionAtOnceAndANewNameToo) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  for (const auto& [file, bytes] : files) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
  }
  Maintain();
  EXPECT_THAT(Listed(), ElementsAre("m/2"));
  EXPECT_EQ((*Load(Id("m")))->card.model().version(), 2);
  EXPECT_EQ(MustPublish("m").version(), 3);
}

TEST_F(RepositoryCopiesTest, EndsARoundBetweenTwoVersionsWhereItIsToStop) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  for (const auto& [file, bytes] : files) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
    fs_->Bytes(absl::StrCat("/state/models/m/3/", file)) = bytes;
  }
  const auto unused = [](const v1::ModelVersion&) { return false; };
  const std::atomic<int>& reads = CountReads("/state/models/m/2/model.onnx");
  repository_->Maintain(unused, [&] { return reads > 0; });
  EXPECT_THAT(Listed(), IsEmpty()) << "it was to stop while 2 was read";
  EXPECT_THAT(repository_->Damaged("m"), IsEmpty()) << "what wasn't looked at isn't damaged";
  Maintain();
  EXPECT_THAT(Listed(), ElementsAre("m/2"));
  ASSERT_EQ(repository_->Damaged("m").size(), 1u);
  // Nor does it go on with what is damaged.
  for (const auto& [file, bytes] : files)
    fs_->Bytes(absl::StrCat("/state/models/m/3/", file)) += "x";
  clock_.seconds += 10;
  const std::atomic<int>& again = CountReads("/state/models/m/3/MANIFEST");
  repository_->Maintain(unused, [] { return true; });
  EXPECT_EQ(again, 0);
}

TEST_F(RepositoryCopiesTest, DoesNotTakeSizesForBytes) {
  MustPublish("m");
  for (const auto& [file, bytes] : FilesOfTwo()) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) =
        file == "model.onnx" ? std::string(bytes.size(), '\0') : bytes;
  }
  Maintain();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
}

TEST_F(RepositoryCopiesTest, TakesUpANewNamesLabelsToo) {
  for (const auto& [file, bytes] : FilesOfTwo()) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
  }
  fs_->Bytes("/state/models/m/policy.textproto") =
      "name: \"m\" labels { label: \"stable\" version: 2 } highest_version: 5";
  Maintain();
  v1::ModelVersion stable = Id("m");
  stable.set_label("stable");
  const auto loaded = Load(stable);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->card.model().version(), 2);
  EXPECT_EQ(MustPublish("m").version(), 6);
}

TEST_F(RepositoryCopiesTest, ACopyThatCannotBeOpenedHoldsNobodyUp) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  ASSERT_TRUE(fs_->CreateDirectories("/state/models/m/2/MANIFEST").ok());  // a folder in its place
  for (int i = 0; i < 3; ++i) {
    MaintainLater();
    EXPECT_NE(FindLoaded(Id("m")), nullptr);
    EXPECT_EQ((*Load(Id("m")))->card.model().version(), 1);
    EXPECT_THAT(Listed(), ElementsAre("m/1"));
    EXPECT_EQ(repository_->Damaged("m").size(), 1u);
  }
}

TEST_F(RepositoryCopiesTest, SaysTheSameOfADamagedVersionEachTime) {
  MustPublish("m");
  MustPublish("m");
  std::string& onnx = fs_->Bytes("/state/models/m/2/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  const absl::Status first = Load(Id("m", 2)).status();
  EXPECT_EQ(first.code(), absl::StatusCode::kDataLoss);
  for (int i = 0; i < 3; ++i) {
    MaintainLater();
    EXPECT_EQ(Load(Id("m", 2)).status(), first);
    EXPECT_EQ(repository_->Get(Id("m", 2)).status(), first);
    ASSERT_EQ(repository_->Damaged("m").size(), 1u);
    EXPECT_EQ(repository_->Damaged("m")[0].damage(), first.message());
  }
  EXPECT_EQ(repository_->TakeWarnings().size(), 1u) << "once is enough";
  onnx[onnx.size() / 2] ^= 1;
  MaintainLater();
  EXPECT_THAT(repository_->Damaged("m"), IsEmpty());
  EXPECT_TRUE(Load(Id("m", 2)).ok());
}

TEST_F(RepositoryCopiesTest, ReadsADamagedVersionAgainOnceItsFilesHaveChangedAndThenOnce) {
  MustPublish("m");
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m", 1)).ok());
  std::string& onnx = fs_->Bytes("/state/models/m/2/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  ASSERT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  const std::atomic<int>& reads = CountReads("/state/models/m/2/model.onnx");
  for (int i = 0; i < 10; ++i) {
    MaintainLater();
    EXPECT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(reads, 0);
  onnx[onnx.size() / 2] ^= 1;
  MaintainLater();
  ASSERT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
  EXPECT_EQ(reads, 1) << "what was found whole is what is loaded";
}

TEST_F(RepositoryCopiesTest, ReadsDamageAgainThatMayHaveChangedSinceWithinTheSameTick) {
  MustPublish("m");
  const std::string path = "/state/models/m/1/model.onnx";
  fs_->Bytes(path)[0] ^= 1;
  fs_->SetTime(path, clock_.Now() - absl::Seconds(1));
  ASSERT_EQ(Load(Id("m", 1)).status().code(), absl::StatusCode::kDataLoss);
  fs_->Bytes(path)[0] ^= 1;
  MaintainLater();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
}

TEST_F(RepositoryCopiesTest, ReadsNoDamageAgainForAnotherPrecisionOfWhatIsInMemory) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m"), v1::PRECISION_F32).ok());
  std::string& onnx = fs_->Bytes("/state/models/m/1/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  const absl::Status first = Load(Id("m"), v1::PRECISION_BF16).status();
  EXPECT_EQ(first.code(), absl::StatusCode::kDataLoss);
  const std::atomic<int>& reads = CountReads("/state/models/m/1/model.onnx");
  for (int i = 0; i < 3; ++i) {
    MaintainLater();
    EXPECT_EQ(Load(Id("m"), v1::PRECISION_BF16).status(), first);
  }
  EXPECT_EQ(reads, 0);
  onnx[onnx.size() / 2] ^= 1;
  clock_.seconds += 10;
  EXPECT_TRUE(Load(Id("m"), v1::PRECISION_BF16).ok());
}

TEST_F(RepositoryCopiesTest, ServesWhatWasMendedAtEachPrecisionAtOnce) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  std::string& onnx = fs_->Bytes("/state/models/m/1/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  for (const int seconds : {0, 2, 4, 8}) {
    clock_.seconds += seconds;
    EXPECT_EQ(Load(Id("m"), v1::PRECISION_BF16).status().code(), absl::StatusCode::kDataLoss);
  }
  ASSERT_TRUE(repository_->Unload(Id("m")).ok());
  ASSERT_EQ(Load(Id("m")).status().code(), absl::StatusCode::kDataLoss);
  onnx[onnx.size() / 2] ^= 1;
  clock_.seconds += 2;
  Maintain();
  EXPECT_TRUE(Load(Id("m")).ok());
  EXPECT_TRUE(Load(Id("m"), v1::PRECISION_BF16).ok());
}

TEST_F(RepositoryCopiesTest, WaitsLongerEachTimeForWhatCannotBeRead) {
  ASSERT_TRUE(fs_->CreateDirectories("/state/models/m/2/MANIFEST").ok());  // a folder in its place
  const std::atomic<int>& reads = CountReads("/state/models/m/2/MANIFEST");
  Maintain();
  EXPECT_EQ(repository_->Damaged("m").size(), 1u);
  const int first = reads;
  for (int seconds = 0; seconds < 1200; seconds += 2) {
    clock_.seconds += 2;
    Maintain();
  }
  EXPECT_EQ(reads - first, 6) << "after 10, 30, 70, 150, 310 and 630 seconds";
}

TEST_F(RepositoryCopiesTest, IsNotDamagedWhereThisCpuCannotServeIt) {
  precisions_ = {v1::PRECISION_F32};
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  v1::ModelCard card = Card("m");
  card.mutable_request()->set_serving_precision(v1::PRECISION_BF16);
  ASSERT_TRUE(repository_->Publish(graph_, parameters_, card).ok());
  std::string& manifest = fs_->Bytes("/state/models/m/2/MANIFEST");
  manifest[0] ^= 0x40;
  Reopen();
  ASSERT_TRUE(Load(Id("m")).ok());
  ASSERT_EQ(repository_->Damaged("m").size(), 1u);
  manifest[0] ^= 0x40;
  MaintainLater();
  EXPECT_THAT(repository_->Damaged("m"), IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1"));
}

TEST_F(RepositoryCopiesTest, AReadingThatFailsMakesNothingWholeThatWasDamaged) {
  MustPublish("m");
  MustPublish("m");
  std::string& onnx = fs_->Bytes("/state/models/m/2/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  ASSERT_EQ(Load(Id("m", 2)).status().code(), absl::StatusCode::kDataLoss);
  fs_->FailAt(1, /*ever_after=*/true);
  MaintainLater();
  fs_->FailAt(0);
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
}

TEST_F(RepositoryCopiesTest, ForgetsWhatWasRemovedUnlessItIsInMemory) {
  for (int i = 0; i < 3; ++i) MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/1").ok());
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/3").ok());
  for (int i = 0; i < 2; ++i) {
    Maintain();
    EXPECT_THAT(Listed(), ElementsAre("m/3", "m/2"));
    EXPECT_EQ((*Load(Id("m")))->card.model().version(), 3);
  }
  EXPECT_THAT(repository_->TakeWarnings(),
              testing::UnorderedElementsAre(HasSubstr("m/3: is gone; it is served from memory"),
                                            HasSubstr("m/1: is gone; the version isn't listed")));
  EXPECT_EQ(Load(Id("m", 1)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RepositoryCopiesTest, ForgetsNothingThatIsBeingLoaded) {
  MustPublish("m");
  absl::Notification compiling, go;
  on_compile_ = [&](const Graph&, const InferenceOptions&) {
    compiling.Notify();
    go.WaitForNotification();
    return absl::OkStatus();
  };
  std::thread load([&] { EXPECT_TRUE(Load(Id("m")).ok()); });
  compiling.WaitForNotification();
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/1").ok());
  Maintain();
  go.Notify();
  load.join();
  EXPECT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
}

TEST_F(RepositoryCopiesTest, ReadsACopyOnceAndLoadsItFromThat) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  for (const auto& [file, bytes] : files) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
  }
  std::map<std::string, int> reads;
  fs_->OnOperation([&](std::string_view operation, const std::string& path) {
    if (operation == "read" && absl::StartsWith(path, "/state/models/m/2/")) ++reads[path];
  });
  Maintain();
  fs_->OnOperation(nullptr);
  ASSERT_NE(FindLoaded(Id("m")), nullptr);
  EXPECT_EQ(FindLoaded(Id("m"))->card.model().version(), 2);
  EXPECT_THAT(reads, ElementsAre(testing::Pair("/state/models/m/2/MANIFEST", 1),
                                 testing::Pair("/state/models/m/2/model.onnx", 1),
                                 testing::Pair("/state/models/m/2/model.textproto", 1)));
}

TEST_F(RepositoryCopiesTest, LooksIntoNoFolderThatIsAsItWas) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  MustPublish("m");
  MustPublish("n");
  Maintain();
  int looks = 0;
  fs_->OnOperation([&](std::string_view operation, const std::string& path) {
    if (operation == "list" && absl::StartsWith(path, "/state/models/")) ++looks;
  });
  for (int i = 0; i < 3; ++i) Maintain();
  EXPECT_EQ(looks, 0);
  for (const auto& [file, bytes] : files) {
    fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
  }
  Maintain();
  EXPECT_EQ(looks, 1);
  EXPECT_THAT(Listed(), ElementsAre("m/2", "m/1", "n/1"));
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/1").ok());
  Maintain();
  EXPECT_THAT(Listed(), ElementsAre("m/2", "n/1"));
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m").ok());
  Maintain();
  EXPECT_THAT(Listed(), ElementsAre("n/1"));
}

TEST_F(RepositoryCopiesTest, LooksAgainIntoAFolderThatMayHaveChangedWithinTheSameTick) {
  const std::map<std::string, std::string> files = FilesOfTwo();
  MustPublish("m");
  for (int ago : {1, 3}) {
    fs_->SetTime("/state/models/m", clock_.Now() - absl::Seconds(ago));
    Maintain();
    for (const auto& [file, bytes] : files) {
      fs_->Bytes(absl::StrCat("/state/models/m/2/", file)) = bytes;
    }
    Maintain();
    // A folder whose time is older has changed since only if its time has.
    EXPECT_EQ(Listed("m").size(), ago == 1 ? 2u : 1u);
    ASSERT_TRUE(fs_->RemoveAll("/state/models/m/2").ok());
    Reopen();
  }
}

TEST_F(RepositoryCopiesTest, ForgetsWhatIsGoneOnceItIsNotInMemoryAnyMore) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m/1").ok());
  for (int i = 0; i < 2; ++i) Maintain();
  EXPECT_THAT(Listed(), ElementsAre("m/1"));
  ASSERT_TRUE(repository_->Unload(Id("m", 1)).ok());
  Maintain();
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(RepositoryCopiesTest, GoesOnAnsweringWhenTheDiskIsLost) {
  MustPublish("m");
  MustPublish("n");
  ASSERT_TRUE(Load(Id("m")).ok());
  fs_->FailAt(1, /*ever_after=*/true);
  for (int i = 0; i < 3; ++i) {
    MaintainLater();
    EXPECT_TRUE(Load(Id("m")).ok());
    EXPECT_NE(FindLoaded(Id("m", 1)), nullptr);
    EXPECT_THAT(Listed(), ElementsAre("m/1", "n/1"));
  }
  EXPECT_FALSE(Load(Id("n")).ok());
  fs_->FailAt(0);
  EXPECT_TRUE(Load(Id("n")).ok()) << "the disk is back";
}

TEST_F(RepositoryCopiesTest, AnEmptyMountPointLosesNothingThatIsInMemory) {
  MustPublish("m");
  ASSERT_TRUE(Load(Id("m")).ok());
  const std::map<std::string, std::string> files = {
      {"MANIFEST", fs_->Bytes("/state/models/m/1/MANIFEST")},
      {"model.onnx", fs_->Bytes("/state/models/m/1/model.onnx")},
      {"model.textproto", fs_->Bytes("/state/models/m/1/model.textproto")}};
  ASSERT_TRUE(fs_->RemoveAll("/state/models/m").ok());
  Maintain();
  EXPECT_TRUE(Load(Id("m")).ok());
  for (const auto& [file, bytes] : files) {
    fs_->Bytes(absl::StrCat("/state/models/m/1/", file)) = bytes;
  }
  Maintain();
  EXPECT_TRUE(repository_->ReadWeights(Id("m")).ok());
}

}  // namespace
}  // namespace convd
