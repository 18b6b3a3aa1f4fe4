#ifndef CONVD_TESTS_SERVER_PREDICT_HEX_BYTES_H_
#define CONVD_TESTS_SERVER_PREDICT_HEX_BYTES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace convd {

// A file written as two hexadecimal digits a byte. Abseil's HexStringToBytes has one shape on
// Debian 12 and another on 13.
inline std::string HexBytes(absl::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 2 <= hex.size(); i += 2) {
    uint32_t byte = 0;
    EXPECT_TRUE(absl::SimpleHexAtoi(hex.substr(i, 2), &byte)) << hex;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_PREDICT_HEX_BYTES_H_
