#include "server/datasets/partial_uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/storage/sha256.h"
#include "server/datasets/registry.h"
#include "tests/server/datasets/small_datasets.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kImages[] = "train-images-idx3-ubyte";

// Turned by hand.
class HandClock : public Clock {
 public:
  absl::Time Now() const override { return now + jump; }
  absl::Duration Monotonic() const override { return now - absl::UnixEpoch(); }
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  absl::Duration jump;  // of the wall clock alone
};

v1::UploadHeader Header(const std::string& id, const std::string& name = "up") {
  v1::UploadHeader header;
  header.set_name(name);
  header.set_upload_id(id);
  return header;
}

absl::Status Waits() { return absl::OkStatus(); }

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

// As a registry has them, on a real disk.
class PartialUploadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/partial_uploads_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
    Reopen();
  }
  void TearDown() override {
    registry_ = nullptr;
    fs::remove_all(root_);
  }

  std::string Uploads(const std::string& name = "") const {
    return root_ + "/state/uploads" + (name.empty() ? "" : "/" + name);
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static void Put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    for (const auto& entry : fs::directory_iterator(Uploads())) {
      ids.push_back(entry.path().filename().string());
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  // As after the process's end.
  void Reopen(const DataLimits& limits = {}) {
    registry_ = nullptr;
    auto opened = DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state", {}, limits,
                                        [this](int64_t bytes) {
                                          if (bytes <= room_) return absl::OkStatus();
                                          return absl::ResourceExhaustedError("no room");
                                        });
    ASSERT_TRUE(opened.ok()) << opened.status();
    registry_ = *std::move(opened);
  }
  std::unique_ptr<DatasetUpload> Begin(const v1::UploadHeader& header) {
    auto upload = registry_->BeginUpload(header);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return upload.ok() ? *std::move(upload) : nullptr;
  }
  // The files and bytes that are said to be there.
  std::vector<std::pair<std::string, int64_t>> There(const std::string& id) {
    std::vector<std::pair<std::string, int64_t>> files;
    const auto upload = registry_->GetUpload(id, Waits);
    EXPECT_TRUE(upload.ok()) << upload.status();
    if (!upload.ok()) return files;
    for (const v1::UploadedFile& file : upload->files()) {
      files.emplace_back(file.file(), file.size_bytes());
    }
    return files;
  }
  void ExpectGone(const std::string& id) {
    ExpectError(registry_->GetUpload(id, Waits).status(), absl::StatusCode::kNotFound,
                absl::StrCat("no upload \"", id, "\""));
    EXPECT_FALSE(fs::exists(Uploads(id)));
    EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
  }
  // Sends what isn't there yet.
  absl::StatusOr<v1::Dataset> SendRest(const v1::UploadHeader& header) {
    const auto there = There(header.upload_id());
    const auto upload = Begin(header);
    for (const auto& [file, bytes] : SmallMnist()) {
      size_t at = 0;
      for (const auto& [name, size] : there) {
        if (name == file) at = static_cast<size_t>(size);
      }
      const absl::Status status =
          upload->Write(file, static_cast<int64_t>(at), std::string_view(bytes).substr(at));
      if (!status.ok()) return status;
    }
    return upload->Commit();
  }

  HandClock clock_;
  std::string root_;
  int64_t room_ = std::numeric_limits<int64_t>::max();
  std::unique_ptr<DatasetRegistry> registry_;
};

