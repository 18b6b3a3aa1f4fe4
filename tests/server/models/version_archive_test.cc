#include "server/models/version_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/models/model_import.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Entry {
  std::string path;
  std::string data;
  int type = AE_IFREG;
  std::string link = {};
};

// As another program would write it.
std::string Tar(const std::vector<Entry>& entries, bool gzip = false) {
  std::string bytes(size_t{1} << 20, '\0');
  size_t used = 0;
  archive* const a = archive_write_new();
  archive_write_set_format_gnutar(a);
  if (gzip) archive_write_add_filter_gzip(a);
  archive_write_open_memory(a, bytes.data(), bytes.size(), &used);
  for (const Entry& e : entries) {
    archive_entry* const entry = archive_entry_new();
    archive_entry_set_pathname(entry, e.path.c_str());
    archive_entry_set_filetype(entry, static_cast<unsigned>(e.type));
    archive_entry_set_perm(entry, 0777);
    archive_entry_set_size(entry, static_cast<la_int64_t>(e.data.size()));
    if (e.type == AE_IFLNK) archive_entry_set_symlink(entry, e.link.c_str());
    if (e.type == AE_IFREG && !e.link.empty()) archive_entry_set_hardlink(entry, e.link.c_str());
    EXPECT_EQ(archive_write_header(a, entry), ARCHIVE_OK) << e.path;
    archive_write_data(a, e.data.data(), e.data.size());
    archive_entry_free(entry);
  }
  archive_write_close(a);
  archive_write_free(a);
  bytes.resize(used);
  return bytes;
}

class VersionArchiveTest : public ModelRepositoryTest {
 protected:
  VersionArchiveTest() {
    MustPublish("m");
    for (const char* file : {"MANIFEST", "model.textproto", "model.onnx"}) {
      whole_.push_back(
          {absl::StrCat("m/1/", file), fs_->Bytes(absl::StrCat("/state/models/m/1/", file))});
    }
  }
  std::string Export(const v1::ModelVersion& id) {
    std::string bytes;
    const absl::Status status = repository_->Export(id, [&](std::string_view data) {
      bytes += data;
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return bytes;
  }
  absl::StatusOr<v1::ModelVersion> Import(std::string_view archive,
                                          const v1::ImportHeader& header = {}) {
    ModelImport import(*fs_, *repository_, repository_->NewTemporary(),
                       [](int64_t) { return absl::OkStatus(); });
    while (!archive.empty()) {
      const std::string_view piece = archive.substr(0, 1000);
      if (absl::Status status = import.Write(piece); !status.ok()) return status;
      archive.remove_prefix(piece.size());
    }
    return import.Commit(header);
  }
  // Nothing but what was there before.
  void ExpectRefused(std::string_view archive, const std::string& why) {
    const absl::Status status = Import(archive).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("data: "), HasSubstr(why)));
    EXPECT_THAT(Listed(), ElementsAre("m/1"));
    EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
  }

  std::vector<Entry> whole_;
};

TEST_F(VersionArchiveTest, ComesBackAsItWentAndSaysWhereItIsFrom) {
  const v1::ModelCard original = repository_->Get(Id("m", 1))->card();
  const std::string archive = Export(Id("m"));
  EXPECT_EQ(Export(Id("m", 1)), archive) << "other bytes for the same version";
  clock_.seconds += 60;
  v1::ImportHeader header;
  header.set_name("other");
  header.set_source("m-1.tar");
  const auto imported = Import(archive, header);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->name(), "other");
  EXPECT_EQ(imported->version(), 1);
  v1::ModelCard card = repository_->Get(*imported)->card();
  EXPECT_EQ(card.imported().model().name(), "m");
  EXPECT_EQ(card.imported().model().version(), 1);
  EXPECT_EQ(card.imported().source(), "m-1.tar");
  EXPECT_EQ(card.imported().created().seconds(), original.created().seconds());
  EXPECT_EQ(card.imported().onnx_sha256().size(), 64u);
  EXPECT_EQ(card.created().seconds(), original.created().seconds() + 60);
  // All else is as it was.
  card.clear_imported();
  *card.mutable_created() = original.created();
  *card.mutable_model() = original.model();
  EXPECT_EQ(card.SerializeAsString(), original.SerializeAsString());
  EXPECT_EQ(*repository_->ReadWeights(*imported), parameters_);
  EXPECT_EQ(fs_->Bytes("/state/models/other/1/model.onnx"),
            fs_->Bytes("/state/models/m/1/model.onnx"));
  EXPECT_EQ(Import(archive)->version(), 2) << "its own name's next version";
  EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
}

TEST_F(VersionArchiveTest, ReadsWhatTarProgramsWrite) {
  std::vector<Entry> entries = {{"m/", "", AE_IFDIR}, {"m/1/", "", AE_IFDIR}};
  entries.insert(entries.end(), whole_.rbegin(), whole_.rend());
  EXPECT_TRUE(Import(Tar(entries)).ok());
}

TEST_F(VersionArchiveTest, RefusesWhatIsNoArchive) {
  EXPECT_EQ(Import("").status().code(), absl::StatusCode::kInvalidArgument);
  ExpectRefused("x", "tar archive");
  ExpectRefused(std::string(5000, 'x'), "tar archive");
  ExpectRefused("<html>" + std::string(1000, ' '), "tar archive");
  ExpectRefused(Tar(whole_, /*gzip=*/true), "tar archive");
}

