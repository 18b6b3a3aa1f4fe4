#include "core/data/gzip.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

// What make_samples.py compresses: 0 to 255, eight times.
std::string Plain() {
  std::string plain;
  for (int i = 0; i < 8 * 256; ++i) plain += static_cast<char>(i % 256);
  return plain;
}

std::string Text(const HeapArray<char>& bytes) {
  return std::string(bytes.data(), static_cast<size_t>(bytes.size()));
}

constexpr int64_t kLimit = 1 << 20;

TEST(GzipTest, InflatesWhatPythonCompressed) {
  for (const char* name : {"plain.gz", "two_members.gz", "named.gz"}) {
    const auto plain = InflateGzip(Sample(name), name, kLimit);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(Text(*plain), Plain()) << name;
  }
  const auto nothing = InflateGzip(Sample("nothing.gz"), "nothing.gz", kLimit);
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(nothing->size(), 0);
}

TEST(GzipTest, TheLimitItselfIsAllowedAndAByteMoreIsNot) {
  EXPECT_TRUE(InflateGzip(Sample("plain.gz"), "f", 2048).ok());
  ExpectError(InflateGzip(Sample("plain.gz"), "f.gz", 2047).status(),
              absl::StatusCode::kInvalidArgument, "f.gz: its ");
  ExpectError(InflateGzip(Sample("two_members.gz"), "f", 1500).status(),
              absl::StatusCode::kInvalidArgument, "limit of 1500");
}

TEST(GzipTest, ABombIsRefusedAtTheLimit) {
  ExpectError(InflateGzip(Sample("bomb.gz"), "bomb.gz", kLimit).status(),
              absl::StatusCode::kInvalidArgument, "limit of 1048576 bytes");
}

TEST(GzipTest, EveryTruncationIsRefused) {
  const std::string whole = Sample("plain.gz");
  for (size_t n = 2; n < whole.size(); ++n) {
    const auto status = InflateGzip(whole.substr(0, n), "f.gz", kLimit).status();
    ExpectInvalid(status,
                  "f.gz: the gzip file is cut short: it ends at offset " + std::to_string(n));
  }
}

TEST(GzipTest, ATruncatedSecondMemberIsRefused) {
  std::string data = Sample("plain.gz") + Sample("plain.gz");
  data.pop_back();
  ExpectInvalid(InflateGzip(data, "f.gz", kLimit).status(), "cut short");
}

TEST(GzipTest, ChecksTheCrcAndTheLength) {
  const std::string whole = Sample("plain.gz");
  std::string crc = whole;
  crc[whole.size() - 8] ^= 1;
  ExpectInvalid(InflateGzip(crc, "f.gz", kLimit).status(), "incorrect data check");
  std::string length = whole;
  length[whole.size() - 4] ^= 1;
  ExpectInvalid(InflateGzip(length, "f.gz", kLimit).status(), "incorrect length check");
}

TEST(GzipTest, TrailingBytesAreRefusedWithTheirOffset) {
  const std::string whole = Sample("plain.gz");
  ExpectInvalid(
      InflateGzip(whole + "rubbish", "f.gz", kLimit).status(),
      "7 bytes that aren't gzip's follow its end at offset " + std::to_string(whole.size()));
}

TEST(GzipTest, SaysWhatAFileIsThatIsNotGzip) {
  ExpectInvalid(
      InflateGzip("<!DOCTYPE html><html><body>404 Not Found", "train.gz", kLimit).status(),
      "train.gz: is a web page (HTML or XML): perhaps a download that failed");
  ExpectInvalid(InflateGzip("\xEF\xBB\xBF \n<HTML>", "f", kLimit).status(), "web page");
  ExpectInvalid(InflateGzip("", "f", kLimit).status(), "f: is empty (0 bytes)");
  ExpectInvalid(InflateGzip("abcd", "f", kLimit).status(), "begin with 61 62 63 64");
  ExpectInvalid(InflateGzip("PK\x03\x04", "f", kLimit).status(), "a zip archive");
}

TEST(GzipTest, FlippedBitsNeverGiveOtherBytes) {
  // FLG, MTIME, XFL, OS and names don't matter to the content.
  const std::string whole = Sample("plain.gz");
  for (size_t at = 10; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto plain = InflateGzip(damaged, "f.gz", kLimit);
      if (plain.ok()) {
        EXPECT_EQ(Text(*plain), Plain()) << at << " " << bit;
      }
    }
  }
}

TEST(GzipTest, APrefixIsAsMuchAsThereIs) {
  EXPECT_EQ(GzipPrefix(Sample("plain.gz"), 5), Plain().substr(0, 5));
  EXPECT_EQ(GzipPrefix(Sample("plain.gz"), 5000), Plain());
  EXPECT_EQ(GzipPrefix(Sample("bomb.gz"), 3), std::string(3, '\0'));
  EXPECT_EQ(GzipPrefix("\x1f\x8b", 5), "");
}

}  // namespace
}  // namespace convd