TEST_F(PartialUploadsTest, ABrokenUploadGoesOnWhereItStoppedAndIsTheSameDataset) {
  const std::string images = SmallMnist()[0].second;
  {
    const auto upload = Begin(Header("u1"));
    ASSERT_TRUE(upload->Write(kImages, 0, std::string_view(images).substr(0, 7)).ok());
    ASSERT_TRUE(upload->Write(kImages, 7, std::string_view(images).substr(7, 5)).ok());
    ASSERT_TRUE(upload->Write("empty", 0, "").ok());
  }
  const auto there = registry_->GetUpload("u1", Waits);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->header().name(), "up");
  EXPECT_EQ(there->used().seconds(), 1'700'000'000);
  EXPECT_FALSE(there->being_read());
  ASSERT_EQ(there->files_size(), 2);
  EXPECT_EQ(there->files(0).file(), "empty");
  EXPECT_EQ(there->files(0).size_bytes(), 0);
  // sha256sum </dev/null
  EXPECT_EQ(there->files(0).sha256(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(there->files(1).file(), kImages);
  EXPECT_EQ(there->files(1).size_bytes(), 12);
  // printf '\0\0\x08\x03\0\0\0\3\0\0\0\2' | sha256sum
  EXPECT_EQ(there->files(1).sha256(),
            "ac14ea0515d7d241e0e27d494f59e444de04bd72cc16b106ac4da610fccd4f90");
  const auto dataset = SendRest(Header("u1"));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "up");
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  ExpectGone("u1");
  // For whom the answer did not reach.
  Reopen();
  EXPECT_EQ(registry_->Get("up")->upload_id(), "u1");
}

TEST_F(PartialUploadsTest, WhatWasWrittenIsThereAfterTheProcessWasKilled) {
  // What is open there is never closed, and nothing more is noted.
  std::unique_ptr<DatasetRegistry> killed;
  const auto upload = Begin(Header("u1"));
  ASSERT_TRUE(upload->Write(kImages, 0, SmallMnist()[0].second.substr(0, 20)).ok());
  killed = std::move(registry_);
  Reopen();
  EXPECT_THAT(There("u1"), ElementsAre(std::pair(std::string(kImages), int64_t{20})));
  const auto dataset = SendRest(Header("u1"));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
}

TEST_F(PartialUploadsTest, AreListedAsTheyAreWithoutBeingRead) {
  EXPECT_THAT(registry_->ListUploads(), IsEmpty());
  auto sent = Begin(Header("b", "later"));
  ASSERT_TRUE(sent->Write(kImages, 0, "12345").ok());
  Begin(Header("a"));
  // Neither a look nor damage keeps one for longer.
  Put(Uploads("a/upload.textproto"), "no record");
  clock_.now += absl::Hours(1);
  const std::vector<v1::Upload> listed = registry_->ListUploads();
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].header().upload_id(), "a");
  EXPECT_EQ(listed[0].header().name(), "");
  EXPECT_EQ(listed[1].header().name(), "later");
  EXPECT_TRUE(listed[1].open());
  EXPECT_EQ(listed[1].used().seconds(), absl::ToUnixSeconds(clock_.now) - 3600);
  ASSERT_EQ(listed[1].files_size(), 1);
  EXPECT_EQ(listed[1].files(0).file(), kImages);
  EXPECT_EQ(listed[1].files(0).size_bytes(), 5);
  EXPECT_EQ(listed[1].files(0).sha256(), "");
  sent = nullptr;
  EXPECT_FALSE(registry_->ListUploads()[1].open());
}

TEST_F(PartialUploadsTest, WhatANewerClientSaysBesidesIsLeftOut) {
  v1::UploadHeader newer = Header("u1");
  // Field 100, of a type that doesn't matter, in the header and in one of its messages.
  const std::string unknown("\xa2\x06\x01x", 4);
  ASSERT_TRUE(newer.MergeFromString(unknown));
  ASSERT_TRUE(newer.mutable_image_size()->MergeFromString(unknown));
  Begin(newer);
  EXPECT_THAT(There("u1"), IsEmpty());
  EXPECT_NE(Begin(newer), nullptr);
  Reopen();
  EXPECT_NE(Begin(newer), nullptr);
}

TEST_F(PartialUploadsTest, AFlippedByteShowsInTheHash) {
  Begin(Header("u1"))->Write("f", 0, std::string(3000, 'a')).IgnoreError();
  const std::string before = registry_->GetUpload("u1", Waits)->files(0).sha256();
  EXPECT_EQ(before, Sha256Hex(std::string(3000, 'a')));
  std::string bytes = ReadFile(Uploads("u1/files/f"));
  bytes[1234] = 'b';
  Put(Uploads("u1/files/f"), bytes);
  Reopen();
  const auto after = registry_->GetUpload("u1", Waits);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->files(0).size_bytes(), 3000);
  EXPECT_NE(after->files(0).sha256(), before);
}

TEST_F(PartialUploadsTest, DataThatBelongsElsewhereIsRefusedAndWhatIsThereStays) {
  for (const int64_t offset : {0, 4, 6, -1}) {
    {
      const auto upload = Begin(Header("u1"));
      if (There("u1").empty()) {
        ASSERT_TRUE(upload->Write("f", 0, "12345").ok());
      }
      ExpectError(upload->Write("f", offset, "x"), absl::StatusCode::kOutOfRange,
                  absl::StrCat("chunk.offset: got ", offset, "; of file \"f\" 5 bytes are there"));
      // There is no going on after that.
      ExpectError(upload->Write("f", 5, "x"), absl::StatusCode::kOutOfRange, "got");
      ExpectError(upload->Commit().status(), absl::StatusCode::kOutOfRange, "got");
    }
    EXPECT_THAT(There("u1"), ElementsAre(std::pair(std::string("f"), int64_t{5})));
  }
  ExpectError(Begin(Header("u1"))->Write("g", 1, "x"), absl::StatusCode::kOutOfRange,
              "of file \"g\" 0 bytes are there");
}