TEST_F(VersionArchiveTest, RefusesPathsThatLeadElsewhere) {
  for (const char* path :
       {"../m/1/model.onnx", "/m/1/model.onnx", "m/../../model.onnx", "m/1/../model.onnx",
        "m/1/sub/model.onnx", "model.onnx", "m/model.onnx", "m/0/model.onnx", "m/01/model.onnx",
        "m/-1/model.onnx", "m/1/passwd", "m/1/model.onnx.tmp", "./m/1/model.onnx", "m//model.onnx",
        ".m/1/model.onnx", "m/99999999999999999999/model.onnx", "m/1/MANIFEST\n"}) {
    std::vector<Entry> entries = whole_;
    entries[2].path = path;
    ExpectRefused(Tar(entries), "want NAME/VERSION/");
  }
}

TEST_F(VersionArchiveTest, RefusesLinksAndDevices) {
  for (const Entry& link :
       {Entry{"m/1/model.onnx", "", AE_IFLNK, "/etc/passwd"},
        Entry{"m/1/model.onnx", "", AE_IFREG, "m/1/MANIFEST"},
        Entry{"m/1/model.onnx", "", AE_IFIFO, ""}, Entry{"m/1/model.onnx", "", AE_IFCHR, ""}}) {
    std::vector<Entry> entries = whole_;
    entries[2] = link;
    ExpectRefused(Tar(entries), "no regular file");
  }
}

TEST_F(VersionArchiveTest, RefusesMissingFurtherAndMixedFiles) {
  for (size_t i = 0; i < whole_.size(); ++i) {
    std::vector<Entry> entries = whole_;
    entries.erase(entries.begin() + static_cast<int64_t>(i));
    ExpectRefused(Tar(entries), "has no ");
    entries = whole_;
    entries.push_back(whole_[i]);
    ExpectRefused(Tar(entries), "twice");
    entries = whole_;
    entries[i].path.replace(0, 3, "m/2");
    ExpectRefused(Tar(entries), "more than one version");
  }
  std::vector<Entry> entries = whole_;
  entries[0].data += std::string(5000, '\n');
  ExpectRefused(Tar(entries), "want at most 4096");
}

TEST_F(VersionArchiveTest, BelievesNothingThatTheManifestDoesNotSay) {
  for (size_t i = 0; i < whole_.size(); ++i) {
    std::vector<Entry> entries = whole_;
    entries[i].data[entries[i].data.size() / 2] ^= 1;
    const absl::Status status = Import(Tar(entries)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("data: "), testing::Not(HasSubstr("/state/tmp"))));
    EXPECT_THAT(Listed(), ElementsAre("m/1"));
    EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
  }
  // Whole, but another version than the folder says.
  std::vector<Entry> entries = whole_;
  for (Entry& entry : entries) entry.path.replace(0, 3, "m/7");
  EXPECT_EQ(Import(Tar(entries)).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(VersionArchiveTest, IsRefusedOrTheSameWhicheverByteIsDamaged) {
  const std::string archive = Export(Id("m"));
  const std::vector<float> weights = *repository_->ReadWeights(Id("m"));
  for (size_t i = 0; i < archive.size(); ++i) {
    for (bool cut : {false, true}) {
      std::string damaged = cut ? archive.substr(0, i) : archive;
      if (!cut) damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
      const auto imported = Import(damaged);
      if (!imported.ok()) {
        EXPECT_TRUE(absl::IsInvalidArgument(imported.status()) ||
                    absl::IsDataLoss(imported.status()))
            << i << ": " << imported.status();
        continue;
      }
      EXPECT_EQ(*repository_->ReadWeights(*imported), weights) << i;
      EXPECT_TRUE(repository_->Delete(*imported).ok());
    }
  }
  EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
}

TEST_F(VersionArchiveTest, ExportsNothingThatIsDamaged) {
  std::string& onnx = fs_->Bytes("/state/models/m/1/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  int pieces = 0;
  const absl::Status status = repository_->Export(Id("m"), [&](std::string_view) {
    ++pieces;
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(pieces, 0);
}

TEST_F(VersionArchiveTest, StopsWhenNobodyTakesMore) {
  const absl::Status status = repository_->Export(
      Id("m"), [&](std::string_view) { return absl::CancelledError("the caller is gone"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST_F(VersionArchiveTest, AsksForRoomAndLeavesNothingBehind) {
  {
    ModelImport import(*fs_, *repository_, repository_->NewTemporary(),
                       [](int64_t) { return absl::ResourceExhaustedError("full"); });
    EXPECT_EQ(import.Write("x").code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(import.Commit({}).status().code(), absl::StatusCode::kResourceExhausted);
  }
  {
    ModelImport import(*fs_, *repository_, repository_->NewTemporary(),
                       [](int64_t) { return absl::OkStatus(); });
    EXPECT_TRUE(import.Write("x").ok());
  }
  EXPECT_THAT(*fs_->List("/state/tmp"), IsEmpty());
}

TEST_F(VersionArchiveTest, RefusesHeadersThatCannotBe) {
  v1::ImportHeader header;
  header.set_name("../x");
  EXPECT_EQ(Import(Tar(whole_), header).status().code(), absl::StatusCode::kInvalidArgument);
  header.set_name("x");
  header.set_source(std::string(201, 's'));
  EXPECT_EQ(Import(Tar(whole_), header).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace convd
