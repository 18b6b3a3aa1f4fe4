// The ONNX writer, without the engine: ONNX Runtime computes from model.onnx what the reference
// forward pass computes from the graph.

#include "tests/conformance/onnx_runtime.h"

#include "gtest/gtest.h"
#include "tests/conformance/onnx_cases.h"
#include "tests/conformance/onnx_runtime_fixture.h"
#include "tests/core/nn/reference_forward.h"

namespace convd {
namespace {

TEST_P(OnnxRuntimeTest, GivesTheReferencesProbabilities) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase(GetParam(), 60);  // the reference is slow
  ASSERT_TRUE(c.ok()) << c.status();
  absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(c->model, c->images);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  std::vector<double> ours;
  for (int64_t n = 0; n < c->images.count; ++n) {
    const auto* image = reinterpret_cast<const unsigned char*>(c->images.image(n));
    const std::vector<double> pixels(image, image + c->images.image_elements());
    const std::vector<double> row = ReferenceProbabilities(*c->graph, c->parameters, pixels);
    ours.insert(ours.end(), row.begin(), row.end());
  }
  ExpectSame<double>(ours, *theirs, c->graph->classes());
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxRuntimeTest, OnnxRuntimeNetworks(), NetworkTestName);

}  // namespace
}  // namespace convd