TEST_F(PartialUploadsTest, AnotherHeaderIsRefusedByItsField) {
  v1::UploadHeader header = Header("u1");
  header.add_labels("a");
  header.add_files()->set_split("train");
  header.mutable_files(0)->add_images("i");
  header.mutable_image_size()->set_height(3);
  header.mutable_image_size()->set_width(3);
  ASSERT_TRUE(Begin(header)->Write("f", 0, "12345").ok());
  const auto expect_refused = [&](const std::string& field, auto change) {
    v1::UploadHeader other = header;
    change(other);
    ExpectError(registry_->BeginUpload(other).status(), absl::StatusCode::kFailedPrecondition,
                absl::StrCat("header.", field, ": is not what upload \"u1\" was begun with"));
  };
  expect_refused("name", [](auto& other) { other.set_name("other"); });
  expect_refused("labels", [](auto& other) { other.set_labels(0, "b"); });
  expect_refused("files", [](auto& other) { other.add_files()->set_split("test"); });
  expect_refused("files[0]", [](auto& other) { other.mutable_files(0)->add_labels("l"); });
  expect_refused("image_size", [](auto& other) { other.mutable_image_size()->set_width(4); });
  EXPECT_THAT(There("u1"), ElementsAre(std::pair(std::string("f"), int64_t{5})));
  EXPECT_NE(Begin(header), nullptr);
}

TEST_F(PartialUploadsTest, ALaterStreamTakesOverAndTheOlderOneWritesNoMore) {
  const auto older = Begin(Header("u1"));
  std::vector<absl::Status> told;
  older->OnTakenAway([&](const absl::Status& why) { told.push_back(why); });
  ASSERT_TRUE(older->Write("f", 0, "12").ok());
  EXPECT_THAT(told, IsEmpty());
  const auto newer = Begin(Header("u1"));
  ASSERT_EQ(told.size(), 1u);
  ExpectError(told[0], absl::StatusCode::kAborted, "another stream has taken over upload \"u1\"");
  ExpectError(older->Write("f", 2, "xx"), absl::StatusCode::kAborted, "taken over");
  ExpectError(older->Commit().status(), absl::StatusCode::kAborted, "taken over");
  ASSERT_TRUE(newer->Write("f", 2, "34").ok());
  EXPECT_EQ(ReadFile(Uploads("u1/files/f")), "1234");
  // Who comes too late to be told is told at once.
  older->OnTakenAway([&](const absl::Status& why) { told.push_back(why); });
  EXPECT_EQ(told.size(), 2u);
}

TEST_F(PartialUploadsTest, TheOlderStreamsEndChangesNothingForTheNewer) {
  auto older = Begin(Header("u1"));
  ASSERT_TRUE(older->Write("f", 0, "12").ok());
  const auto newer = Begin(Header("u1"));
  older = nullptr;
  EXPECT_TRUE(newer->Write("f", 2, "34").ok());
  ExpectError(Begin(Header("u1"))->Write("f", 2, "5"), absl::StatusCode::kOutOfRange, "4 bytes");
}

TEST_F(PartialUploadsTest, WhatCantBecomeADatasetIsRemoved) {
  DataLimits limits;
  limits.upload_bytes = 100;
  Reopen(limits);
  {
    const auto upload = Begin(Header("name"));
    ASSERT_TRUE(upload->Write("f", 0, "12").ok());
    ExpectError(upload->Write("../f", 0, "12"), absl::StatusCode::kInvalidArgument, "chunk.file");
    ExpectGone("name");
    ExpectError(upload->Write("f", 2, "12"), absl::StatusCode::kInvalidArgument, "chunk.file");
  }
  {
    ASSERT_TRUE(Begin(Header("large"))->Write("f", 0, std::string(60, 'x')).ok());
    // What is there from before counts.
    ExpectError(Begin(Header("large"))->Write("g", 0, std::string(41, 'x')),
                absl::StatusCode::kInvalidArgument, "more than 100 bytes");
    ExpectGone("large");
  }
  {
    const auto upload = Begin(Header("many"));
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(upload->Write(absl::StrCat("f", i), 0, "").ok());
    ExpectError(upload->Write("g", 0, ""), absl::StatusCode::kInvalidArgument, "at most 64");
    ExpectGone("many");
  }
  {
    const auto upload = Begin(Header("rubbish"));
    ASSERT_TRUE(upload->Write("f", 0, "rubbish").ok());
    ExpectError(upload->Commit().status(), absl::StatusCode::kNotFound, "the upload: has no");
    ExpectGone("rubbish");
  }
  {
    ExpectError(Begin(Header("empty"))->Commit().status(), absl::StatusCode::kInvalidArgument,
                "no files");
    ExpectGone("empty");
  }
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
}

