#include "core/data/idx.h"

#include <numeric>

#include "core/data/gzip.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::string Numbers(int n) {
  std::string bytes;
  for (int i = 0; i < n; ++i) bytes += static_cast<char>(i);
  return bytes;
}

// Two images of 2 x 3, by hand.
std::string Images() { return IdxHeader(8, {2, 2, 3}) + Numbers(12); }

TEST(IdxTest, ReadsImagesRowByRow) {
  const auto images = ReadIdxImages(Images(), "f");
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count, 2);
  EXPECT_EQ(images->height, 2);
  EXPECT_EQ(images->width, 3);
  EXPECT_EQ(images->channels, 1);
  EXPECT_EQ(images->type, ElementType::kUint8);
  EXPECT_TRUE(images->labels.empty());
  EXPECT_EQ(PixelAt(*images, 1, 1, 2, 0), 11);
  EXPECT_EQ(PixelAt(*images, 0, 1, 0, 0), 3);
}

TEST(IdxTest, AFourthDimensionIsChannels) {
  const auto images = ReadIdxImages(IdxHeader(8, {1, 2, 2, 3}) + Numbers(12), "f");
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->channels, 3);
  EXPECT_EQ(PixelAt(*images, 0, 1, 0, 2), 8);
}

TEST(IdxTest, TheResultOutlivesTheBytes) {
  ImageSet images;
  {
    std::string bytes = Images();
    images = *ReadIdxImages(bytes, "f");
    bytes.assign(bytes.size(), 'x');
  }
  EXPECT_EQ(PixelAt(images, 1, 1, 2, 0), 11);
}

TEST(IdxTest, TwoDimensionsAreImagesThatAreSquares) {
  const auto images = ReadIdxImages(IdxHeader(8, {3, 4}) + Numbers(12), "f");
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count, 3);
  EXPECT_EQ(images->height, 2);
  EXPECT_EQ(images->width, 2);
  EXPECT_EQ(images->channels, 1);
  EXPECT_EQ(PixelAt(*images, 2, 1, 0, 0), 10);
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {2, 6}) + Numbers(12), "f").status(),
                "f: holds a uint8 array of 2x6; its 6 pixels an image aren't a square");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {2, 0}), "f").status(), "2 images of 0x0x1");
}

TEST(IdxTest, EveryTypeIsReadAsNumpyWritesIt) {
  for (const char* kind : {"u1", "i1", "i2", "i4", "f4", "f8"}) {
    SCOPED_TRACE(kind);
    const std::string suffix = std::string("_") + kind + ".idx";
    const auto images =
        ReadIdx(Sample("images" + suffix), "images", Sample("labels" + suffix), "labels");
    ASSERT_TRUE(images.ok()) << images.status();
    const bool floats = kind[0] == 'f';
    EXPECT_EQ(images->type, floats ? ElementType::kFloat32 : ElementType::kUint8);
    ASSERT_EQ(images->count, 3);
    ASSERT_EQ(images->height, 4);
    ASSERT_EQ(images->width, 5);
    ASSERT_EQ(images->channels, 1);
    for (int64_t i = 0; i < 3 * 4 * 5; ++i) {
      const int64_t n = i / 20, h = i / 5 % 4, w = i % 5;
      ASSERT_EQ(PixelAt(*images, n, h, w, 0), SamplePixel(n, h, w, 0) % 101 + (floats ? 0.25 : 0));
    }
    EXPECT_THAT(images->labels, ElementsAre(3, 0, 7));
  }
}

TEST(IdxTest, TypesAreReadOutOfGzip) {
  for (const std::string kind : {"u1", "f4"}) {
    const auto images = ReadIdxImages(Sample("images_" + kind + ".idx.gz"), "f");
    const auto plain = ReadIdxImages(Sample("images_" + kind + ".idx"), "f");
    ASSERT_TRUE(images.ok()) << images.status();
    ASSERT_EQ(images->type, plain->type);
    ASSERT_EQ(images->count, 3);
    ASSERT_EQ(images->image_bytes(), plain->image_bytes());
    EXPECT_EQ(std::memcmp(images->pixels, plain->pixels, 3 * plain->image_bytes()), 0);
  }
}

