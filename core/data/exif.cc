#include "core/data/exif.h"

#include <cstddef>
#include <cstdint>

namespace convd {
namespace {

constexpr int kUpright = 1;

// Numbers of either byte order, which are 0 beyond the end.
class TiffBytes {
 public:
  TiffBytes(std::string_view bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  uint32_t Number(size_t at, size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    uint32_t number = 0;
    for (size_t i = 0; i < size; ++i) {
      number = number << 8 | static_cast<uint8_t>(bytes_[at + (big_endian_ ? i : size - 1 - i)]);
    }
    return number;
  }

 private:
  const std::string_view bytes_;
  const bool big_endian_;
};

}  // namespace

int ExifOrientation(std::string_view tiff) {
  const std::string_view order = tiff.substr(0, 2);
  if (order != "II" && order != "MM") return kUpright;
  const TiffBytes bytes(tiff, order == "MM");
  if (bytes.Number(2, 2) != 42) return kUpright;
  // The first directory: a count, then entries of tag, type, count and value.
  constexpr size_t kEntry = 12;
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  const size_t directory = bytes.Number(4, 4);
  const uint32_t entries = bytes.Number(directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntry;
    if (entry + kEntry > tiff.size()) break;
    if (bytes.Number(entry, 2) != kOrientation) continue;
    const uint32_t value = bytes.Number(entry + 8, 2);
    const bool sound = bytes.Number(entry + 2, 2) == kShort && bytes.Number(entry + 4, 4) == 1;
    return sound && value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

int JpegOrientation(std::string_view file) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  const TiffBytes bytes(file, /*big_endian=*/true);
  // After the two bytes of its start: markers, ff and a code, and the length of what follows.
  for (size_t at = 2; bytes.Number(at, 1) == 0xff;) {
    const uint32_t code = bytes.Number(at + 1, 1);
    if (code == 0xff) {  // padding
      ++at;
      continue;
    }
    constexpr uint32_t kApp1 = 0xe1, kScan = 0xda;
    const size_t length = bytes.Number(at + 2, 2);
    if (code == kScan || length < 2 || length > file.size() - at - 2) break;
    const std::string_view data = file.substr(at + 4, length - 2);
    if (code == kApp1 && data.substr(0, kExif.size()) == kExif) {
      return ExifOrientation(data.substr(kExif.size()));
    }
    at += 2 + length;
  }
  return kUpright;
}

}  // namespace convd
