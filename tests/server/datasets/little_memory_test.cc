// Registering what is larger than the heap may get. RLIMIT_DATA bounds private memory that can be
// written to, and leaves out what is mapped from files: what the kernel can write back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zip.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "core/data/npy.h"
#include "server/datasets/registry.h"
#include "tests/server/datasets/small_datasets.h"

namespace convd {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kImages = 16'384;
constexpr int64_t kPixels = int64_t{64} * 64 * kImages;  // 64 MiB
constexpr int64_t kHeap = int64_t{32} << 20;

// What this process has of it already.
int64_t DataBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "VmData:" && status >> kib) return kib << 10;
  }
  return 0;
}

class LittleMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's shadow is no heap of ours";
#endif
    std::string name = ::testing::TempDir() + "/little_memory_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
    fs::create_directories(root_ + "/data");
    auto opened = DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state",
                                        {root_ + "/data"}, LimitsOnDisk(), [this](int64_t bytes) {
                                          if (bytes <= room_) return absl::OkStatus();
                                          return absl::ResourceExhaustedError("no room");
                                        });
    ASSERT_TRUE(opened.ok()) << opened.status();
    registry_ = *std::move(opened);
  }
  void TearDown() override {
    registry_ = nullptr;
    fs::remove_all(root_);
  }

  // Registers under the name of the file with no more than kHeap bytes of heap.
  absl::StatusOr<v1::Dataset> RegisterInLittleMemory(const std::string& images,
                                                     const std::string& labels) {
    v1::RegisterDatasetRequest request;
    request.set_name("d");
    request.set_path(".");
    v1::SplitFiles& files = *request.add_files();
    files.set_split("train");
    files.add_images(images);
    if (!labels.empty()) files.add_labels(labels);
    return InLittleMemory([&] { return registry_->Register(request); });
  }
  static absl::StatusOr<v1::Dataset> InLittleMemory(
      const std::function<absl::StatusOr<v1::Dataset>()>& call) {
    rlimit before;
    EXPECT_EQ(getrlimit(RLIMIT_DATA, &before), 0);
    rlimit little = before;
    little.rlim_cur = static_cast<rlim_t>(DataBytes() + kHeap);
    EXPECT_EQ(setrlimit(RLIMIT_DATA, &little), 0);
    absl::StatusOr<v1::Dataset> result = call();
    EXPECT_EQ(setrlimit(RLIMIT_DATA, &before), 0);
    return result;
  }

  // Rows of pixels that count up, and labels 0, 1, 2, 0, ...
  static std::string PixelRow(int image) {
    std::string row(64 * 64, '\0');
    for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<char>(i + image);
    return row;
  }
  static std::string Labels() {
    std::string labels;
    for (int i = 0; i < kImages; ++i) labels += static_cast<char>(i % 3);
    return labels;
  }
  void PutIdx(bool gzip) {
    const std::string images("\0\0\x08\x03\0\0\x40\0\0\0\0\x40\0\0\0\x40", 16);
    if (gzip) {
      gzFile file = gzopen((root_ + "/data/images").c_str(), "wb1");
      gzwrite(file, images.data(), static_cast<unsigned>(images.size()));
      for (int i = 0; i < kImages; ++i) gzwrite(file, PixelRow(i).data(), 64 * 64);
      EXPECT_EQ(gzclose(file), Z_OK);
    } else {
      std::ofstream file(root_ + "/data/images", std::ios::binary);
      file << images;
      for (int i = 0; i < kImages; ++i) file << PixelRow(i);
    }
    std::ofstream(root_ + "/data/labels", std::ios::binary)
        << std::string("\0\0\x08\x01\0\0\x40\0", 8) << Labels();
  }
  void ExpectWhole(const absl::StatusOr<v1::Dataset>& dataset) {
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->splits(0).samples(), kImages);
    EXPECT_NEAR(dataset->pixels().mean(0), 127.5, 1e-9);
    const auto loaded = registry_->Load("d");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const ImageSet& images = (*loaded)->splits[0].images;
    for (const int image : {0, 1, kImages - 1}) {
      EXPECT_EQ(std::string(images.image(image), 64 * 64), PixelRow(image)) << image;
      EXPECT_EQ(images.labels[image], image % 3);
    }
    EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
  }

  StoppedClock clock_;
  std::string root_;
  int64_t room_ = std::numeric_limits<int64_t>::max();
  std::unique_ptr<DatasetRegistry> registry_;
};

TEST_F(LittleMemoryTest, AnIdxFileIsRegistered) {
  PutIdx(/*gzip=*/false);
  ExpectWhole(RegisterInLittleMemory("images", "labels"));
}

TEST_F(LittleMemoryTest, WhatAGzipFileUnpacksToIs) {
  PutIdx(/*gzip=*/true);
  ExpectWhole(RegisterInLittleMemory("images", "labels"));
}

TEST_F(LittleMemoryTest, WhatAnNpzUnpacksToIs) {
  const std::string file = root_ + "/data/d.npz";
  zip_t* const zip = zip_open(file.c_str(), ZIP_CREATE, nullptr);
  ASSERT_NE(zip, nullptr);
  std::string x = NpyFileHeader("|u1", {kImages, 64, 64});
  for (int i = 0; i < kImages; ++i) x += PixelRow(i);
  std::string y = NpyFileHeader("|u1", {kImages}) + Labels();
  for (const auto& [name, bytes] : {std::pair{"X.npy", &x}, std::pair{"Y.npy", &y}}) {
    zip_source_t* const source = zip_source_buffer(zip, bytes->data(), bytes->size(), 0);
    ASSERT_GE(zip_file_add(zip, name, source, 0), 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
  x = std::string();
  ExpectWhole(RegisterInLittleMemory("d.npz", ""));
}

TEST_F(LittleMemoryTest, AnUploadIs) {
  PutIdx(/*gzip=*/false);
  v1::UploadHeader header;
  header.set_name("d");
  v1::SplitFiles& files = *header.add_files();
  files.set_split("train");
  files.add_images("images");
  files.add_labels("labels");
  const auto upload = registry_->BeginUpload(header);
  ASSERT_TRUE(upload.ok()) << upload.status();
  std::string piece(1 << 20, '\0');
  for (const char* name : {"images", "labels"}) {
    std::ifstream file(root_ + "/data/" + name, std::ios::binary);
    while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) ||
           file.gcount() > 0) {
      ASSERT_TRUE(
          (*upload)
              ->Write(name, 0, std::string_view(piece.data(), static_cast<size_t>(file.gcount())))
              .ok());
    }
  }
  ExpectWhole(InLittleMemory([&] { return (*upload)->Commit(); }));
}

TEST_F(LittleMemoryTest, RoomOnTheDiskIsAskedForFirst) {
  PutIdx(/*gzip=*/false);
  room_ = kPixels - 1;
  const absl::Status status = RegisterInLittleMemory("images", "labels").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("images: no room"));
  EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
}

}  // namespace
}  // namespace convd
