// The engine: ONNX Runtime and the plan behind Predict and Evaluate answer alike, the engine's
// weights being read back out of the same model.onnx.

#include <vector>

#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"
#include "core/onnx/onnx_model.h"
#include "gtest/gtest.h"
#include "tests/conformance/onnx_cases.h"
#include "tests/conformance/onnx_runtime.h"
#include "tests/conformance/onnx_runtime_fixture.h"

namespace convd {
namespace {

TEST_P(OnnxRuntimeTest, GivesTheEnginesProbabilities) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase(GetParam(), 1000);
  ASSERT_TRUE(c.ok()) << c.status();
  absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(c->model, c->images);
  ASSERT_TRUE(theirs.ok()) << theirs.status();

  absl::StatusOr<std::vector<float>> parameters = ReadOnnxParameters(c->model, *c->graph);
  ASSERT_TRUE(parameters.ok()) << parameters.status();
  absl::StatusOr<std::shared_ptr<const InferenceModel>> model =
      CompileInferenceModel(*c->graph, *parameters);
  ASSERT_TRUE(model.ok()) << model.status();
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor();
  std::vector<float> ours(c->images.count * c->graph->classes());
  absl::Status status =
      (*model)->Infer(c->images, absl::MakeSpan(ours), *executor, [] { return false; });
  ASSERT_TRUE(status.ok()) << status;
  ExpectSame<float>(ours, *theirs, c->graph->classes());
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxRuntimeTest, OnnxRuntimeNetworks(), NetworkTestName);

}  // namespace
}  // namespace convd
