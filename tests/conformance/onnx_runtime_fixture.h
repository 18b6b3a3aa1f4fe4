#ifndef CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_FIXTURE_H_
#define CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tests/conformance/onnx_runtime.h"

namespace convd {

// Skips, or fails, where ONNX Runtime isn't installed.
class OnnxRuntimeFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (OnnxRuntimeInstalled()) return;
    ASSERT_FALSE(OnnxRuntimeRequired())
        << "tests/conformance/node_modules is missing, and CONVD_REQUIRE_CONFORMANCE is set";
    GTEST_SKIP() << "tests/conformance/node_modules is missing: run npm ci --ignore-scripts there, "
                    "or scripts/test --all";
  }

  // Probabilities within 1e-5, and the same class for every image but where two are as probable as
  // that.
  template <typename T>
  static void ExpectSame(absl::Span<const T> ours, absl::Span<const float> theirs,
                         int64_t classes) {
    ASSERT_EQ(ours.size(), theirs.size());
    ASSERT_GT(ours.size(), 0u);
    double largest_difference = 0;
    for (size_t n = 0; n < ours.size(); n += classes) {
      const int64_t our_class = Class(ours.subspan(n, classes));
      const int64_t their_class = Class(theirs.subspan(n, classes));
      if (our_class != their_class) {
        EXPECT_LE(ours[n + our_class] - ours[n + their_class], 1e-5) << "image " << n / classes;
      }
      for (int64_t i = 0; i < classes; ++i) {
        const double difference = std::abs(double{ours[n + i]} - theirs[n + i]);
        // Not std::max, which would pass a NaN by.
        if (!(difference <= largest_difference)) largest_difference = difference;
      }
    }
    EXPECT_LE(largest_difference, 1e-5);
  }

 private:
  template <typename T>
  static int64_t Class(absl::Span<const T> row) {
    return std::max_element(row.begin(), row.end()) - row.begin();
  }
};

// A test for each network that ONNX Runtime is asked about; its parameter is the network's name in
// docs/networks.
class OnnxRuntimeTest : public OnnxRuntimeFixture,
                        public ::testing::WithParamInterface<const char*> {};

inline auto OnnxRuntimeNetworks() {
  return ::testing::Values("keras-mnist", "classic-cifar10", "lenet5", "every-layer");
}

inline std::string NetworkTestName(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace convd

#endif  // CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_FIXTURE_H_
