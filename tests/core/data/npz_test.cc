#include "core/data/npz.h"

#include "core/data/zip_archive.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

struct Shape {
  int height, width, channels;
};

void ExpectSample(const std::string& name, ElementType type, Shape shape) {
  SCOPED_TRACE(name);
  const auto images = ReadNpz(Sample(name), name);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count, 5);
  EXPECT_EQ(images->height, shape.height);
  EXPECT_EQ(images->width, shape.width);
  EXPECT_EQ(images->channels, shape.channels);
  ASSERT_EQ(images->type, type);
  ExpectSamplePixels(*images, type == ElementType::kUint8 ? 0 : 0.25);
  EXPECT_THAT(images->labels, ElementsAre(3, 0, 7, 4, 1));
}

TEST(NpzTest, ReadsWhatNumpyWrites) {
  constexpr Shape kColour{4, 6, 3};
  ExpectSample("u8.npz", ElementType::kUint8, kColour);
  ExpectSample("u8_deflated.npz", ElementType::kUint8, kColour);
  ExpectSample("lower_case.npz", ElementType::kUint8, kColour);
  ExpectSample("i64.npz", ElementType::kUint8, kColour);
  ExpectSample("f32.npz", ElementType::kFloat32, kColour);
  ExpectSample("f64_deflated.npz", ElementType::kFloat32, kColour);
}

TEST(NpzTest, ReadsFortranOrderAndBigEndian) {
  constexpr Shape kColour{4, 6, 3};
  ExpectSample("u8_fortran.npz", ElementType::kUint8, kColour);
  ExpectSample("f32_big_endian.npz", ElementType::kFloat32, kColour);
  ExpectSample("f64_big_endian_fortran.npz", ElementType::kFloat32, kColour);
}

TEST(NpzTest, ChannelsFirstBecomeChannelsLast) {
  constexpr Shape kColour{4, 6, 3};
  ExpectSample("u8_channels_first.npz", ElementType::kUint8, kColour);
  ExpectSample("f32_channels_first_fortran.npz", ElementType::kFloat32, kColour);
}

TEST(NpzTest, ImagesWithoutChannelsHaveOne) {
  ExpectSample("grey_rank3.npz", ElementType::kUint8, {6, 6, 1});
  ExpectSample("grey_flat.npz", ElementType::kUint8, {6, 6, 1});
  ExpectSample("grey_flat_fortran.npz", ElementType::kUint8, {6, 6, 1});
}

TEST(NpzTest, LabelsMayBeOfAnyTypeThatHoldsWholeNumbers) {
  for (const char* type : {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "be_i2", "be_u4",
                           "be_i8", "f2", "f4", "f8", "be_f4", "column"}) {
    const std::string name = std::string("labels_") + type + ".npz";
    if (std::string(type) == "column") {
      ExpectSample("labels_column.npz", ElementType::kUint8, {4, 6, 3});
    } else {
      ExpectSample(name, ElementType::kUint8, {4, 6, 3});
    }
  }
  EXPECT_THAT(ReadNpz(Sample("labels_bool.npz"), "f")->labels, ElementsAre(1, 0, 1, 1, 0));
}

// What make_samples.py says of matrix_KIND.npz.
double MatrixPixel(const std::string& kind, int64_t n, int64_t h, int64_t w, int64_t c) {
  const int value = SamplePixel(n, h, w, c) % 101;
  if (kind == "b1") return value % 2 * 255;
  return value + (kind.find('f') != std::string::npos ? 0.25 : 0);
}

