#include "core/data/exif.h"

#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

std::string Number(uint32_t value, int size, bool big_endian) {
  std::string bytes;
  for (int i = 0; i < size; ++i) {
    bytes += static_cast<char>(value >> 8 * (big_endian ? size - 1 - i : i));
  }
  return bytes;
}

struct Entry {
  uint32_t tag = 0x0112;
  uint32_t type = 3;
  uint32_t count = 1;
  uint32_t value = 6;
};

// A TIFF file with one directory, by the specification (TIFF 6.0, section 2).
std::string Tiff(const std::vector<Entry>& entries, bool big_endian = true) {
  const auto number = [&](uint32_t value, int size) { return Number(value, size, big_endian); };
  std::string tiff = (big_endian ? "MM" : "II") + number(42, 2) + number(8, 4);
  tiff += number(static_cast<uint32_t>(entries.size()), 2);
  for (const Entry& entry : entries) {
    tiff += number(entry.tag, 2) + number(entry.type, 2) + number(entry.count, 4);
    tiff += entry.type == 3 ? number(entry.value, 2) + number(0, 2) : number(entry.value, 4);
  }
  return tiff + number(0, 4);
}

std::string Marker(uint8_t code, const std::string& data) {
  return std::string{'\xff', static_cast<char>(code)} +
         Number(static_cast<uint32_t>(data.size()) + 2, 2, true) + data;
}

const std::string kStart = "\xff\xd8";
const std::string kExif("Exif\0\0", 6);

TEST(ExifTest, OrientationIsReadInBothByteOrders) {
  for (const bool big_endian : {false, true}) {
    for (uint32_t value = 1; value <= 8; ++value) {
      const Entry maker{0x010f, 2, 6, 38};
      EXPECT_EQ(ExifOrientation(Tiff({maker, {0x0112, 3, 1, value}}, big_endian)), value);
    }
  }
}

TEST(ExifTest, WhatMakesNoSenseIsUpright) {
  EXPECT_EQ(ExifOrientation(Tiff({})), 1);
  EXPECT_EQ(ExifOrientation(Tiff({{0x0112, 3, 1, 0}})), 1);
  EXPECT_EQ(ExifOrientation(Tiff({{0x0112, 3, 1, 9}})), 1);
  EXPECT_EQ(ExifOrientation(Tiff({{0x0112, 3, 2, 6}})), 1) << "two of them";
  EXPECT_EQ(ExifOrientation(Tiff({{0x0112, 4, 1, 6}})), 1) << "32 bits";
  std::string other_order = Tiff({{}});
  other_order[0] = other_order[1] = 'I';
  EXPECT_EQ(ExifOrientation(other_order), 1);
  other_order[0] = 'M';
  EXPECT_EQ(ExifOrientation(other_order), 1);
  for (const char* far : {"\xff\xff\xff\xff", "\x00\x00\xff\xff", "\x80\x00\x00\x00"}) {
    std::string tiff = Tiff({{}});
    tiff.replace(4, 4, std::string(far, 4));
    EXPECT_EQ(ExifOrientation(tiff), 1) << "a directory beyond the end";
  }
  std::string many = Tiff({{0x010f, 2, 6, 38}});
  many.replace(8, 2, "\xff\xff");
  EXPECT_EQ(ExifOrientation(many), 1) << "more entries than there are";
}

TEST(ExifTest, CutAnywhereItIsUprightOrWhole) {
  const std::string whole = Tiff({{0x010f, 2, 6, 38}, {}});
  const size_t enough = whole.size() - 4;  // the next directory's place isn't looked at
  for (size_t n = 0; n <= whole.size(); ++n) {
    // A copy of its own, so that AddressSanitizer sees what lies outside.
    EXPECT_EQ(ExifOrientation(std::string(whole, 0, n)), n < enough ? 1 : 6) << n;
  }
}

TEST(ExifTest, AJpegsFirstExifBlockCounts) {
  const std::string app1 = Marker(0xe1, kExif + Tiff({{}}));
  const std::string other = Marker(0xe1, kExif + Tiff({{0x0112, 3, 1, 3}}));
  const std::string scan = Marker(0xda, "123456");
  EXPECT_EQ(JpegOrientation(kStart + app1 + scan), 6);
  EXPECT_EQ(JpegOrientation(kStart + app1 + other + scan), 6);
  EXPECT_EQ(JpegOrientation(kStart + Marker(0xe0, "JFIF") + "\xff\xff" + app1 + scan), 6);
  EXPECT_EQ(JpegOrientation(kStart + Marker(0xe1, "http://ns.adobe.com/xap/1.0/") + app1), 6);
  EXPECT_EQ(JpegOrientation(kStart + scan + app1), 1) << "after the pixels";
  EXPECT_EQ(JpegOrientation(kStart + "x" + app1), 1) << "not where a marker begins";
  EXPECT_EQ(JpegOrientation(kStart + Marker(0xe2, kExif + Tiff({{}}))), 1) << "another marker";
  EXPECT_EQ(JpegOrientation(kStart + std::string("\xff\xe0\0\1", 4) + app1), 1) << "length 1";
}

TEST(ExifTest, AJpegCutAnywhereIsUprightOrWhole) {
  const std::string whole =
      kStart + Marker(0xe0, "JFIF") + Marker(0xe1, kExif + Tiff({{}})) + Marker(0xda, "123456");
  const size_t enough = whole.size() - 10;
  for (size_t n = 0; n <= whole.size(); ++n) {
    EXPECT_EQ(JpegOrientation(std::string(whole, 0, n)), n < enough ? 1 : 6) << n;
  }
}

}  // namespace
}  // namespace convd
