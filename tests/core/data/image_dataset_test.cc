#include "core/data/image_dataset.h"

#include "core/data/dataset_files.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// What FindDatasetFiles finds in samples/archives, read.
absl::StatusOr<Dataset> Read(const std::string& name, const ImageSize& size = {},
                             const std::vector<std::string>& labels = {},
                             const DataLimits& limits = {}) {
  FileSystem& fs = FileSystem::Posix();
  const std::string path = CONVD_SOURCE_DIR "/tests/core/data/samples/archives/" + name;
  const auto found = FindDatasetFiles(fs, path, name, {}, limits);
  if (!found.ok()) return found.status();
  return ReadDatasetFiles(fs, *found, labels, limits, size);
}

// That image i of a split is image `n` of make_archives.py.
void ExpectImage(const ImageSet& images, int64_t i, int64_t n) {
  for (int h = 0; h < images.height; ++h) {
    for (int w = 0; w < images.width; ++w) {
      ASSERT_EQ(PixelAt(images, i, h, w, 0), SamplePixel(n, h, w, 0)) << n << " " << h << " " << w;
    }
  }
}

TEST(ImageDatasetTest, AFolderAClassIsTheSameHoweverItIsPacked) {
  for (const char* name :
       {"classes", "classes.zip", "classes_stored.zip", "classes.tar.gz", "classes_pax.tar.gz"}) {
    SCOPED_TRACE(name);
    const auto dataset = Read(name);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_THAT(dataset->labels, ElementsAre("cat", "dog", "\xc3\xa9l\xc3\xa9phant"));
    ASSERT_EQ(dataset->splits.size(), 1u);
    EXPECT_EQ(dataset->splits[0].name, "train");
    const ImageSet& images = dataset->splits[0].images;
    ASSERT_EQ(images.count, 5);
    EXPECT_EQ(images.height, 4);
    EXPECT_EQ(images.width, 6);
    EXPECT_EQ(images.channels, 1);
    // Of the cats the first, second and third stand at 1/6, 3/6 and 5/6, the others at 1/2.
    EXPECT_THAT(images.labels, ElementsAre(0, 0, 1, 2, 0));
    const int64_t order[] = {0, 1, 3, 4, 2};
    for (int64_t i = 0; i < 5; ++i) ExpectImage(images, i, order[i]);
  }
}

TEST(ImageDatasetTest, FoldersOfSplitsShareTheClassesOfAll) {
  for (const char* name : {"splits", "splits.zip", "splits.tgz"}) {
    SCOPED_TRACE(name);
    const auto dataset = Read(name);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_THAT(dataset->labels, ElementsAre("cat", "dog", "eel"));
    ASSERT_EQ(dataset->splits.size(), 2u);
    EXPECT_EQ(dataset->splits[0].name, "train");
    EXPECT_THAT(dataset->splits[0].images.labels, ElementsAre(0, 1));
    ExpectImage(dataset->splits[0].images, 0, 2);
    ExpectImage(dataset->splits[0].images, 1, 3);
    EXPECT_EQ(dataset->splits[1].name, "test");
    EXPECT_THAT(dataset->splits[1].images.labels, ElementsAre(1, 2));
    ExpectImage(dataset->splits[1].images, 0, 0);
    ExpectImage(dataset->splits[1].images, 1, 1);
  }
}

TEST(ImageDatasetTest, ListsSayWhichImagesThereAre) {
  for (const char* name : {"labels", "labels.zip", "labels.tar.gz"}) {
    SCOPED_TRACE(name);
    const auto dataset = Read(name);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->labels.size(), 11u) << "0 to the largest";
    ASSERT_EQ(dataset->splits.size(), 1u);
    const ImageSet& images = dataset->splits[0].images;
    ASSERT_EQ(images.count, 3);
    EXPECT_THAT(images.labels, ElementsAre(7, 10, 7));
    ExpectImage(images, 0, 0);
    ExpectImage(images, 1, 1);
    ExpectImage(images, 2, 3);
  }
  // Without any folder, and a list a split.
  const auto dataset = Read("split_lists.zip");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->labels, ElementsAre("a", "b"));
  EXPECT_THAT(dataset->Find("train")->images.labels, ElementsAre(1, 0));
  EXPECT_THAT(dataset->Find("test")->images.labels, ElementsAre(0));
  ExpectImage(dataset->Find("test")->images, 0, 3);
}

TEST(ImageDatasetTest, GivenLabelsSayWhichClassesThereAreAndTheirOrder) {
  const auto dataset = Read("splits", {}, {"eel", "bat", "dog", "cat"});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->labels, ElementsAre("eel", "bat", "dog", "cat"));
  EXPECT_THAT(dataset->splits[0].images.labels, ElementsAre(3, 2));
  EXPECT_THAT(dataset->splits[1].images.labels, ElementsAre(2, 0));
  ExpectInvalid(Read("splits", {}, {"cat", "dog"}).status(),
                "Test/eel/d.png: is of class \"eel\"; want one that `labels` names");
}

