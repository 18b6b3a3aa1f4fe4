// The engine: ONNX Runtime and the plan behind Predict and Evaluate answer alike, the engine's
// weights being read back out of the same model.onnx.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "gtest/gtest.h"
#include "tests/conformance/onnx_cases.h"
#include "tests/conformance/onnx_runtime.h"
#include "tests/conformance/onnx_runtime_fixture.h"

namespace convd {
namespace {

// What Predict answers with the weights that are in `onnx`.
absl::StatusOr<std::vector<float>> EngineProbabilities(const Graph& graph, const std::string& onnx,
                                                       const ImageSet& images) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<float> parameters, ReadOnnxParameters(onnx, graph));
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const InferenceModel> model,
                         CompileInferenceModel(graph, parameters));
  // As Predict runs it: on workers, in pieces that fill one well.
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  const int64_t classes = graph.classes();
  const int64_t piece = model->preferred_images();
  const int64_t pieces = (images.count + piece - 1) / piece;
  std::vector<float> ours(images.count * classes);
  std::vector<absl::Status> statuses(pieces);
  executor->ForEach(Lane::kPredict, pieces, [&](int64_t i) {
    const int64_t count = std::min(piece, images.count - i * piece);
    statuses[i] = model->Infer(images.Slice(i * piece, count),
                               absl::MakeSpan(ours).subspan(i * piece * classes, count * classes),
                               *executor, [] { return false; });
  });
  for (const absl::Status& status : statuses) CONVD_RETURN_IF_ERROR(status);
  return ours;
}

TEST_P(OnnxRuntimeTest, GivesTheEnginesProbabilities) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase(GetParam(), 1000);
  ASSERT_TRUE(c.ok()) << c.status();
  absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(c->model, c->images);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  absl::StatusOr<std::vector<float>> ours = EngineProbabilities(*c->graph, c->model, c->images);
  ASSERT_TRUE(ours.ok()) << ours.status();
  ExpectSame<float>(*ours, *theirs, c->graph->classes());
}

TEST_P(OnnxRuntimeTest, GivesThemAtAnyOpsetAndEntry) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase(GetParam(), 20);
  ASSERT_TRUE(c.ok()) << c.status();
  absl::StatusOr<std::vector<float>> ours = EngineProbabilities(*c->graph, c->model, c->images);
  ASSERT_TRUE(ours.ok()) << ours.status();
  for (int opset = kMinOpset; opset <= kMaxOpset; ++opset) {
    for (OnnxEntry entry : {OnnxEntry::kUint8Nhwc, OnnxEntry::kUint8Nchw, OnnxEntry::kFloat32Nhwc,
                            OnnxEntry::kFloat32Nchw}) {
      SCOPED_TRACE(absl::StrCat("opset ", opset, ", entry ", static_cast<int>(entry)));
      absl::StatusOr<std::string> onnx = WriteOnnx(*c->graph, c->parameters, {}, {opset, entry});
      ASSERT_TRUE(onnx.ok()) << onnx.status();
      absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(*onnx, c->images, entry);
      ASSERT_TRUE(theirs.ok()) << theirs.status();
      ExpectSame<float>(*ours, *theirs, c->graph->classes());
    }
  }
}

class NoObserver : public TrainingObserver {
 public:
  void OnProgress(const TrainingProgress&) override {}
  void OnEpoch(const v1::EpochRecord&) override {}
  bool Cancelled() const override { return false; }
};

// Random weights give flat probabilities; these are as a user's are, over a whole test set.
class TrainedOnnxTest : public OnnxRuntimeFixture {};

TEST_F(TrainedOnnxTest, AgreesOverTenThousandImages) {
  absl::StatusOr<OnnxCase> c = LoadOnnxCase("keras-mnist", 10000);
  ASSERT_TRUE(c.ok()) << c.status();
  constexpr int64_t kTrain = 20000;
  const auto pixels = FashionMnist("train-images-idx3-ubyte.gz", 16, kTrain * 28 * 28);
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  const auto labels = FashionMnist("train-labels-idx1-ubyte.gz", 8, kTrain);
  ASSERT_TRUE(labels.ok()) << labels.status();
  TrainingData data;
  data.train.count = kTrain;
  data.train.height = data.train.width = 28;
  data.train.channels = 1;
  data.train.pixels = pixels->data();
  const std::vector<int32_t> classes(labels->begin(), labels->end());
  data.train.labels = classes;
  data.labels.assign(10, "");
  v1::TrainRequest request;
  request.set_epochs(1);
  ASSERT_TRUE(ResolveTraining(request).ok());
  {
    std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
    auto trainer = Trainer::Create(*c->graph, request, data, *executor, Clock::Real());
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    NoObserver nobody;
    const absl::Status trained = (*trainer)->Run(nobody);
    ASSERT_TRUE(trained.ok()) << trained;
    ASSERT_GT((*trainer)->history().back().accuracy(), 0.6) << "learnt nothing";
    c->parameters = (*trainer)->parameters();
  }
  absl::StatusOr<std::vector<float>> ours;
  for (OnnxEntry entry : {OnnxEntry::kUint8Nhwc, OnnxEntry::kUint8Nchw, OnnxEntry::kFloat32Nhwc,
                          OnnxEntry::kFloat32Nchw}) {
    absl::StatusOr<std::string> onnx = WriteOnnx(*c->graph, c->parameters, {}, {kMaxOpset, entry});
    ASSERT_TRUE(onnx.ok()) << onnx.status();
    if (entry == OnnxEntry::kUint8Nhwc) ours = EngineProbabilities(*c->graph, *onnx, c->images);
    ASSERT_TRUE(ours.ok()) << ours.status();
    absl::StatusOr<std::vector<float>> theirs = RunOnnxRuntime(*onnx, c->images, entry);
    ASSERT_TRUE(theirs.ok()) << theirs.status();
    ExpectSame<float>(*ours, *theirs, c->graph->classes());
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxRuntimeTest, OnnxRuntimeNetworks(), NetworkTestName);

}  // namespace
}  // namespace convd