TEST_F(PartialUploadsTest, WhatLacksRoomOrAFreeNameCanBeGoneOnWith) {
  {
    const auto upload = Begin(Header("u1"));
    ASSERT_TRUE(upload->Write(kImages, 0, SmallMnist()[0].second.substr(0, 20)).ok());
    room_ = 0;
    ExpectError(upload->Write(kImages, 20, "x"), absl::StatusCode::kResourceExhausted, "no room");
  }
  EXPECT_THAT(There("u1"), ElementsAre(std::pair(std::string(kImages), int64_t{20})));
  room_ = std::numeric_limits<int64_t>::max();
  ASSERT_TRUE(Begin(Header("other"))->Write("f", 0, "x").ok());
  {
    const auto other = registry_->BeginUpload(Header(""));
    for (const auto& [file, bytes] : SmallMnist('q')) {
      ASSERT_TRUE((*other)->Write(file, 0, bytes).ok());
    }
    ASSERT_TRUE((*other)->Commit().ok());
  }
  ExpectError(SendRest(Header("u1")).status(), absl::StatusCode::kAlreadyExists, "\"up\"");
  ASSERT_TRUE(registry_->Delete("up").ok());
  const auto dataset = SendRest(Header("u1"));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  ExpectGone("u1");
}

TEST_F(PartialUploadsTest, ADeletedUploadIsGoneAndItsStreamIsTold) {
  const auto upload = Begin(Header("u1"));
  absl::Status told;
  upload->OnTakenAway([&](const absl::Status& why) { told = why; });
  ASSERT_TRUE(upload->Write("f", 0, "12").ok());
  EXPECT_TRUE(registry_->DeleteUpload("u1").ok());
  ExpectGone("u1");
  ExpectError(told, absl::StatusCode::kAborted, "upload \"u1\" was deleted");
  ExpectError(upload->Write("f", 2, "34"), absl::StatusCode::kAborted, "was deleted");
  ExpectError(registry_->DeleteUpload("u1"), absl::StatusCode::kNotFound, "no upload \"u1\"");
  // Its id is free.
  const auto next = Begin(Header("u1", "other-name"));
  EXPECT_TRUE(next->Write("f", 0, "new").ok());
  ExpectError(upload->Commit().status(), absl::StatusCode::kAborted, "was deleted");
  EXPECT_EQ(ReadFile(Uploads("u1/files/f")), "new");
}

TEST_F(PartialUploadsTest, IdsThatCantBeNamesAreRefused) {
  for (const std::string& id : {std::string("../x"), std::string("."), std::string(65, 'a')}) {
    ExpectError(registry_->BeginUpload(Header(id)).status(), absl::StatusCode::kInvalidArgument,
                "header.upload_id: ");
    ExpectError(registry_->GetUpload(id, Waits).status(), absl::StatusCode::kInvalidArgument,
                "upload_id: ");
    ExpectError(registry_->DeleteUpload(id), absl::StatusCode::kInvalidArgument, "upload_id: ");
  }
  ExpectError(registry_->GetUpload("", Waits).status(), absl::StatusCode::kInvalidArgument,
              "upload_id: ");
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(PartialUploadsTest, AHeaderThatIsTooLargeToBeKeptIsRefused) {
  v1::UploadHeader header = Header("u1");
  for (int i = 0; i < 40'000; ++i) {
    v1::SplitFiles& files = *header.add_files();
    files.set_split("train");
    files.add_images(std::string(64, 'a'));
  }
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kInvalidArgument,
              "bytes as text; the limit is 4194304");
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
}

