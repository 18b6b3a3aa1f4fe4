// The engine: ONNX Runtime and the plan behind Predict and Evaluate answer alike, the engine's
// weights being read back out of the same model.onnx.

#include <algorithm>
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
  // As Predict runs it: on workers, in pieces that fill one well.
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  const int64_t classes = c->graph->classes();
  const int64_t piece = (*model)->preferred_images();
  const int64_t pieces = (c->images.count + piece - 1) / piece;
  std::vector<float> ours(c->images.count * classes);
  std::vector<absl::Status> statuses(pieces);
  executor->ForEach(Lane::kPredict, pieces, [&](int64_t i) {
    const int64_t count = std::min(piece, c->images.count - i * piece);
    statuses[i] =
        (*model)->Infer(c->images.Slice(i * piece, count),
                        absl::MakeSpan(ours).subspan(i * piece * classes, count * classes),
                        *executor, [] { return false; });
  });
  for (const absl::Status& status : statuses) ASSERT_TRUE(status.ok()) << status;
  ExpectSame<float>(ours, *theirs, classes);
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxRuntimeTest, OnnxRuntimeNetworks(), NetworkTestName);

}  // namespace
}  // namespace convd
