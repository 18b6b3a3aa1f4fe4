#include "core/data/file_format.h"

#include <utility>

#include "tests/core/data/samples.h"

namespace convd {
namespace {

TEST(FileFormatTest, SaysWhatABeginningIs) {
  EXPECT_EQ(DetectFileFormat(""), FileFormat::kEmpty);
  EXPECT_EQ(DetectFileFormat(Sample("plain.gz")), FileFormat::kGzip);
  EXPECT_EQ(DetectFileFormat(Sample("u8.npz")), FileFormat::kZip);
  EXPECT_EQ(DetectFileFormat(Sample("images_i1.idx")), FileFormat::kIdx);
  EXPECT_EQ(DetectFileFormat(Sample("grey.png")), FileFormat::kPng);
  EXPECT_EQ(DetectFileFormat(Sample("grey.jpg")), FileFormat::kJpeg);
  EXPECT_EQ(DetectFileFormat(" <!DOCTYPE html>"), FileFormat::kWebPage);
  EXPECT_EQ(DetectFileFormat("x"), FileFormat::kUnknown);
  const std::string tar = Sample("archives/ascii_ustar.tar");
  EXPECT_EQ(DetectFileFormat(tar), FileFormat::kTar);
  EXPECT_EQ(DetectFileFormat(tar.substr(0, 511)), FileFormat::kUnknown) << "half a header";
}

// The beginnings are those that file(1) tells these kinds by.
TEST(FileFormatTest, NamesWhatPeopleMayHaveAndNothingReads) {
  const std::pair<std::string, const char*> cases[] = {
      {"GIF89a....", "a GIF image"},
      {std::string("II*\0\x08\0", 6), "a TIFF image"},
      {std::string("MM\0*\0\0", 6), "a TIFF image"},
      {std::string("RIFF\x24\0\0\0WEBPVP8 ", 16), "a WebP image"},
      {"BZh91AY&SY", "a bzip2 file"},
      {std::string("\xfd"
                   "7zXZ\0",
                   6),
       "an xz file"},
      {"\x28\xb5\x2f\xfd.", "a Zstandard file"},
      {"7z\xbc\xaf\x27\x1c", "a 7z archive"},
      {"Rar!\x1a\x07", "a RAR archive"},
  };
  for (const auto& [bytes, what] : cases) {
    EXPECT_EQ(DetectFileFormat(bytes), FileFormat::kUnknown);
    EXPECT_EQ(DescribeFileFormat(bytes), what);
  }
  EXPECT_EQ(DescribeFileFormat("RIFFwav"),
            "of an unknown kind (7 bytes that begin with 52 49 46 46)");
}

}  // namespace
}  // namespace convd