TEST_F(PartialUploadsTest, ThereAreAtMost64) {
  for (int i = 0; i < 64; ++i) ASSERT_NE(Begin(Header(absl::StrCat("u", i))), nullptr);
  ExpectError(registry_->BeginUpload(Header("one-more")).status(),
              absl::StatusCode::kResourceExhausted,
              "there are 64 uploads already that wait to be gone on with; end or delete one");
  EXPECT_EQ(Ids().size(), 64u);
  // Those that there are can be gone on with.
  EXPECT_NE(Begin(Header("u7")), nullptr);
  ASSERT_TRUE(registry_->DeleteUpload("u7").ok());
  EXPECT_NE(Begin(Header("one-more")), nullptr);
}

TEST_F(PartialUploadsTest, WhoseStreamBrokeUnseenNeedNotWaitForAPlace) {
  std::vector<std::unique_ptr<DatasetUpload>> open;
  for (int i = 0; i < 8; ++i) open.push_back(Begin(Header(absl::StrCat("u", i))));
  ExpectError(registry_->BeginUpload(Header("u8")).status(), absl::StatusCode::kResourceExhausted,
              "8 uploads already");
  EXPECT_NE(Begin(Header("u3")), nullptr);
}

// Each has a call, a message and files until its stream has ended.
TEST_F(PartialUploadsTest, ThoseTakenOverThatHaveNotEndedHaveAPlaceEach) {
  std::vector<std::unique_ptr<DatasetUpload>> open;
  for (int i = 0; i < 8; ++i) open.push_back(Begin(Header(absl::StrCat("u", i))));
  for (int i = 0; i < 8; ++i) open.push_back(Begin(Header("u3")));
  ExpectError(registry_->BeginUpload(Header("u3")).status(), absl::StatusCode::kResourceExhausted,
              "8 uploads already");
  EXPECT_TRUE(open.back()->Write("f", 0, "12").ok()) << "who has it keeps it";
  open[3] = nullptr;
  EXPECT_NE(Begin(Header("u3")), nullptr);
}

TEST_F(PartialUploadsTest, TheUnusedAreRemovedAfterADay) {
  ASSERT_TRUE(Begin(Header("old"))->Write("f", 0, "12").ok());
  const auto open = Begin(Header("open"));
  clock_.now += absl::Hours(12);
  ASSERT_TRUE(Begin(Header("newer"))->Write("f", 0, "12").ok());
  clock_.now += absl::Hours(12);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), IsEmpty());
  clock_.now += absl::Seconds(1);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), ElementsAre("old"));
  EXPECT_THAT(Ids(), ElementsAre("newer", "open"));
  ExpectGone("old");
  // To look at one is to use it.
  There("newer");
  clock_.now += absl::Hours(24);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), IsEmpty());
  clock_.now += absl::Seconds(1);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), ElementsAre("newer"));
  // One that a stream has is in use.
  EXPECT_TRUE(open->Write("f", 0, "12").ok());
}

TEST_F(PartialUploadsTest, ARestartKnowsTheTimeOfTheLastUse) {
  {
    std::unique_ptr<DatasetRegistry> killed;
    const auto upload = Begin(Header("long"));
    for (int hour = 0; hour < 30; ++hour) {
      clock_.now += absl::Hours(1) + absl::Seconds(1);
      ASSERT_TRUE(upload->Write("f", hour, "x").ok());
    }
    killed = std::move(registry_);
    Reopen();
    EXPECT_THAT(Ids(), ElementsAre("long"));
  }
  clock_.now += absl::Hours(24) + absl::Seconds(1);
  Reopen();
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_THAT(registry_->TakeWarnings(), Contains(HasSubstr("not gone on with for 24h")));
}

TEST_F(PartialUploadsTest, AClockThatIsPutBackKeepsNothingForEver) {
  clock_.jump = absl::Hours(10'000);
  ASSERT_TRUE(Begin(Header("u1"))->Write("f", 0, "12").ok());
  clock_.jump = absl::ZeroDuration();
  Reopen();
  EXPECT_THAT(Ids(), ElementsAre("u1"));
  clock_.now += absl::Hours(24) + absl::Seconds(1);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), ElementsAre("u1"));
}

