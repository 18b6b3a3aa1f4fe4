// ONNX Runtime agrees with convd about model.onnx: the writer against the reference forward pass,
// and the engine against both.

#include "tests/conformance/onnx_runtime.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "tests/conformance/onnx_cases.h"
#include "tests/core/nn/reference_forward.h"

namespace convd {
namespace {

constexpr double kTolerance = 1e-5;

class OnnxRuntimeTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (OnnxRuntimeInstalled()) return;
    ASSERT_FALSE(OnnxRuntimeRequired())
        << "tests/conformance/node_modules is missing, and CONVD_REQUIRE_CONFORMANCE is set";
    GTEST_SKIP() << "tests/conformance/node_modules is missing: run npm ci --ignore-scripts there, "
                    "or scripts/test --all";
  }
};

template <typename T>
int64_t Class(const T* probabilities, int64_t classes) {
  return std::max_element(probabilities, probabilities + classes) - probabilities;
}

TEST_P(OnnxRuntimeTest, GivesTheReferencesProbabilities) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase(GetParam(), 60);
  ASSERT_TRUE(c.ok()) << c.status();
  absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(c->model, c->images);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  const int64_t classes = c->graph->classes();
  ASSERT_EQ(static_cast<int64_t>(theirs->size()), c->images.count * classes);
  double largest_difference = 0;
  for (int64_t n = 0; n < c->images.count; ++n) {
    const auto* image = reinterpret_cast<const unsigned char*>(c->images.image(n));
    const std::vector<double> ours = ReferenceProbabilities(
        *c->graph, c->parameters, std::vector<double>(image, image + c->images.image_elements()));
    const float* row = theirs->data() + n * classes;
    EXPECT_EQ(Class(ours.data(), classes), Class(row, classes)) << "image " << n;
    for (int64_t i = 0; i < classes; ++i) {
      largest_difference = std::max(largest_difference, std::abs(ours[i] - row[i]));
    }
  }
  EXPECT_LE(largest_difference, kTolerance);
  RecordProperty("largest_difference", std::to_string(largest_difference));
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxRuntimeTest,
                         ::testing::Values("keras-mnist", "classic-cifar10", "every-layer"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace convd