TEST(IdxTest, NumbersThatAreNoPixelsAreNamed) {
  ExpectInvalid(ReadIdxImages(IdxHeader(9, {1, 1, 2}) + "\x01\xff", "f").status(),
                "f: image 0, row 0, column 1, channel 0 is -1 (int8); want integers of 0 to 255");
  ExpectInvalid(
      ReadIdxImages(IdxHeader(0xC, {1, 1, 1}) + std::string("\x7f\xff\xff\xff", 4), "f").status(),
      "is 2147483647 (int32)");
  ExpectInvalid(
      ReadIdxImages(IdxHeader(0xD, {1, 1, 1}) + std::string("\x7f\x80\0\0", 4), "f").status(),
      "is inf; want finite values");
}

TEST(IdxTest, ReadsLabelsOfAnyTypeThatHoldsWholeNumbers) {
  EXPECT_THAT(ReadIdxLabels(IdxHeader(8, {3}) + std::string("\x00\x09\xff", 3), "f")->span(),
              ElementsAre(0, 9, 255));
  EXPECT_THAT(ReadIdxLabels(IdxHeader(9, {2}) + std::string("\x00\x7f", 2), "f")->span(),
              ElementsAre(0, 127));
  EXPECT_THAT(ReadIdxLabels(IdxHeader(0xB, {2}) + std::string("\x01\x02\x00\x05", 4), "f")->span(),
              ElementsAre(258, 5));
  EXPECT_THAT(ReadIdxLabels(IdxHeader(0xC, {1}) + std::string("\x00\x00\x02\x01", 4), "f")->span(),
              ElementsAre(513));
  // struct.pack(">f", 5), and a column.
  EXPECT_THAT(ReadIdxLabels(IdxHeader(0xD, {1}) + std::string("\x40\xa0\0\0", 4), "f")->span(),
              ElementsAre(5));
  EXPECT_THAT(ReadIdxLabels(IdxHeader(8, {2, 1}) + "\x01\x02", "f")->span(), ElementsAre(1, 2));
}

TEST(IdxTest, LabelsThatCantBeAreNamed) {
  ExpectInvalid(ReadIdxLabels(IdxHeader(9, {2}) + "\x01\xff", "f").status(),
                "f: the label of sample 1 is -1; want a whole number of 0 to 16383");
  ExpectInvalid(
      ReadIdxLabels(IdxHeader(0xC, {1}) + std::string("\x7f\xff\xff\xff", 4), "f").status(),
      "sample 0 is 2147483647");
  // struct.pack(">f", 1.5)
  ExpectInvalid(ReadIdxLabels(IdxHeader(0xD, {1}) + std::string("\x3f\xc0\0\0", 4), "f").status(),
                "sample 0 is 1.5; want a whole number");
  ExpectInvalid(ReadIdxLabels(IdxHeader(0xC, {1, 2}) + std::string(8, '\0'), "f").status(),
                "f: holds an int32 array of 1x2; labels are an array of count, or count x 1");
  ExpectInvalid(ReadIdxLabels(Images(), "f").status(), "this looks like a file of images");
}

TEST(IdxTest, WholeIsWhatEndsWhereItsHeaderSays) {
  EXPECT_TRUE(IsWholeIdx(Images()));
  EXPECT_FALSE(IsWholeIdx(Images() + '\0'));
  EXPECT_FALSE(IsWholeIdx(Images().substr(0, 27)));
  EXPECT_FALSE(IsWholeIdx(Images().substr(0, 9)));
  EXPECT_FALSE(IsWholeIdx(""));
  // Whatever the elements are.
  EXPECT_TRUE(IsWholeIdx(IdxHeader(0xD, {1, 1, 1}) + "\x7f\x80\x80\x80"));
  EXPECT_TRUE(IsWholeIdx(IdxHeader(8, {0xFFFFFFFF, 0xFFFFFFFF, 0})));
  EXPECT_FALSE(IsWholeIdx(IdxHeader(0xE, {0x80000000, 0x80000000, 0x80000000, 0x80000000})));
}

TEST(IdxTest, EveryTruncationAndEveryByteTooManyIsRefused) {
  const std::string whole = Images();
  for (size_t n = 0; n < whole.size(); ++n) {
    ExpectInvalid(ReadIdxImages(whole.substr(0, n), "f").status(), "f: ");
  }
  ExpectInvalid(ReadIdxImages(whole.substr(0, 27), "f").status(),
                "f: is cut short: its header says a uint8 array of 2x2x3, which ends at offset "
                "28; the file (unpacked) has 27 bytes");
  ExpectInvalid(ReadIdxImages(whole + '\0', "f").status(), "bytes past its end");
}