TEST_F(PartialUploadsTest, AClockThatIsSetWhileItRunsMakesNothingOlderOrYounger) {
  ASSERT_TRUE(Begin(Header("u1"))->Write("f", 0, "12").ok());
  clock_.now += absl::Hours(1);
  clock_.jump = absl::Hours(10'000);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), IsEmpty());
  ASSERT_EQ(registry_->ListUploads().size(), 1u);
  EXPECT_EQ(registry_->ListUploads()[0].used().seconds(),
            absl::ToUnixSeconds(clock_.Now() - absl::Hours(1)));
  clock_.jump = -absl::Hours(10'000);
  clock_.now += absl::Hours(23) + absl::Seconds(1);
  EXPECT_THAT(registry_->RemoveUnusedUploads(), ElementsAre("u1"));
}

TEST_F(PartialUploadsTest, WhoStopsWaitingForHashesStopsTheHashing) {
  ASSERT_TRUE(Begin(Header("u1"))->Write("f", 0, std::string(5 << 20, 'x')).ok());
  int asked = 0;
  const auto upload = registry_->GetUpload("u1", [&]() -> absl::Status {
    if (++asked < 3) return absl::OkStatus();
    return absl::CancelledError("the caller cancelled");
  });
  ExpectError(upload.status(), absl::StatusCode::kCancelled, "the caller cancelled");
  EXPECT_EQ(asked, 3);
}

// Everything there may be anybody's.
TEST_F(PartialUploadsTest, WhatIsNoUploadIsRemovedAtTheStartAndNeverFollowed) {
  fs::create_directories(root_ + "/precious/files");
  Put(root_ + "/precious/files/f", "precious");
  Put(root_ + "/precious/upload.textproto", "header { name: \"up\" upload_id: \"link\" }");
  ASSERT_TRUE(Begin(Header("good"))->Write("f", 0, "12").ok());
  const auto begin = [&](const std::string& id) {
    ASSERT_TRUE(Begin(Header(id))->Write("f", 0, "12").ok());
  };
  fs::create_directory_symlink(root_ + "/precious", Uploads("link"));
  Put(Uploads("file"), "x");
  fs::create_directories(Uploads("no-header/files"));
  fs::create_directories(Uploads(".hidden"));
  fs::create_directories(Uploads("bad\nname"));
  begin("garbled");
  Put(Uploads("garbled/upload.textproto"), "header { name: \x80");
  begin("truncated");
  const std::string record = ReadFile(Uploads("truncated/upload.textproto"));
  Put(Uploads("truncated/upload.textproto"), record.substr(0, record.size() / 2));
  begin("other-id");
  Put(Uploads("other-id/upload.textproto"), "header { name: \"up\" upload_id: \"good\" }");
  begin("huge");
  Put(Uploads("huge/upload.textproto"), record + std::string(5 << 20, '\n'));
  begin("header-link");
  fs::remove(Uploads("header-link/upload.textproto"));
  fs::create_symlink(root_ + "/precious/upload.textproto", Uploads("header-link/upload.textproto"));
  begin("header-fifo");
  fs::remove(Uploads("header-fifo/upload.textproto"));
  ASSERT_EQ(mkfifo(Uploads("header-fifo/upload.textproto").c_str(), 0600), 0);
  begin("file-link");
  fs::create_symlink(root_ + "/precious/files/f", Uploads("file-link/files/g"));
  begin("file-fifo");
  ASSERT_EQ(mkfifo(Uploads("file-fifo/files/g").c_str(), 0600), 0);
  begin("file-folder");
  fs::create_directories(Uploads("file-folder/files/g/h"));
  begin("file-name");
  Put(Uploads("file-name/files/.g"), "x");
  begin("files-link");
  fs::remove_all(Uploads("files-link/files"));
  fs::create_directory_symlink(root_ + "/precious/files", Uploads("files-link/files"));
  begin("no-files");
  fs::remove_all(Uploads("no-files/files"));
  begin("more");
  Put(Uploads("more/something"), "x");
  begin("many");
  for (int i = 0; i < 64; ++i) Put(Uploads(absl::StrCat("many/files/g", i)), "");
  begin("interrupted");
  Put(Uploads("interrupted/upload.textproto.tmp"), "half");
  Reopen();
  EXPECT_THAT(Ids(), UnorderedElementsAre("good", "interrupted"));
  EXPECT_THAT(There("interrupted"), ElementsAre(std::pair(std::string("f"), int64_t{2})));
  EXPECT_FALSE(fs::exists(Uploads("interrupted/upload.textproto.tmp")));
  EXPECT_EQ(ReadFile(root_ + "/precious/files/f"), "precious");
  EXPECT_TRUE(fs::exists(root_ + "/precious/upload.textproto"));
  const std::vector<std::string> warnings = registry_->TakeWarnings();
  EXPECT_EQ(warnings.size(), 19u);
  EXPECT_THAT(warnings, Contains(HasSubstr("file-link: removed; no upload that can be gone on")));
  EXPECT_THAT(warnings, Contains(HasSubstr("bad\\nname: removed")));
  EXPECT_THAT(warnings, Contains(HasSubstr("line 1, column")));
  Reopen();
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
}

TEST_F(PartialUploadsTest, AFolderThatIsALinkIsNotFollowed) {
  fs::create_directories(root_ + "/precious/something");
  fs::remove_all(Uploads());
  fs::create_directory_symlink(root_ + "/precious", Uploads());
  Reopen();
  EXPECT_TRUE(fs::exists(root_ + "/precious/something"));
  EXPECT_FALSE(fs::is_symlink(Uploads()));
  EXPECT_THAT(registry_->TakeWarnings(), ElementsAre(HasSubstr("it is no folder")));
}

TEST_F(PartialUploadsTest, OfTooManyAtTheStartTheOldestGo) {
  for (int i = 0; i < 64; ++i) {
    clock_.now += absl::Minutes(1);
    ASSERT_NE(Begin(Header(absl::StrCat("u", i))), nullptr);
  }
  fs::copy(Uploads("u63"), Uploads("newest"), fs::copy_options::recursive);
  std::string record = ReadFile(Uploads("newest/upload.textproto"));
  record.replace(record.find("\"u63\""), 5, "\"newest\"");
  Put(Uploads("newest/upload.textproto"), record);
  Reopen();
  EXPECT_EQ(Ids().size(), 64u);
  EXPECT_FALSE(fs::exists(Uploads("u0")));
  EXPECT_THAT(registry_->TakeWarnings(), ElementsAre(HasSubstr("more than 64 uploads")));
}

TEST_F(PartialUploadsTest, WhileADatasetIsMadeOfItNobodyElseHasIt) {
  for (const auto& [file, bytes] : SmallMnist()) {
    ASSERT_TRUE(Begin(Header("u1"))->Write(file, 0, bytes).ok());
  }
  // Asked for room in the middle of it.
  absl::Status begun, deleted;
  v1::Upload looked;
  registry_ = nullptr;
  bool committing = false;
  registry_ =
      *DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state", {}, {}, [&](int64_t) {
        if (committing && begun.ok()) {
          begun = absl::UnknownError("not yet");
          looked = *registry_->GetUpload("u1", Waits);
          deleted = registry_->DeleteUpload("u1");
          clock_.now += absl::Hours(25);
          EXPECT_THAT(registry_->RemoveUnusedUploads(), IsEmpty());
          begun = registry_->BeginUpload(Header("u1")).status();
        }
        return absl::OkStatus();
      });
  const auto upload = Begin(Header("u1"));
  committing = true;
  const auto dataset = upload->Commit();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  EXPECT_TRUE(looked.being_read());
  EXPECT_EQ(looked.header().upload_id(), "u1");
  EXPECT_EQ(looked.files_size(), 0);
  for (const absl::Status& status : {begun, deleted}) {
    ExpectError(status, absl::StatusCode::kUnavailable, "a dataset is being made of upload \"u1\"");
  }
  ExpectGone("u1");
}

