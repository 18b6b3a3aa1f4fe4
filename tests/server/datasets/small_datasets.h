#ifndef CONVD_TESTS_SERVER_DATASETS_SMALL_DATASETS_H_
#define CONVD_TESTS_SERVER_DATASETS_SMALL_DATASETS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/time/clock.h"

namespace convd {

// Time that stands still.
class StoppedClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'700'000'000); }
  absl::Duration Monotonic() const override { return absl::Seconds(1000); }
};

// IDX files of `labels.size()` images of 2 x 2 equal pixels, and their labels.
inline std::string IdxImages(const std::string& labels, char pixel) {
  return std::string("\0\0\x08\x03\0\0\0", 7) + static_cast<char>(labels.size()) +
         std::string("\0\0\0\2\0\0\0\2", 8) + std::string(4 * labels.size(), pixel);
}
inline std::string IdxLabels(const std::string& labels) {
  return std::string("\0\0\x08\x01\0\0\0", 7) + static_cast<char>(labels.size()) + labels;
}

// MNIST's four files by their usual names: 3 training images of `pixel` with labels 0, 2 and 1, and
// 2 test images of 't' with labels 1 and 3.
inline std::vector<std::pair<std::string, std::string>> SmallMnist(char pixel = 'p') {
  const std::string train("\0\2\1", 3);
  return {{"train-images-idx3-ubyte", IdxImages(train, pixel)},
          {"train-labels-idx1-ubyte", IdxLabels(train)},
          {"t10k-images-idx3-ubyte", IdxImages("\1\3", 't')},
          {"t10k-labels-idx1-ubyte", IdxLabels("\1\3")}};
}

// SHA-256, by Python's hashlib, of the bytes that dataset_folder.h defines for SmallMnist().
inline constexpr char kSmallMnistSha256[] =
    "928b3f33dd3a972e1f75227c979465ff3eba7d5ea6a24b57d546d04a3be11caf";

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_DATASETS_SMALL_DATASETS_H_