TEST(ImageDatasetTest, WhatIsNoImageOrLiesElsewhereIsRefusedByName) {
  for (const char* kind : {".zip", ".tar.gz"}) {
    const auto refused = [&](const std::string& reason) {
      return Read("refused_" + reason + kind).status();
    };
    ExpectInvalid(refused("text"), "/cat/notes.txt: is of an unknown kind (8 bytes");
    ExpectInvalid(refused("nested"), "/cat/more/b.png: lies in a folder below a class's");
    ExpectInvalid(refused("beside"), "/b.png: lies beside the classes' folders");
    ExpectInvalid(refused("parent"), "..");
  }
}

TEST(ImageDatasetTest, TheDecodedImagesAreBoundedBeforeMemoryIsAskedFor) {
  DataLimits limits;
  limits.dataset_bytes = 5 * (4 * 6 + 4);
  EXPECT_TRUE(Read("classes.zip", {}, {}, limits).ok());
  --limits.dataset_bytes;
  ExpectError(Read("classes.zip", {}, {}, limits).status(), absl::StatusCode::kInvalidArgument,
              "classes.zip: its images of 4x6x1 uint8 have more bytes");
  limits = {};
  limits.samples = 4;
  ExpectError(Read("classes", {}, {}, limits).status(), absl::StatusCode::kInvalidArgument,
              "the limit is 4 images");
  limits = {};
  limits.classes = 2;
  ExpectInvalid(Read("classes", {}, {}, limits).status(), "more classes than the limit of 2");
}

TEST(ImageDatasetTest, ASizeIsForImageFilesAndMakesSense) {
  ExpectInvalid(Read("../u8.npz", {4, 6, 1}).status(), "image_size: is for PNG and JPEG files");
  ExpectInvalid(Read("classes", {0, 6, 1}).status(), "image_size.height: got 0; want 1 to 65535");
  ExpectInvalid(Read("classes", {4, -1, 1}).status(), "image_size.width: got -1");
  ExpectInvalid(Read("classes", {4, 6, 2}).status(), "image_size.channels: got 2; want 1 (grey)");
  ExpectInvalid(Read("classes", {1, 65'536, 1}).status(), "image_size.width: got 65536; want 1 to");
  ExpectError(Read("classes", {60'000, 60'000, 1}).status(), absl::StatusCode::kInvalidArgument,
              "image_size: says");
}

TEST(ImageDatasetTest, WithoutASizeAllImagesHaveOneShape) {
  ExpectInvalid(Read("sizes.zip").status(),
                "sizes.zip/dog/c.png: is 5x6x1 (height x width x channels), but "
                "sizes.zip/cat/a.png is 4x6x1");
  ExpectInvalid(Read("colours.tar.gz").status(),
                "colours.tar.gz/dog/b.png: is 4x6x3 (height x width x channels), but "
                "colours.tar.gz/cat/a.png is 4x6x1");
  const auto rgb = Read("rgb.zip");
  ASSERT_TRUE(rgb.ok()) << rgb.status();
  const ImageSet& images = rgb->splits[0].images;
  EXPECT_EQ(images.channels, 3);
  ExpectSamplePixels(images, 0);
  EXPECT_EQ(Read("rgb.zip", {4, 6, 0})->splits[0].images.channels, 3);
}

TEST(ImageDatasetTest, ASizeBringsAllImagesToIt) {
  for (const int channels : {0, 1, 3}) {
    SCOPED_TRACE(channels);
    const auto dataset = Read("mixed.zip", {3, 4, channels});
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    const ImageSet& images = dataset->splits[0].images;
    EXPECT_EQ(images.height, 3);
    EXPECT_EQ(images.width, 4);
    EXPECT_EQ(images.channels, channels == 1 ? 1 : 3);
    const std::string want = Sample("archives/mixed_" + std::to_string(images.channels) + ".raw");
    ASSERT_EQ(images.count * images.image_bytes(), static_cast<int64_t>(want.size()));
    EXPECT_EQ(std::memcmp(images.pixels, want.data(), want.size()), 0);
  }
  // All grey, though not of one size.
  EXPECT_EQ(Read("sizes.zip", {3, 4, 0})->splits[0].images.channels, 1);
  ExpectInvalid(Read("mixed.zip").status(), "dog/c.png: is 2x2x3");
}

TEST(ImageDatasetTest, WithoutChannelsGreyImagesStayGrey) {
  const auto dataset = Read("classes", {4, 6, 0});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->splits[0].images.channels, 1);
  ExpectImage(dataset->splits[0].images, 4, 2);
}

}  // namespace
}  // namespace convd
