#ifndef CONVD_TESTS_CORE_DATA_SAMPLES_H_
#define CONVD_TESTS_CORE_DATA_SAMPLES_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "core/data/dataset.h"

namespace convd {

inline std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A file that make_samples.py wrote.
inline std::string Sample(const std::string& name) {
  return ReadWhole(std::string(CONVD_SOURCE_DIR "/tests/core/data/samples/") + name);
}

// What make_samples.py says of its arrays.
inline int SamplePixel(int64_t n, int64_t h, int64_t w, int64_t c) {
  return static_cast<int>((37 * n + 11 * h + 5 * w + 3 * c) % 251);
}
inline int SampleLabel(int64_t n) { return static_cast<int>((7 * n + 3) % 10); }

inline double PixelAt(const ImageSet& images, int64_t n, int64_t h, int64_t w, int64_t c) {
  const int64_t i = (h * images.width + w) * images.channels + c;
  if (images.type == ElementType::kUint8) {
    return static_cast<unsigned char>(images.image(n)[i]);
  }
  float value;
  std::memcpy(&value, images.image(n) + i * 4, 4);
  return value;
}

// Every pixel and label is what make_samples.py says.
inline void ExpectSamplePixels(const ImageSet& images, double offset) {
  for (int64_t n = 0; n < images.count; ++n) {
    for (int h = 0; h < images.height; ++h) {
      for (int w = 0; w < images.width; ++w) {
        for (int c = 0; c < images.channels; ++c) {
          ASSERT_EQ(PixelAt(images, n, h, w, c), SamplePixel(n, h, w, c) + offset)
              << n << " " << h << " " << w << " " << c;
        }
      }
    }
  }
}

inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(words));
}
inline void ExpectInvalid(const absl::Status& status, const std::string& words) {
  ExpectError(status, absl::StatusCode::kInvalidArgument, words);
}

// An IDX header: 00 00, type, rank, big-endian sizes.
inline std::string IdxHeader(int type, const std::vector<uint32_t>& dims) {
  std::string header = {0, 0, static_cast<char>(type), static_cast<char>(dims.size())};
  for (const uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) header += static_cast<char>(dim >> shift);
  }
  return header;
}

}  // namespace convd

#endif  // CONVD_TESTS_CORE_DATA_SAMPLES_H_
