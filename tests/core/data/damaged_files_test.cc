// Files that were cut, or whose bits were flipped: whatever a reader says of them, it is either an
// error that names the file or images that make sense. Run under AddressSanitizer too.

#include <functional>

#include "core/data/cifar.h"
#include "core/data/file_tree.h"
#include "core/data/idx.h"
#include "core/data/image_dataset.h"
#include "core/data/image_decode.h"
#include "core/data/image_file.h"
#include "core/data/npz.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using Read = std::function<absl::StatusOr<ImageSet>(const std::string&)>;

struct Case {
  const char* what;
  std::string bytes;
  Read read;
};

// Touches all of it, so that a sanitizer sees what lies outside.
void ExpectSense(const absl::StatusOr<ImageSet>& images) {
  if (!images.ok()) {
    EXPECT_THAT(std::string(images.status().message()), ::testing::StartsWith("f"));
    EXPECT_THAT(images.status().code(),
                ::testing::AnyOf(absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound));
    return;
  }
  EXPECT_GT(images->count, 0);
  EXPECT_GT(images->image_elements(), 0);
  int64_t sum = 0;
  const char* pixels = static_cast<const char*>(images->pixels);
  for (int64_t i = 0; i < images->count * images->image_bytes(); ++i) sum += pixels[i] != 0;
  EXPECT_LE(sum, images->count * images->image_bytes());
  EXPECT_TRUE(images->labels.empty() ||
              static_cast<int64_t>(images->labels.size()) == images->count);
  for (const int32_t label : images->labels) {
    EXPECT_GE(label, 0);
    EXPECT_LT(label, DataLimits().classes);
  }
}

std::vector<Case> Cases() {
  // Small enough that a header which promises more than there is costs nothing.
  static DataLimits limits;
  limits.decompressed_bytes = 1 << 20;
  limits.image_pixels = 1 << 16;
  limits.array_elements = 1 << 20;
  limits.dataset_bytes = 1 << 20;
  const Read any = [](const std::string& bytes) {
    const std::string name = "f";
    return ReadImageFile({bytes, name}, nullptr, limits);
  };
  const Read image = [](const std::string& bytes) { return DecodeImage(bytes, "f", limits); };
  const Read labels = [](const std::string& bytes) {
    return ReadIdx(IdxHeader(8, {3, 1, 2}) + "abcdef", "f", bytes, "f labels", limits);
  };
  std::string cifar;
  for (int i = 0; i < 2; ++i)
    cifar += std::string(1, static_cast<char>(i)) + std::string(3072, 'p');
  std::vector<Case> cases = {
      {"IDX images", IdxHeader(8, {2, 3, 4}) + std::string(24, 'x'), any},
      {"IDX labels", IdxHeader(0xB, {3}) + std::string("\0\1\0\2\0\3", 6), labels},
      {"IDX squares", IdxHeader(0xD, {2, 4}) + std::string(32, 'x'), any},
      {"IDX labels as numbers", Sample("labels_f4.idx"), labels},
      {"CIFAR-10", cifar, any},
      {"gzip", Sample("plain.gz"), any},
  };
  const Read archive = [](const std::string& bytes) -> absl::StatusOr<ImageSet> {
    const auto tree = OpenArchiveTree(bytes, "f", limits);
    if (!tree.ok()) return tree.status();
    const auto dataset = ReadImageDataset(**tree, "f", {}, {}, limits);
    if (!dataset.ok()) return dataset.status();
    return dataset->splits[0].images;
  };
  for (const char* name : {"classes.zip", "classes_stored.zip", "labels.zip"}) {
    cases.push_back({name, Sample(std::string("archives/") + name), archive});
  }
  // One of the two blocks of zeros at its end would do.
  std::string tar = Sample("archives/ascii_ustar.tar");
  tar.resize(tar.size() - 512);
  cases.push_back({"ascii_ustar.tar", tar, archive});
  for (const char* name : {"images_u1.idx.gz",
                           "images_i1.idx",
                           "images_i2.idx",
                           "images_i4.idx",
                           "images_f4.idx",
                           "images_f4.idx.gz",
                           "images_f8.idx",
                           "cifar100.bin",
                           "cifar100.bin.gz",
                           "u8.npz",
                           "u8_deflated.npz",
                           "f64_big_endian_fortran.npz",
                           "labels_column.npz",
                           "grey_flat.npz",
                           "matrix_b1_fortran.npz",
                           "matrix_i1_c.npz",
                           "matrix_le_i2_c.npz",
                           "matrix_be_u8_fortran.npz",
                           "matrix_le_f2_c.npz",
                           "matrix_be_f2_fortran.npz",
                           "npy_2.npz",
                           "npy_3.npz",
                           "zip64.npz",
                           "zip64_deflated.npz",
                           "piped.npz"}) {
    cases.push_back({name, Sample(name), any});
  }
  // With what the conversion to a model's shape reads after decoding.
  const Read converted = [](const std::string& bytes) -> absl::StatusOr<ImageSet> {
    static uint8_t pixels[5 * 7 * 3];
    const absl::Status status = DecodeImage(bytes, "f", {5, 7, 3, /*invert=*/true}, pixels, limits);
    if (!status.ok()) return status;
    return DecodeImage(bytes, "f", limits);
  };
  for (const char* name : {"grey.png", "palette.png", "grey_1_bit.png", "rgb_interlaced.png",
                           "rgb_420.jpg", "rgb_progressive.jpg", "grey.jpg"}) {
    cases.push_back({name, Sample(name), image});
  }
  for (const char* name :
       {"images/grey_2_transparent.png", "images/grey_16_transparent_interlaced.png",
        "images/grey_alpha_8.png", "images/palette_4_transparent.png",
        "images/rgb_8_transparent_interlaced.png", "images/rgb_16.png",
        "images/rgb_alpha_16_interlaced.png", "images/exif_before.png", "images/exif_after.png",
        "images/cmyk.jpg", "images/cmyk_progressive.jpg", "images/ycck.jpg", "images/rgb_adobe.jpg",
        "images/exif_6.jpg", "images/exif_7.jpg"}) {
    cases.push_back({name, Sample(name), converted});
  }
  return cases;
}

