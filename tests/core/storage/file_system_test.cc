#include "core/storage/file_system.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileSystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/file_system_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = std::filesystem::canonical(name).string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  void Put(const std::string& path, const std::string& data) {
    std::ofstream(path, std::ios::binary) << data;
  }
  std::string Get(const std::string& path) {
    std::ostringstream data;
    data << std::ifstream(path, std::ios::binary).rdbuf();
    return data.str();
  }

  void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& words) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  FileSystem& fs_ = FileSystem::Posix();
  std::string folder_;
};

TEST_F(FileSystemTest, WritesAndReadsBytesAsTheyAre) {
  const std::string bytes("a\0b\xff\n", 5);
  auto file = fs_.Create(Path("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Append(bytes).ok());
  EXPECT_TRUE((*file)->Append("").ok());
  EXPECT_TRUE((*file)->Append(bytes).ok());
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_TRUE((*file)->Close().ok());
  EXPECT_EQ(Get(Path("f")), bytes + bytes);
  EXPECT_EQ(*fs_.Read(Path("f"), 10), bytes + bytes);
  EXPECT_EQ(*fs_.Size(Path("f")), 10);
  auto mapped = fs_.Map(Path("f"));
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ((*mapped)->data(), bytes + bytes);
}

TEST_F(FileSystemTest, CreateEmptiesWhatWasThere) {
  Put(Path("f"), "something long");
  {
    ASSERT_TRUE((*fs_.Create(Path("f")))->Append("x").ok());
  }
  EXPECT_EQ(Get(Path("f")), "x");
}

TEST_F(FileSystemTest, AClosedFileTakesNoMore) {
  auto file = fs_.Create(Path("f"));
  ASSERT_TRUE((*file)->Close().ok());
  EXPECT_TRUE((*file)->Close().ok());
  ExpectError((*file)->Append("x"), absl::StatusCode::kFailedPrecondition, Path("f"));
  ExpectError((*file)->Sync(), absl::StatusCode::kFailedPrecondition, "closed");
}

TEST_F(FileSystemTest, AFullDiskIsResourceExhaustedAndStaysSo) {
  if (!fs_.Exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  auto file = fs_.Create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectError((*file)->Append("x"), absl::StatusCode::kResourceExhausted, "/dev/full");
  // Not OK later: the bytes are lost.
  ExpectError((*file)->Sync(), absl::StatusCode::kResourceExhausted, "/dev/full");
  ExpectError((*file)->Close(), absl::StatusCode::kResourceExhausted, "/dev/full");
}

TEST_F(FileSystemTest, AFileUpToTheLimitIsReadAndALargerOneRefused) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{100'000}}) {
    Put(Path("f"), std::string(size, 'x'));
    const int64_t n = static_cast<int64_t>(size);
    const auto read = fs_.Read(Path("f"), n);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->size(), size);
    ExpectError(fs_.Read(Path("f"), n - 1).status(),
                n == 0 ? absl::StatusCode::kOk : absl::StatusCode::kResourceExhausted, "");
  }
  // 8 TiB that are nowhere: refused by its size, before memory is asked for.
  Put(Path("sparse"), "");
  std::error_code none;
  std::filesystem::resize_file(Path("sparse"), uintmax_t{1} << 43, none);
  if (!none) {
    ExpectError(fs_.Read(Path("sparse"), 1 << 20).status(), absl::StatusCode::kResourceExhausted,
                "8796093022208 bytes; the limit is 1048576");
  }
}

TEST_F(FileSystemTest, AStampShowsWhatChangedThoughSizeAndTimeAreSetBack) {
  Put(Path("f"), "old");
  const timespec times[] = {{0, UTIME_OMIT}, {1'000'000'000, 5}};
  ASSERT_EQ(utimensat(AT_FDCWD, Path("f").c_str(), times, 0), 0);
  const absl::StatusOr<FileStamp> before = fs_.Stamp(Path("f"));
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_EQ(before->size, 3);
  EXPECT_EQ(before->modified, absl::FromUnixSeconds(1'000'000'000) + absl::Nanoseconds(5));
  EXPECT_EQ(*fs_.Stamp(Path("f")), *before);
  // Another file of that name, size and time, as `cp -p` and a rename make it.
  Put(Path("g"), "new");
  ASSERT_EQ(utimensat(AT_FDCWD, Path("g").c_str(), times, 0), 0);
  ASSERT_TRUE(fs_.Rename(Path("g"), Path("f")).ok());
  EXPECT_FALSE(*fs_.Stamp(Path("f")) == *before);
  EXPECT_EQ(fs_.Stamp(Path("f"))->modified, before->modified);
  EXPECT_TRUE(fs_.Stamp(folder_).ok());
  ExpectError(fs_.Stamp(Path("g")).status(), absl::StatusCode::kNotFound, Path("g"));
}

TEST_F(FileSystemTest, AStampOfTheLastTwoSecondsMayNotShowTheNextChange) {
  FileStamp stamp;
  stamp.modified = absl::FromUnixSeconds(1000);
  stamp.changed = absl::FromUnixSeconds(1010);
  EXPECT_FALSE(stamp.ShowsTheNextChange(absl::FromUnixSeconds(1005)));
  EXPECT_FALSE(stamp.ShowsTheNextChange(absl::FromUnixSeconds(1012)));
  EXPECT_TRUE(stamp.ShowsTheNextChange(absl::FromUnixSeconds(1013)));
  stamp.modified = absl::FromUnixSeconds(1013);
  EXPECT_FALSE(stamp.ShowsTheNextChange(absl::FromUnixSeconds(1013)));
}

TEST_F(FileSystemTest, FilesThatDontKnowTheirSizeAreReadToTheEndOrTheLimit) {
  const std::string path = "/proc/self/status";
  if (!fs_.Exists(path)) GTEST_SKIP() << "no /proc here";
  const auto read = fs_.Read(path, 1 << 20);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(*read, HasSubstr("Pid:"));
  ExpectError(fs_.Read(path, 10).status(), absl::StatusCode::kResourceExhausted, "limit of 10");
}

TEST_F(FileSystemTest, WhatIsMissingIsNotFoundAndNamed) {
  const std::string path = Path("none");
  ExpectError(fs_.Read(path, 10).status(), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Map(path).status(), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Size(path).status(), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.List(path).status(), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Canonical(path).status(), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Remove(path), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Rename(path, Path("b")), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.SyncDirectory(path), absl::StatusCode::kNotFound, path);
  ExpectError(fs_.Create(path + "/f").status(), absl::StatusCode::kNotFound, path);
  EXPECT_FALSE(fs_.Exists(path));
  EXPECT_FALSE(fs_.IsDirectory(path));
  EXPECT_TRUE(fs_.RemoveAll(path).ok());
  Put(Path("f"), "");
  EXPECT_TRUE(fs_.RemoveAll(Path("f/below/a/file")).ok());
  ExpectError(fs_.Read(Path("f/x"), 10).status(), absl::StatusCode::kNotFound, Path("f/x"));
}

TEST_F(FileSystemTest, AFolderIsNoFileAndAFileNoFolder) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectError(fs_.Read(folder_, 10).status(), kInvalid, "is a folder; a file is wanted");
  ExpectError(fs_.Map(folder_).status(), kInvalid, "is a folder; a file is wanted");
  ExpectError(fs_.Create(folder_).status(), kInvalid, folder_);
  Put(Path("f"), "x");
  ExpectError(fs_.List(Path("f")).status(), kInvalid, "is not a folder");
  ExpectError(fs_.SyncDirectory(Path("f")), kInvalid, "is not a folder");
  ExpectError(fs_.CreateDirectories(Path("f")), absl::StatusCode::kAlreadyExists, Path("f"));
  ExpectError(fs_.CreateDirectories(Path("f/a/b")), absl::StatusCode::kAlreadyExists, Path("f"));
  EXPECT_TRUE(fs_.Exists(folder_));
  EXPECT_TRUE(fs_.IsDirectory(folder_));
  EXPECT_FALSE(fs_.IsDirectory(Path("f")));
}

TEST_F(FileSystemTest, AFifoIsRefusedRatherThanWaitedFor) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  ExpectError(fs_.Read(Path("fifo"), 10).status(), absl::StatusCode::kInvalidArgument,
              "not a regular file");
  ExpectError(fs_.Map(Path("fifo")).status(), absl::StatusCode::kInvalidArgument,
              "not a regular file");
  ExpectError(fs_.Create(Path("fifo")).status(), absl::StatusCode::kInvalidArgument, "fifo");
}

TEST_F(FileSystemTest, ASocketAsAFileIsToldAsSuch) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = Path("s");
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ExpectError(fs_.Read(path, 10).status(), absl::StatusCode::kInvalidArgument,
              "is a socket; a file is wanted");
  ExpectError(fs_.Map(path).status(), absl::StatusCode::kInvalidArgument,
              "is a socket; a file is wanted");
  close(fd);
}

TEST_F(FileSystemTest, APathWithNulIsRefusedRatherThanCut) {
  Put(Path("f"), "x");
  const std::string path = Path("f") + std::string("\0.png", 5);
  ExpectError(fs_.Read(path, 10).status(), absl::StatusCode::kInvalidArgument, "\\000");
  ExpectError(fs_.Create(path).status(), absl::StatusCode::kInvalidArgument, "NUL");
  ExpectError(fs_.Remove(path), absl::StatusCode::kInvalidArgument, "NUL");
  ExpectError(fs_.RemoveAll(path), absl::StatusCode::kInvalidArgument, "NUL");
  ExpectError(fs_.Rename(Path("f"), path), absl::StatusCode::kInvalidArgument, "NUL");
  EXPECT_FALSE(fs_.Exists(path));
  EXPECT_EQ(Get(Path("f")), "x");
  ExpectError(fs_.Read("", 10).status(), absl::StatusCode::kInvalidArgument, "empty");
}

TEST_F(FileSystemTest, ALongPathMakesAShortMessage) {
  const absl::Status status = fs_.Read(Path(std::string(100'000, 'a')), 10).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_LT(status.message().size(), 1200u);
}

TEST_F(FileSystemTest, AnEmptyFileMapsToNoBytes) {
  Put(Path("f"), "");
  const auto mapped = fs_.Map(Path("f"));
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_TRUE((*mapped)->data().empty());
}

TEST_F(FileSystemTest, AMappingOutlivesItsFilesName) {
  Put(Path("f"), "bytes");
  const auto mapped = fs_.Map(Path("f"));
  ASSERT_TRUE(fs_.Remove(Path("f")).ok());
  EXPECT_EQ((*mapped)->data(), "bytes");
}

TEST_F(FileSystemTest, ListsNamesSortedWithHiddenOnes) {
  for (const char* name : {"b", "a", ".hidden", "c"}) Put(Path(name), "");
  EXPECT_THAT(*fs_.List(folder_), ElementsAre(".hidden", "a", "b", "c"));
}

TEST_F(FileSystemTest, CreatesParentsToo) {
  EXPECT_TRUE(fs_.CreateDirectories(Path("a/b//c/")).ok());
  EXPECT_TRUE(fs_.IsDirectory(Path("a/b/c")));
  EXPECT_TRUE(fs_.CreateDirectories(Path("a/b/c")).ok());
}

TEST_F(FileSystemTest, RenameReplacesAFileAndRefusesAFullFolder) {
  Put(Path("a"), "new");
  Put(Path("b"), "old");
  EXPECT_TRUE(fs_.Rename(Path("a"), Path("b")).ok());
  EXPECT_EQ(Get(Path("b")), "new");
  EXPECT_FALSE(fs_.Exists(Path("a")));
  ASSERT_TRUE(fs_.CreateDirectories(Path("full/x")).ok());
  ASSERT_TRUE(fs_.CreateDirectories(Path("other")).ok());
  ExpectError(fs_.Rename(Path("other"), Path("full")), absl::StatusCode::kAlreadyExists,
              Path("other"));
}

TEST_F(FileSystemTest, CanonicalResolvesLinksAndDots) {
  ASSERT_TRUE(fs_.CreateDirectories(Path("real/in")).ok());
  std::filesystem::create_directory_symlink(Path("real"), Path("link"));
  EXPECT_EQ(*fs_.Canonical(Path("link/in/../in")), Path("real/in"));
  std::filesystem::create_symlink(Path("loop"), Path("loop"));
  ExpectError(fs_.Canonical(Path("loop")).status(), absl::StatusCode::kInvalidArgument,
              Path("loop"));
}

TEST_F(FileSystemTest, CreateDoesNotWriteThroughALink) {
  Put(Path("target"), "precious");
  std::filesystem::create_symlink(Path("target"), Path("link"));
  ExpectError(fs_.Create(Path("link")).status(), absl::StatusCode::kInvalidArgument, Path("link"));
  EXPECT_EQ(Get(Path("target")), "precious");
}

TEST_F(FileSystemTest, AppendingGoesOnAtTheEndOfAFileThatIsThere) {
  Put(Path("f"), "begin");
  {
    auto file = fs_.OpenToAppend(Path("f"));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Append(", and on").ok());
    EXPECT_TRUE((*file)->Sync().ok());
  }
  EXPECT_EQ(Get(Path("f")), "begin, and on");
}

TEST_F(FileSystemTest, AppendingIsForFilesThatAreThereAlone) {
  Put(Path("target"), "precious");
  std::filesystem::create_symlink(Path("target"), Path("link"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(Path("folder"));
  ExpectError(fs_.OpenToAppend(Path("none")).status(), absl::StatusCode::kNotFound, "none");
  for (const char* name : {"link", "fifo", "folder"}) {
    EXPECT_FALSE(fs_.OpenToAppend(Path(name)).ok()) << name;
  }
  // A FIFO that somebody reads can be opened.
  const int reader = open(Path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ExpectError(fs_.OpenToAppend(Path("fifo")).status(), absl::StatusCode::kInvalidArgument,
              "not a regular file");
  close(reader);
  EXPECT_FALSE(std::filesystem::exists(Path("none")));
  EXPECT_EQ(Get(Path("target")), "precious");
}

TEST_F(FileSystemTest, ExaminesWhatIsThereAndNotWhereALinkLeads) {
  Put(Path("f"), "12345");
  std::filesystem::create_directory(Path("folder"));
  std::filesystem::create_symlink(Path("f"), Path("link"));
  std::filesystem::create_directory_symlink(Path("folder"), Path("folder-link"));
  std::filesystem::create_symlink("/nowhere", Path("dangling"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  const auto file = fs_.Examine(Path("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->kind, PathInfo::Kind::kFile);
  EXPECT_EQ(file->bytes, 5);
  EXPECT_EQ(fs_.Examine(Path("folder"))->kind, PathInfo::Kind::kFolder);
  for (const char* name : {"link", "folder-link", "dangling", "fifo"}) {
    EXPECT_EQ(fs_.Examine(Path(name))->kind, PathInfo::Kind::kOther) << name;
  }
  ExpectError(fs_.Examine(Path("none")).status(), absl::StatusCode::kNotFound, "none");
}

TEST_F(FileSystemTest, RemoveAllTakesTheTreeButNotWhereItsLinksLead) {
  ASSERT_TRUE(fs_.CreateDirectories(Path("precious/deep")).ok());
  Put(Path("precious/deep/file"), "x");
  ASSERT_TRUE(fs_.CreateDirectories(Path("tree/a/b")).ok());
  Put(Path("tree/a/b/file"), "x");
  Put(Path("tree/.hidden"), "x");
  std::filesystem::create_directory_symlink(Path("precious"), Path("tree/a/link"));
  std::filesystem::create_symlink(Path("precious/deep/file"), Path("tree/file-link"));
  std::filesystem::create_symlink("/nowhere", Path("tree/dangling"));
  ASSERT_EQ(mkfifo(Path("tree/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(fs_.RemoveAll(Path("tree")).ok());
  EXPECT_FALSE(fs_.Exists(Path("tree")));
  EXPECT_EQ(Get(Path("precious/deep/file")), "x");
}

TEST_F(FileSystemTest, RemoveAllOfALinkRemovesTheLinkAlone) {
  ASSERT_TRUE(fs_.CreateDirectories(Path("precious")).ok());
  Put(Path("precious/file"), "x");
  for (const char* name : {"link", "link/", "link///"}) {
    std::filesystem::create_directory_symlink(Path("precious"), Path("link"));
    EXPECT_TRUE(fs_.RemoveAll(Path(name)).ok()) << name;
    EXPECT_FALSE(std::filesystem::is_symlink(Path("link"))) << name;
  }
  EXPECT_EQ(Get(Path("precious/file")), "x");
}

TEST_F(FileSystemTest, ATreeTakesWhatItsFilesDoButNotWhereItsLinksLead) {
  ASSERT_TRUE(fs_.CreateDirectories(Path("precious")).ok());
  Put(Path("precious/file"), std::string(10 << 20, 'x'));
  ASSERT_TRUE(fs_.CreateDirectories(Path("tree/a/b")).ok());
  std::filesystem::create_directory_symlink(Path("precious"), Path("tree/a/link"));
  std::filesystem::create_symlink(Path("precious/file"), Path("tree/file-link"));
  std::filesystem::create_directory_symlink(Path("tree"), Path("tree/a/loop"));
  ASSERT_EQ(mkfifo(Path("tree/fifo").c_str(), 0600), 0);
  const int64_t before = *fs_.TreeBytes(Path("tree"));
  EXPECT_GE(before, 0);
  EXPECT_LT(before, 1 << 20);
  for (const char* name : {"tree/f", "tree/a/b/.f"}) {
    auto file = *fs_.Create(Path(name));
    ASSERT_TRUE(file->Append(std::string(1 << 20, 'x')).ok());
    ASSERT_TRUE(file->Sync().ok());  // some file systems say only then what it takes
  }
  const int64_t more = *fs_.TreeBytes(Path("tree")) - before;
  EXPECT_GE(more, 2 << 20);
  EXPECT_LT(more, (2 << 20) + (256 << 10));
  EXPECT_LT(*fs_.TreeBytes(Path("tree/file-link")), 1 << 20);
  ExpectError(fs_.TreeBytes(Path("none")).status(), absl::StatusCode::kNotFound, "/none");
}

TEST_F(FileSystemTest, ADiskHasNoMoreFreeThanItHasRoom) {
  const absl::StatusOr<int64_t> free = fs_.FreeBytes(folder_);
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_GT(*free, 0);
  EXPECT_LE(static_cast<uint64_t>(*free), std::filesystem::space(folder_).capacity);
  if (fs_.Exists("/proc/self")) {
    EXPECT_EQ(*fs_.FreeBytes("/proc"), 0);
  }
  ExpectError(fs_.FreeBytes(Path("none")).status(), absl::StatusCode::kNotFound, "/none");
}

TEST_F(FileSystemTest, DescriptorsAreNotLeftOpen) {
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  if (!fs_.Exists("/proc/self/fd")) GTEST_SKIP() << "no /proc here";
  const auto before = open_files();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(fs_.CreateDirectories(Path("a/b")).ok());
    ASSERT_TRUE(WriteFileAtomically(fs_, Path("a/f"), "x").ok());
    ASSERT_TRUE(fs_.Read(Path("a/f"), 10).ok());
    ASSERT_FALSE(fs_.Read(Path("a/f"), 0).ok());
    ASSERT_FALSE(fs_.Read(Path("a"), 10).ok());
    ASSERT_TRUE(fs_.Map(Path("a/f")).ok());
    ASSERT_TRUE(fs_.List(Path("a")).ok());
    ASSERT_TRUE(fs_.RemoveAll(Path("a")).ok());
  }
  EXPECT_EQ(open_files(), before);
}

TEST_F(FileSystemTest, AtomicWritesReplaceTheWholeFileAndLeaveNothingElse) {
  ASSERT_TRUE(WriteFileAtomically(fs_, Path("f"), "first, and longer").ok());
  ASSERT_TRUE(WriteFileAtomically(fs_, Path("f"), "second").ok());
  EXPECT_EQ(Get(Path("f")), "second");
  EXPECT_THAT(*fs_.List(folder_), ElementsAre("f"));
}

TEST_F(FileSystemTest, AFileIsReadInPieces) {
  Put(Path("f"), "0123456789");
  const auto file = fs_.Open(Path("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->size(), 10);
  char piece[4];
  EXPECT_TRUE((*file)->ReadAt(5, absl::MakeSpan(piece)).ok());
  EXPECT_EQ(std::string(piece, 4), "5678");
  EXPECT_TRUE((*file)->ReadAt(0, absl::MakeSpan(piece)).ok());
  EXPECT_EQ(std::string(piece, 4), "0123");
  // What a mapped file would end the process for.
  std::filesystem::resize_file(Path("f"), 3);
  ExpectError((*file)->ReadAt(0, absl::MakeSpan(piece)), absl::StatusCode::kAborted,
              Path("f") + ": ends at 3 bytes");
  ExpectError(fs_.Open(folder_).status(), absl::StatusCode::kInvalidArgument, "is a folder");
}

TEST_F(FileSystemTest, ScratchMemoryHasNoNameAndIsTakenFromTheDisk) {
  constexpr int64_t kBytes = int64_t{4} << 20;
  const auto scratch = fs_.MapScratch(folder_, kBytes);
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  (*scratch)->data()[0] = 'a';
  (*scratch)->data()[kBytes - 1] = 'z';
  EXPECT_EQ((*scratch)->data()[0], 'a');
  EXPECT_EQ((*scratch)->data()[kBytes - 1], 'z');
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  // Not of the heap: what is mapped has its folder.
  std::ifstream maps("/proc/self/maps");
  std::ostringstream text;
  text << maps.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(folder_ + "/"));
}

TEST_F(FileSystemTest, ScratchMemoryThatHasNoRoomIsRefusedBeforehand) {
  ExpectError(fs_.MapScratch(folder_, int64_t{1} << 50).status(),
              absl::StatusCode::kResourceExhausted,
              folder_ + ": has no room for 1125899906842624 bytes: No space left on device");
  ExpectError(fs_.MapScratch(Path("nope"), 1).status(), absl::StatusCode::kNotFound, Path("nope"));
}

TEST_F(FileSystemTest, AnAtomicWriteThatFailsKeepsTheOldFile) {
  Put(Path("f"), "old");
  std::filesystem::create_symlink("/dev/full", Path("f.tmp"));
  EXPECT_FALSE(WriteFileAtomically(fs_, Path("f"), "new").ok());
  EXPECT_EQ(Get(Path("f")), "old");
  // A folder can't be replaced by a file: the temporary one goes again.
  ASSERT_TRUE(fs_.CreateDirectories(Path("folder/in")).ok());
  ExpectError(WriteFileAtomically(fs_, Path("folder"), "new"), absl::StatusCode::kInvalidArgument,
              Path("folder"));
  EXPECT_FALSE(fs_.Exists(Path("folder.tmp")));
  EXPECT_TRUE(fs_.IsDirectory(Path("folder/in")));
}

TEST_F(FileSystemTest, AnAtomicWriteInTheWorkingFolderNeedsNoSlash) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  const absl::Status status = WriteFileAtomically(fs_, "plain", "x");
  std::filesystem::current_path(before);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Get(Path("plain")), "x");
}

}  // namespace
}  // namespace convd