// A disk that fails, or loses its power, at every single step.
class PartialUploadsFaultsTest : public ::testing::Test {
 protected:
  void NewDisk() {
    registry_ = nullptr;
    disk_ = std::make_unique<MemoryFileSystem>();
    ASSERT_TRUE(disk_->CreateDirectories("/state").ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    registry_ = Open(*disk_);
  }
  std::unique_ptr<DatasetRegistry> Open(MemoryFileSystem& disk) {
    auto opened = DatasetRegistry::Open(disk, clock_, "/state", {});
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  // Sends what the registry says isn't there, from the start where it says something else.
  static absl::StatusOr<v1::Dataset> Send(DatasetRegistry& registry) {
    std::map<std::string, int64_t> there;
    const auto found = registry.GetUpload("u1", Waits);
    if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
    if (found.ok()) {
      for (const v1::UploadedFile& file : found->files()) {
        there[file.file()] = file.size_bytes();
        for (const auto& [name, bytes] : SmallMnist()) {
          if (name != file.file()) continue;
          EXPECT_EQ(file.sha256(),
                    Sha256Hex(bytes.substr(0, static_cast<size_t>(file.size_bytes()))));
        }
      }
    }
    auto upload = registry.BeginUpload(Header("u1"));
    if (!upload.ok()) return upload.status();
    for (const auto& [file, bytes] : SmallMnist()) {
      for (size_t at = static_cast<size_t>(there[file]); at < bytes.size();) {
        const std::string_view piece = std::string_view(bytes).substr(at, 10);
        const absl::Status status = (*upload)->Write(file, static_cast<int64_t>(at), piece);
        if (!status.ok()) return status;
        at += piece.size();
      }
    }
    return (*upload)->Commit();
  }

  HandClock clock_;
  std::unique_ptr<MemoryFileSystem> disk_;
  std::unique_ptr<DatasetRegistry> registry_;
};

TEST_F(PartialUploadsFaultsTest, AnUploadThatADiskFailedGoesOnWhenItWorks) {
  for (int64_t k = 1;; ++k) {
    SCOPED_TRACE(k);
    NewDisk();
    disk_->FailAt(k);
    const auto failed = Send(*registry_);
    const bool step_came = disk_->operations() >= k;
    disk_->FailAt(0);
    const auto dataset = Send(*registry_);
    ASSERT_TRUE(dataset.ok()) << dataset.status() << " after " << failed.status();
    EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
    Open(*disk_);
    for (const std::string& file : disk_->AllFiles()) {
      EXPECT_THAT(file, ::testing::Not(::testing::StartsWith("/state/tmp/"))) << file;
      EXPECT_THAT(file, ::testing::Not(::testing::StartsWith("/state/uploads/"))) << file;
    }
    if (!step_came) break;
  }
}

TEST_F(PartialUploadsFaultsTest, WhatWasSaidToBeThereIsThereAfterAPowerCut) {
  NewDisk();
  {
    auto upload = registry_->BeginUpload(Header("u1"));
    ASSERT_TRUE(upload.ok()) << upload.status();
    ASSERT_TRUE((*upload)->Write(kImages, 0, SmallMnist()[0].second.substr(0, 20)).ok());
  }
  ASSERT_EQ(registry_->GetUpload("u1", Waits)->files(0).size_bytes(), 20);
  for (const bool entries_survive : {false, true}) {
    const auto cut = disk_->AfterPowerCut(entries_survive);
    const auto registry = Open(*cut);
    const auto upload = registry->GetUpload("u1", Waits);
    ASSERT_TRUE(upload.ok()) << upload.status();
    ASSERT_EQ(upload->files_size(), 1);
    EXPECT_EQ(upload->files(0).size_bytes(), 20);
  }
}

TEST_F(PartialUploadsFaultsTest, APowerCutAtAnyStepLeavesWhatCanBeGoneOnWith) {
  NewDisk();
  std::vector<std::unique_ptr<MemoryFileSystem>> cuts;
  disk_->OnOperation([&](std::string_view, const std::string&) {
    for (const bool entries_survive : {false, true}) {
      cuts.push_back(disk_->AfterPowerCut(entries_survive));
    }
  });
  ASSERT_TRUE(Send(*registry_).ok());
  disk_->OnOperation(nullptr);
  ASSERT_GT(cuts.size(), 40u);
  for (size_t i = 0; i < cuts.size(); ++i) {
    SCOPED_TRACE(i);
    const auto registry = Open(*cuts[i]);
    const auto dataset = Send(*registry);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  }
}

TEST_F(PartialUploadsFaultsTest, ManyStreamsAtOnceNeverMixWhatTheyWrite) {
  NewDisk();
  constexpr size_t kBytes = 100'000;
  std::string whole;
  for (size_t i = 0; i < kBytes; ++i) whole += static_cast<char>('a' + i % 23);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (size_t there = 0; there < kBytes;) {
        const auto upload = registry_->BeginUpload(Header("u1"));
        if (!upload.ok()) continue;  // eight that haven't gone yet
        const auto found = registry_->GetUpload("u1", Waits);
        if (!found.ok()) continue;
        there = found->files().empty() ? 0 : static_cast<size_t>(found->files(0).size_bytes());
        const size_t end = std::min(kBytes, there + 100);
        while (there < end) {
          const absl::Status status = (*upload)->Write("f", static_cast<int64_t>(there),
                                                       std::string_view(whole).substr(there, 7));
          if (!status.ok()) {
            EXPECT_TRUE(absl::IsAborted(status) || absl::IsOutOfRange(status)) << status;
            break;
          }
          there += 7;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(disk_->Bytes("/state/uploads/u1/files/f"), whole);
}

}  // namespace
}  // namespace convd