TEST(NpzTest, EveryRealTypeByteOrderAndOrderOfDimensionsIsRead) {
  std::vector<std::string> kinds = {"b1", "i1", "u1"};
  for (const char* wide : {"i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"}) {
    for (const char* order : {"le_", "be_"}) kinds.push_back(std::string(order) + wide);
  }
  for (const std::string& kind : kinds) {
    for (const char* order : {"c", "fortran"}) {
      const std::string name = "matrix_" + kind + "_" + order + ".npz";
      SCOPED_TRACE(name);
      const auto images = ReadNpz(Sample(name), name);
      ASSERT_TRUE(images.ok()) << images.status();
      const bool floats = kind.find('f') != std::string::npos;
      EXPECT_EQ(images->type, floats ? ElementType::kFloat32 : ElementType::kUint8);
      ASSERT_EQ(images->count, 3);
      ASSERT_EQ(images->height, 4);
      ASSERT_EQ(images->width, 5);
      ASSERT_EQ(images->channels, 2);
      EXPECT_THAT(images->labels, ElementsAre(3, 0, 7));
      for (int64_t i = 0; i < 3 * 4 * 5 * 2; ++i) {
        const int64_t n = i / 40, h = i / 10 % 4, w = i / 2 % 5, c = i % 2;
        ASSERT_EQ(PixelAt(*images, n, h, w, c), MatrixPixel(kind, n, h, w, c)) << i;
      }
    }
  }
}

TEST(NpzTest, HalvesAreTheFloatsThatNumpyMakesOfThem) {
  const auto halves = ReadNpz(Sample("halves.npz"), "f");
  const auto floats = ReadNpz(Sample("halves_f32.npz"), "f");
  ASSERT_TRUE(halves.ok()) << halves.status();
  ASSERT_TRUE(floats.ok()) << floats.status();
  ASSERT_EQ(halves->type, ElementType::kFloat32);
  ASSERT_EQ(halves->image_bytes(), 2 * 186 * 4);
  ASSERT_EQ(floats->image_bytes(), 2 * 186 * 4);
  // The sign of zero, too.
  EXPECT_EQ(std::memcmp(halves->pixels, floats->pixels, 2 * 186 * 4), 0);
}

TEST(NpzTest, ReadsEveryVersionOfNpyAndZip64) {
  constexpr Shape kColour{4, 6, 3};
  for (const char* name : {"npy_2.npz", "npy_3.npz", "zip64.npz", "zip64_deflated.npz",
                           // Sizes after the members.
                           "piped.npz"}) {
    ExpectSample(name, ElementType::kUint8, kColour);
  }
}

TEST(NpzTest, SplitsAreThoseOfKerasNames) {
  EXPECT_THAT(*NpzSplits(Sample("keras.npz"), "f"), ElementsAre("train", "test"));
  EXPECT_THAT(*NpzSplits(Sample("keras_train.npz"), "f"), ElementsAre("train"));
  // A pair makes a split, half of one an array of something else; but train and test are meant.
  EXPECT_THAT(*NpzSplits(Sample("keras_and_more.npz"), "f"), ElementsAre("train", "test", "val"));
  EXPECT_THAT(*NpzSplits(Sample("keras_no_y_test.npz"), "f"), ElementsAre("train", "test"));
  EXPECT_THAT(*NpzSplits(Sample("u8.npz"), "f"), ElementsAre());
  EXPECT_THAT(*NpzSplits(Sample("no_x.npz"), "f"), ElementsAre());
  ExpectInvalid(NpzSplits(Sample("keras_hostile.npz"), "f").status(), "\"../up\"");
  DataLimits limits;
  limits.splits = 2;
  ExpectInvalid(NpzSplits(Sample("keras_and_more.npz"), "f", limits).status(),
                "more than 2 splits");
}

TEST(NpzTest, ReadsTheSplitThatIsAskedFor) {
  const auto train = ReadNpz(Sample("keras.npz"), "f", {}, "train");
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->type, ElementType::kUint8);
  EXPECT_EQ(train->height, 6);
  EXPECT_EQ(train->width, 5);
  EXPECT_EQ(train->channels, 1);
  EXPECT_EQ(train->count, 5);
  ExpectSamplePixels(*train, 0);
  EXPECT_THAT(train->labels, ElementsAre(3, 0, 7, 4, 1));
  const auto test = ReadNpz(Sample("keras.npz"), "f", {}, "test");
  ASSERT_TRUE(test.ok()) << test.status();
  ASSERT_EQ(test->count, 2);
  EXPECT_EQ(PixelAt(*test, 1, 2, 3, 0), SamplePixel(6, 2, 3, 0));
  EXPECT_THAT(test->labels, ElementsAre(8, 5));

  // The only one there is need not be named; X and Y are of whatever split they are read for.
  EXPECT_EQ(ReadNpz(Sample("keras_train.npz"), "f")->count, 5);
  EXPECT_EQ(ReadNpz(Sample("u8.npz"), "f", {}, "test")->count, 5);

  ExpectError(ReadNpz(Sample("keras.npz"), "f").status(), absl::StatusCode::kNotFound,
              "f: holds the splits train, test; got none of them");
  ExpectError(ReadNpz(Sample("keras_train.npz"), "f", {}, "test").status(),
              absl::StatusCode::kNotFound, "f: holds the splits train; got \"test\"");
  ExpectError(ReadNpz(Sample("keras_no_y_test.npz"), "f", {}, "test").status(),
              absl::StatusCode::kNotFound, "has no array Y_test");
  ExpectInvalid(ReadNpz(Sample("keras_fewer_labels.npz"), "f", {}, "test").status(),
                "f/y_test.npy: is an int64 array of 1; X_test has 2 images");
}