TEST(IdxTest, OtherFilesAreNamed) {
  ExpectInvalid(ReadIdxImages("", "f").status(), "f: is empty (0 bytes); want an IDX file");
  ExpectInvalid(ReadIdxImages("<html></html>", "f").status(), "f: is a web page");
  ExpectInvalid(ReadIdxImages("\xff" + Images().substr(1), "f").status(), "ff 00 08 03");
  ExpectInvalid(ReadIdxImages(IdxHeader(7, {2, 2, 3}), "f").status(), "want an IDX file");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {1, 1, 1, 1, 1}), "f").status(),
                "f: begins as an IDX file of 5 dimensions; want 1 to 4");
  ExpectInvalid(ReadIdxImages(IdxHeader(0xD, {}), "f").status(), "IDX file of 0 dimensions");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {5}) + "abcde", "f").status(),
                "this looks like a file of labels");
}

TEST(IdxTest, SizesAreBoundedBeforeAnythingIsAllocated) {
  constexpr uint32_t kMax = 0xFFFFFFFF;
  for (const std::vector<uint32_t>& dims :
       std::vector<std::vector<uint32_t>>{{kMax, kMax, kMax},
                                          {1, kMax, kMax},
                                          {kMax, 1, 1},
                                          {kMax, kMax, kMax, kMax},
                                          {1, 1, 1, kMax},
                                          {100'000, 4096, 4096}}) {
    ExpectError(ReadIdxImages(IdxHeader(8, dims), "f").status(), absl::StatusCode::kInvalidArgument,
                "limit");
  }
  ExpectError(ReadIdxLabels(IdxHeader(8, {kMax}), "f").status(), absl::StatusCode::kInvalidArgument,
              "limit");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {0, 28, 28}), "f").status(), "f: holds 0 images");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {5, 0, 28}), "f").status(), "5 images of 0x28x1");
  ExpectInvalid(ReadIdxImages(IdxHeader(8, {5, 28, 28, 0}), "f").status(), "28x28x0");
}

TEST(IdxTest, ImagesAndLabelsMustBeAsMany) {
  ExpectInvalid(ReadIdx(Images(), "images", IdxHeader(8, {3}) + "\1\2\3", "labels").status(),
                "labels: has 3 labels, but images has 2 images; want as many");
  const auto both = ReadIdx(Images(), "images", IdxHeader(8, {2}) + "\4\2", "labels");
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_THAT(both->labels, ElementsAre(4, 2));
}

// Debian's dataset-fashion-mnist: 60,000 and 10,000 images, 6,000 and 1,000 a class, a mean pixel
// of 0.2860 (as PyTorch's users know it).
TEST(IdxTest, ReadsFashionMnist) {
  const std::string folder = "/usr/share/datasets/fashion-mnist/";
  for (const auto& [stem, count] : {std::pair{"train", 60'000}, std::pair{"t10k", 10'000}}) {
    const auto set = ReadIdx(ReadWhole(folder + stem + "-images-idx3-ubyte.gz"), "images",
                             ReadWhole(folder + stem + "-labels-idx1-ubyte.gz"), "labels");
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->count, count);
    EXPECT_EQ(set->height, 28);
    EXPECT_EQ(set->width, 28);
    const auto* pixels = static_cast<const uint8_t*>(set->pixels);
    const double sum = std::accumulate(pixels, pixels + int64_t{784} * count, 0.0);
    EXPECT_NEAR(sum / 255 / 784 / count, stem[0] == 't' && stem[1] == 'r' ? 0.2860 : 0.2868,
                0.00005);
    std::vector<int> classes(10);
    for (const int32_t label : set->labels) ++classes.at(label);
    EXPECT_THAT(classes, Each(count / 10));
  }
}

TEST(IdxTest, ReadsMnist) {
  const std::string folder = CONVD_SOURCE_DIR "/../shared/data/mnist/";
  if (!std::ifstream(folder + "train-images-idx3-ubyte.gz").good()) {
    GTEST_SKIP() << "MNIST isn't beside the checkout, in ../shared/data/mnist";
  }
  const auto set = ReadIdx(ReadWhole(folder + "train-images-idx3-ubyte.gz"), "images",
                           ReadWhole(folder + "train-labels-idx1-ubyte.gz"), "labels");
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->count, 60'000);
  const auto* pixels = static_cast<const uint8_t*>(set->pixels);
  const double sum = std::accumulate(pixels, pixels + int64_t{784} * set->count, 0.0);
  EXPECT_NEAR(sum / 255 / 784 / 60'000, 0.1307, 0.00005);
  EXPECT_THAT(set->labels.subspan(0, 5), ElementsAre(5, 0, 4, 1, 9));
}

}  // namespace
}  // namespace convd
