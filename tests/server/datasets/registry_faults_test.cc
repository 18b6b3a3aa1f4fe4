// A disk that fails, and a machine that loses its power, at every single step of a registration and
// of a deletion.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/datasets/registry.h"
#include "tests/server/datasets/small_datasets.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RegistryFaultsTest : public ::testing::Test {
 protected:
  void NewDisk() {
    registry_ = nullptr;
    disk_ = std::make_unique<MemoryFileSystem>();
    for (const auto& [file, bytes] : SmallMnist()) disk_->Bytes("/data/" + file) = bytes;
    for (const auto& [file, bytes] : SmallMnist('q')) disk_->Bytes("/data/q/" + file) = bytes;
    // Whoever made the state folder saw to it that it stays.
    ASSERT_TRUE(disk_->CreateDirectories("/state").ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    registry_ = Open(*disk_);
    ASSERT_NE(registry_, nullptr);
  }
  std::unique_ptr<DatasetRegistry> Open(MemoryFileSystem& disk,
                                        const std::vector<std::string>& dirs = {"/data"}) {
    auto opened = DatasetRegistry::Open(disk, clock_, "/state", dirs);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  absl::Status Register(const std::string& name, const std::string& path = "/data") {
    v1::RegisterDatasetRequest request;
    request.set_name(name);
    request.set_path(path);
    return registry_->Register(request).status();
  }
  static std::vector<std::string> Names(DatasetRegistry& registry) {
    std::vector<std::string> names;
    for (const v1::Dataset& dataset : registry.List()) {
      names.push_back(dataset.name());
      const auto loaded = registry.Load(dataset.name());
      EXPECT_TRUE(loaded.ok()) << loaded.status();
    }
    return names;
  }

  StoppedClock clock_;
  std::unique_ptr<MemoryFileSystem> disk_;
  std::unique_ptr<DatasetRegistry> registry_;
};

TEST_F(RegistryFaultsTest, ARegistrationThatFailsLeavesNothingBehind) {
  for (int64_t k = 1;; ++k) {
    SCOPED_TRACE(k);
    NewDisk();
    ASSERT_TRUE(Register("before", "/data/q").ok());
    const std::vector<std::string> files = disk_->AllFiles();
    disk_->FailAt(k);
    const bool failed = !Register("mnist").ok();
    const bool step_came = disk_->operations() >= k;
    disk_->FailAt(0);
    if (failed) {
      EXPECT_EQ(disk_->AllFiles(), files);
      EXPECT_THAT(Names(*registry_), ElementsAre("before"));
      EXPECT_TRUE(absl::IsNotFound(registry_->Get("mnist").status()));
    }
    // The same request succeeds as soon as the disk does.
    ASSERT_TRUE(Register("mnist").ok());
    EXPECT_THAT(Names(*registry_), ElementsAre("before", "mnist"));
    EXPECT_THAT(Names(*Open(*disk_)), ElementsAre("before", "mnist"));
    if (!step_came) break;
  }
}

TEST_F(RegistryFaultsTest, AnUploadThatFailsLeavesNothingBehind) {
  for (int64_t k = 1;; ++k) {
    SCOPED_TRACE(k);
    NewDisk();
    const std::vector<std::string> files = disk_->AllFiles();
    disk_->FailAt(k);
    v1::UploadHeader header;
    header.set_name("up");
    absl::Status status;
    {
      auto upload = registry_->BeginUpload(header);
      status = upload.status();
      for (const auto& [file, bytes] : SmallMnist()) {
        if (status.ok()) status = (*upload)->Write(file, 0, bytes);
      }
      if (status.ok()) status = (*upload)->Commit().status();
    }
    const bool step_came = disk_->operations() >= k;
    disk_->FailAt(0);
    if (!status.ok()) {
      EXPECT_EQ(disk_->AllFiles(), files);
      EXPECT_THAT(Names(*registry_), IsEmpty());
    } else {
      EXPECT_THAT(Names(*registry_), ElementsAre("up"));
      // What could not be removed is, at the next start.
      EXPECT_THAT(Names(*Open(*disk_)), ElementsAre("up"));
      for (const std::string& file : disk_->AllFiles()) {
        EXPECT_THAT(file, ::testing::Not(::testing::StartsWith("/state/tmp/"))) << file;
      }
    }
    if (!step_came) break;
  }
}

TEST_F(RegistryFaultsTest, APowerCutLeavesAWholeDatasetOrNone) {
  NewDisk();
  ASSERT_TRUE(Register("before", "/data/q").ok());
  std::vector<std::unique_ptr<MemoryFileSystem>> cuts;
  disk_->OnOperation([&](std::string_view, const std::string&) {
    for (const bool entries_survive : {false, true}) {
      cuts.push_back(disk_->AfterPowerCut(entries_survive));
    }
  });
  ASSERT_TRUE(Register("mnist").ok());
  disk_->OnOperation(nullptr);
  for (const bool entries_survive : {false, true}) {
    // What was answered with OK is there.
    EXPECT_THAT(Names(*Open(*disk_->AfterPowerCut(entries_survive), {})),
                ElementsAre("before", "mnist"));
  }
  ASSERT_GT(cuts.size(), 40u);
  for (size_t i = 0; i < cuts.size(); ++i) {
    SCOPED_TRACE(i);
    // The data folder isn't there any more: nobody synced it.
    const auto registry = Open(*cuts[i], {});
    ASSERT_NE(registry, nullptr);
    const std::vector<std::string> names = Names(*registry);
    if (names.size() != 1) {
      EXPECT_THAT(names, ElementsAre("before", "mnist"));
    } else {
      EXPECT_THAT(names, ElementsAre("before"));
    }
    EXPECT_TRUE(absl::IsNotFound(registry->Get("mnist").status()) || registry->Get("mnist").ok());
    // And a second start finds nothing more to mend.
    EXPECT_THAT(Names(*Open(*cuts[i], {})), ::testing::ContainerEq(names));
  }
}

TEST_F(RegistryFaultsTest, APowerCutDuringADeletionLeavesAWholeDatasetOrNone) {
  NewDisk();
  ASSERT_TRUE(Register("mnist").ok());
  std::vector<std::unique_ptr<MemoryFileSystem>> cuts;
  disk_->OnOperation([&](std::string_view, const std::string&) {
    for (const bool entries_survive : {false, true}) {
      cuts.push_back(disk_->AfterPowerCut(entries_survive));
    }
  });
  ASSERT_TRUE(registry_->Delete("mnist").ok());
  disk_->OnOperation(nullptr);
  EXPECT_THAT(Names(*Open(*disk_->AfterPowerCut(false), {})), IsEmpty());
  for (size_t i = 0; i < cuts.size(); ++i) {
    SCOPED_TRACE(i);
    const auto registry = Open(*cuts[i], {});
    ASSERT_NE(registry, nullptr);
    EXPECT_TRUE(absl::IsNotFound(registry->Get("mnist").status()) || registry->Load("mnist").ok());
  }
}

TEST_F(RegistryFaultsTest, ADeletionThatFailsCanBeAskedForAgain) {
  for (int64_t k = 1;; ++k) {
    SCOPED_TRACE(k);
    NewDisk();
    ASSERT_TRUE(Register("mnist").ok());
    disk_->FailAt(k);
    const absl::Status status = registry_->Delete("mnist");
    const bool step_came = disk_->operations() >= k;
    disk_->FailAt(0);
    if (!status.ok()) {
      const absl::Status again = registry_->Delete("mnist");
      EXPECT_TRUE(again.ok() || absl::IsNotFound(again)) << again;
    }
    EXPECT_THAT(Names(*registry_), IsEmpty());
    // The next start removes what could not be.
    EXPECT_THAT(Names(*Open(*disk_)), IsEmpty());
    for (const std::string& file : disk_->AllFiles()) {
      EXPECT_THAT(file, ::testing::Not(::testing::StartsWith("/state/"))) << file;
    }
    if (!step_came) break;
  }
}

}  // namespace
}  // namespace convd