TEST(NpzTest, WhatIsRefusedIsNamed) {
  const struct {
    const char* file;
    const char* words;
  } cases[] = {
      {"one_hot.npz", "f/Y.npy: is a float32 array of 5x10; want one label an image; one-hot"},
      {"object.npz", "f/Y.npy: holds an array of pickled Python objects"},
      {"object_x.npz", "f/X.npy: holds an array of pickled Python objects"},
      {"structured.npz", "f/Y.npy: holds an array of structures"},
      {"strings.npz", "f/Y.npy: holds an array of strings"},
      {"complex.npz",
       "f/X.npy: has pixels of type complex64; want bool, integers of 0 to 255, float16, float32 "
       "or float64"},
      {"f128.npz", "f/X.npy: has pixels of type float128; want bool"},
      {"beyond_255.npz",
       "f/X.npy: image 2, row 1, column 4, channel 0 is 256 (int16); want integers of 0 to 255, or "
       "float32, which are taken as they are"},
      {"beyond_255_u8.npz", "column 4, channel 0 is 1.84467e+19 (uint64)"},
      {"negative.npz", "image 2, row 1, column 4, channel 0 is -1 (int8)"},
      {"infinite_f16.npz", "image 2, row 1, column 4, channel 0 is inf; want finite values"},
      {"single_x.npz",
       "f/X.npy: is a single uint8 (an array of no dimensions); images are count x height"},
      {"single_y.npz",
       "f/Y.npy: is a single int64 (an array of no dimensions); want an array of count labels"},
      {"both_cases.npz", "f: has both X.npy and x.npy"},
      {"fewer_labels.npz", "f/Y.npy: is an int64 array of 4; X has 5 images; want as many labels"},
      {"no_images.npz", "holds 0 images"},
      {"flat_3072.npz", "its 3072 pixels an image aren't a square of one channel"},
      {"rank1.npz", "images are count x height x width x channels"},
      {"rank5.npz", "images are count x height x width x channels"},
      {"channels_unclear.npz", "which dimension is the channels can't be told"},
      {"no_channels.npz", "which dimension is the channels can't be told"},
      {"nan.npz", "f/X.npy: image 3, row 2, column 1, channel 0 is nan; want finite values"},
      {"beyond_f32.npz", "image 1, row 0, column 5, channel 2 is inf"},
      {"label_1_5.npz", "the label of sample 2 is 1.5; want a whole number of 0 to 16383"},
      {"label_negative.npz", "the label of sample 3 is -1"},
      {"label_nan.npz", "the label of sample 1 is nan"},
      {"label_2_64.npz", "the label of sample 1 is 1.84467e+19"},
      {"bzip2.npz", "f/Y.npy: is compressed by method 12; want 0 (stored) or 8 (deflated)"},
      {"not_npy.npz", "f/X.npy: is a web page"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.file);
    ExpectInvalid(ReadNpz(Sample(c.file), "f").status(), c.words);
  }
}

TEST(NpzTest, AMissingArrayIsNotFoundAndTheOthersListed) {
  ExpectError(
      ReadNpz(Sample("no_y.npz"), "f").status(), absl::StatusCode::kNotFound,
      "f: has no array Y (of X, the images, and Y, the labels); it holds X.npy, labels.npy");
  ExpectError(ReadNpz(Sample("no_x.npz"), "f").status(), absl::StatusCode::kNotFound,
              "has no array X");
  ExpectError(ReadNpz(Sample("climbing.npz"), "f").status(), absl::StatusCode::kNotFound,
              "it holds ../X.npy, /Y.npy");
  ExpectError(ReadNpz(std::string("PK\x05\x06", 4) + std::string(18, '\0'), "f").status(),
              absl::StatusCode::kNotFound, "it holds nothing");
}