TEST(DamagedFilesTest, WholeOnesAreRead) {
  for (const Case& c : Cases()) {
    if (std::string(c.what) == "gzip") continue;  // of no images
    const auto images = c.read(c.bytes);
    EXPECT_TRUE(images.ok()) << c.what << ": " << images.status();
    ExpectSense(images);
  }
}

TEST(DamagedFilesTest, CutAnywhereTheyAreRefused) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.what);
    for (size_t n = 0; n < c.bytes.size(); ++n) {
      // A CIFAR file cut between two records is a shorter one.
      if (n > 0 && DetectCifar(c.bytes.substr(0, n)) != CifarKind::kNone) continue;
      const auto images = c.read(c.bytes.substr(0, n));
      ASSERT_FALSE(images.ok()) << n;
      ExpectSense(images);
    }
  }
}

TEST(DamagedFilesTest, WithABitFlippedTheyAreRefusedOrStillMakeSense) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.what);
    for (size_t at = 0; at < c.bytes.size(); ++at) {
      // All bits near the beginning, where headers are, and one of each byte elsewhere.
      const bool all = at < 256 || at + 256 > c.bytes.size();
      for (int bit = 0; bit < 8; ++bit) {
        if (!all && bit != static_cast<int>(at % 8)) continue;
        std::string damaged = c.bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
        ExpectSense(c.read(damaged));
      }
    }
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

// Its headers have checksums, and so have the PNG files in it.
TEST(DamagedFilesTest, WithABitFlippedATarIsRefusedOrHoldsTheSame) {
  const std::string tar = Sample("archives/ascii_ustar.tar");
  const auto read = [](const std::string& bytes) -> absl::StatusOr<Dataset> {
    const auto tree = OpenArchiveTree(bytes, "f", {});
    if (!tree.ok()) return tree.status();
    return ReadImageDataset(**tree, "f", {}, {}, {});
  };
  const auto want = read(tar);
  ASSERT_TRUE(want.ok()) << want.status();
  const ImageSet& images = want->splits[0].images;
  const size_t size = static_cast<size_t>(images.count * images.image_bytes());
  for (size_t at = 0; at < tar.size(); ++at) {
    std::string damaged = tar;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const auto got = read(damaged);
    if (!got.ok()) continue;
    EXPECT_EQ(got->labels, want->labels) << at;
    ASSERT_EQ(got->splits.size(), 1u) << at;
    ASSERT_EQ(got->splits[0].images.count, images.count) << at;
    EXPECT_EQ(got->splits[0].images.labels, images.labels) << at;
    EXPECT_EQ(std::memcmp(got->splits[0].images.pixels, images.pixels, size), 0) << at;
  }
}

TEST(DamagedFilesTest, WithBytesOverwrittenTheyAreRefusedOrStillMakeSense) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.what);
    for (size_t at = 0; at + 4 <= c.bytes.size(); ++at) {
      if (at > 512 && at % 16 != 0 && at + 512 < c.bytes.size()) continue;
      for (const char* four : {"\xff\xff\xff\xff", "\x7f\xff\xff\xff", "\0\0\0\0", "\x80\0\0\0"}) {
        std::string damaged = c.bytes;
        damaged.replace(at, 4, std::string(four, 4));
        ExpectSense(c.read(damaged));
      }
    }
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace convd
