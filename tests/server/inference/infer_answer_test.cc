#include "server/inference/infer_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/predict/fake_inference_model.h"

namespace convd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr int kClasses = 3;
constexpr int64_t kPlenty = 1 << 20;

// Version 7 of "m"; the third of its classes has no label.
std::shared_ptr<LoadedModel> Model() {
  auto graph = Graph::Create(DenseNetwork(2, 3, 1, kClasses));
  auto model = LoadedFake(std::make_shared<FakeInferenceModel>(*std::move(graph)));
  model->card.mutable_model()->set_name("m");
  model->card.mutable_model()->set_version(7);
  model->card.clear_labels();
  for (const char* label : {"cat", "dog"}) model->card.add_labels(label);
  return model;
}

InferTask Task(int64_t count, bool raw, int classification) {
  InferTask task;
  task.count = count;
  task.raw = raw;
  task.classification = classification;
  return task;
}

void Unexpected(const absl::Status&) { ADD_FAILURE() << "done"; }

// Of two images, the second of which is written first.
ModelInferResponse Answer(bool raw, int classification) {
  ModelInferRequest request;
  request.set_id("request 1");
  ModelInferResponse response;
  int done = 0;
  const auto answer = NewInferAnswer(request, Task(2, raw, classification), Model(), kPlenty,
                                     response, [&](const absl::Status& status) {
                                       EXPECT_TRUE(status.ok()) << status;
                                       ++done;
                                     });
  EXPECT_TRUE(answer.ok()) << answer.status();
  (*answer)->Write(1, {0.25f, 0.125f, 0.625f});
  (*answer)->Write(0, {0.5f, 0.5f, 0.0f});
  EXPECT_EQ(done, 0);
  (*answer)->Done(absl::OkStatus());
  EXPECT_EQ(done, 1);
  return response;
}

TEST(InferAnswerTest, SaysWhoAnsweredWhat) {
  const ModelInferResponse response = Answer(/*raw=*/true, 0);
  EXPECT_EQ(response.model_name(), "m");
  EXPECT_EQ(response.model_version(), "7");
  EXPECT_EQ(response.id(), "request 1");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "probabilities");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(2, 3));
}

TEST(InferAnswerTest, ProbabilitiesComeAsTheRequestCame) {
  // 0.5, 0.5, 0, 0.25, 0.125, 0.625 of IEEE 754 in little-endian order.
  const std::string bytes(
      "\0\0\0\x3F\0\0\0\x3F\0\0\0\0"
      "\0\0\x80\x3E\0\0\0\x3E\0\0\x20\x3F",
      24);
  const ModelInferResponse raw = Answer(/*raw=*/true, 0);
  EXPECT_THAT(raw.raw_output_contents(), ElementsAre(bytes));
  EXPECT_FALSE(raw.outputs(0).has_contents());
  const ModelInferResponse typed = Answer(/*raw=*/false, 0);
  EXPECT_EQ(typed.raw_output_contents_size(), 0);
  EXPECT_THAT(typed.outputs(0).contents().fp32_contents(),
              ElementsAre(0.5f, 0.5f, 0.0f, 0.25f, 0.125f, 0.625f));
}

// As Triton's server writes it: src/classification.cc, std::to_string of the value, the index, and
// the label where there is one.
TEST(InferAnswerTest, ClassesAreTextAsOfTriton) {
  const ModelInferResponse typed = Answer(/*raw=*/false, 2);
  EXPECT_EQ(typed.outputs(0).datatype(), "BYTES");
  EXPECT_THAT(typed.outputs(0).shape(), ElementsAre(2, 2));
  EXPECT_THAT(typed.outputs(0).contents().bytes_contents(),
              ElementsAre("0.500000:0:cat", "0.500000:1:dog", "0.625000:2", "0.250000:0:cat"));

  const ModelInferResponse raw = Answer(/*raw=*/true, 1);
  EXPECT_THAT(raw.outputs(0).shape(), ElementsAre(2, 1));
  EXPECT_FALSE(raw.outputs(0).has_contents());
  EXPECT_THAT(raw.raw_output_contents(), ElementsAre(std::string("\x0E\0\0\0"
                                                                 "0.500000:0:cat"
                                                                 "\x0A\0\0\0"
                                                                 "0.625000:2",
                                                                 4 + 14 + 4 + 10)));
}

TEST(InferAnswerTest, SeveralThreadsWriteAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kImagesEach = 50;
  for (const bool raw : {true, false}) {
    for (const int classification : {0, 1}) {
      ModelInferResponse response;
      const auto answer = NewInferAnswer({}, Task(kThreads * kImagesEach, raw, classification),
                                         Model(), kPlenty, response, [](const absl::Status&) {});
      ASSERT_TRUE(answer.ok()) << answer.status();
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
          for (int i = 0; i < kImagesEach; ++i)
            (*answer)->Write(i * kThreads + t, {0.25f, 0.75f, 0});
        });
      }
      for (std::thread& thread : threads) thread.join();
      (*answer)->Done(absl::OkStatus());
      // As one that a single thread wrote.
      ModelInferResponse expected;
      const auto alone = NewInferAnswer({}, Task(kThreads * kImagesEach, raw, classification),
                                        Model(), kPlenty, expected, [](const absl::Status&) {});
      for (int i = 0; i < kThreads * kImagesEach; ++i) (*alone)->Write(i, {0.25f, 0.75f, 0});
      (*alone)->Done(absl::OkStatus());
      EXPECT_EQ(response.SerializeAsString(), expected.SerializeAsString());
    }
  }
}

TEST(InferAnswerTest, HandsAnErrorOn) {
  ModelInferResponse response;
  absl::Status told;
  const auto answer = NewInferAnswer({}, Task(2, /*raw=*/true, 1), Model(), kPlenty, response,
                                     [&](const absl::Status& status) { told = status; });
  ASSERT_TRUE(answer.ok()) << answer.status();
  (*answer)->Write(0, {0.5f, 0.5f, 0.0f});
  (*answer)->Done(absl::CancelledError("enough"));
  EXPECT_EQ(told, absl::CancelledError("enough"));
}

TEST(InferAnswerTest, RefusesAnswersThatCouldBeTooLong) {
  auto model = Model();
  model->card.set_labels(0, std::string(1000, 'x'));
  ModelInferRequest request;
  request.set_id(std::string(500, 'i'));
  for (const bool raw : {true, false}) {
    for (const int classification : {0, 1, kClasses}) {
      const InferTask task = Task(100, raw, classification);
      ModelInferResponse response;
      const auto answer =
          NewInferAnswer(request, task, model, kPlenty, response, [](const absl::Status&) {});
      ASSERT_TRUE(answer.ok()) << answer.status();
      for (int64_t i = 0; i < 100; ++i) (*answer)->Write(i, {1.0f, 0.0f, 0.0f});
      (*answer)->Done(absl::OkStatus());
      // A byte more than what is allowed is refused, before anything is made.
      ModelInferResponse none;
      const int64_t less = static_cast<int64_t>(response.ByteSizeLong()) - 1;
      const absl::Status refused =
          NewInferAnswer(request, task, model, less, none, Unexpected).status();
      EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << classification;
      EXPECT_THAT(std::string(refused.message()),
                  StartsWith("inputs: the answer for 100 images would take up to "));
      EXPECT_EQ(none.ByteSizeLong(), 0u);
    }
  }
}

}  // namespace
}  // namespace convd