TEST(NpzTest, ABombIsRefusedBeforeItIsUnpacked) {
  DataLimits limits;
  limits.decompressed_bytes = 1 << 20;
  ExpectError(ReadNpz(Sample("bomb.npz"), "f", limits).status(), absl::StatusCode::kInvalidArgument,
              "f/X.npy: unpacks to 67108864 bytes; the limit is 1048576");
}

TEST(NpzTest, LimitsHold) {
  DataLimits limits;
  limits.array_elements = 359;
  ExpectError(ReadNpz(Sample("u8.npz"), "f", limits).status(), absl::StatusCode::kInvalidArgument,
              "the limit is 359 elements");
  limits = {};
  limits.samples = 4;
  ExpectError(ReadNpz(Sample("u8.npz"), "f", limits).status(), absl::StatusCode::kInvalidArgument,
              "the limit is 4 images");
  limits = {};
  limits.image_pixels = 23;
  ExpectError(ReadNpz(Sample("u8.npz"), "f", limits).status(), absl::StatusCode::kInvalidArgument,
              "23 pixels");
  // 5 x 4 x 6 x 3 floats of four bytes from halves of two.
  limits = {};
  limits.dataset_bytes = 1439;
  ExpectError(ReadNpz(Sample("f16.npz"), "f", limits).status(), absl::StatusCode::kInvalidArgument,
              "f/X.npy: has pixels of 1440 bytes");
  limits = {};
  limits.classes = 7;
  ExpectInvalid(ReadNpz(Sample("u8.npz"), "f", limits).status(), "sample 2 is 7; want a whole");
}

TEST(NpzTest, EveryTruncationIsRefused) {
  for (const char* name : {"u8.npz", "f64_deflated.npz"}) {
    const std::string whole = Sample(name);
    for (size_t n = 0; n < whole.size(); ++n) {
      const absl::Status status = ReadNpz(whole.substr(0, n), "f").status();
      ASSERT_FALSE(status.ok()) << name << " " << n;
      ASSERT_TRUE(absl::StartsWith(status.message(), "f: ") ||
                  absl::StartsWith(status.message(), "f/"))
          << status;
    }
  }
}

TEST(NpzTest, OtherFilesAreNamed) {
  ExpectInvalid(ReadNpz("", "f").status(), "f: is empty");
  ExpectInvalid(ReadNpz(Sample("v1.npy"), "f").status(), "f: is a single .npy array");
  ExpectInvalid(ReadNpz("<html>", "f").status(), "f: is a web page");
}

TEST(ZipArchiveTest, ChecksTheCrc) {
  std::string bytes = Sample("u8.npz");
  // A pixel in the middle of the stored X.npy.
  const size_t at = bytes.find("NUMPY") + 200;
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  auto archive = ZipArchive::Open(bytes, "f");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_THAT(archive->members(), ElementsAre("X.npy", "Y.npy"));
  ExpectInvalid(archive->Read(0, 1 << 20).status(), "f/X.npy: is damaged: CRC error");
  EXPECT_TRUE(archive->Read(1, 1 << 20).ok());
}

TEST(ZipArchiveTest, ASizeThatCantBeIsRefusedBeforeItIsAllocated) {
  std::string bytes = Sample("bomb.npz");
  // The uncompressed size of X.npy in the central directory, and in the local header.
  const std::string size("\x00\x00\x00\x04", 4);
  for (size_t at = bytes.find(size); at != std::string::npos; at = bytes.find(size, at + 4)) {
    bytes.replace(at, 4, std::string("\x00\x00\x00\x70", 4));
  }
  auto archive = ZipArchive::Open(bytes, "f");
  ASSERT_TRUE(archive.ok()) << archive.status();
  ExpectInvalid(archive->Read(0, int64_t{1} << 40).status(), "which can't be");
}

}  // namespace
}  // namespace convd
