#include "server/inference/infer_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace convd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using ::testing::ElementsAre;

constexpr int kClasses = 3;
constexpr int64_t kPlenty = 1 << 20;

v1::ModelCard Card() {
  v1::ModelCard card;
  card.mutable_model()->set_name("m");
  card.mutable_model()->set_version(7);
  for (const char* label : {"cat", "dog"}) card.add_labels(label);  // the third class has none
  return card;
}

InferTask Task(int64_t count, bool raw, int classification) {
  InferTask task;
  task.count = count;
  task.raw = raw;
  task.classification = classification;
  return task;
}

// Of two images, the second of which is written first.
ModelInferResponse Answer(bool raw, int classification) {
  const v1::ModelCard card = Card();
  ModelInferRequest request;
  request.set_id("request 1");
  ModelInferResponse response;
  absl::StatusOr<InferAnswer> answer =
      InferAnswer::Create(request, Task(2, raw, classification), card, kClasses, kPlenty, response);
  EXPECT_TRUE(answer.ok()) << answer.status();
  answer->Write(1, {0.25f, 0.125f, 0.625f});
  answer->Write(0, {0.5f, 0.5f, 0.0f});
  answer->Finish();
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

TEST(InferAnswerTest, RefusesAnswersThatCouldBeTooLong) {
  v1::ModelCard card = Card();
  card.set_labels(0, std::string(1000, 'x'));
  for (const bool raw : {true, false}) {
    for (const int classification : {0, 1, kClasses}) {
      ModelInferRequest request;
      request.set_id(std::string(500, 'i'));
      const InferTask task = Task(100, raw, classification);
      ModelInferResponse response;
      absl::StatusOr<InferAnswer> answer =
          InferAnswer::Create(request, task, card, kClasses, kPlenty, response);
      ASSERT_TRUE(answer.ok()) << answer.status();
      for (int64_t i = 0; i < 100; ++i) answer->Write(i, {1.0f, 0.0f, 0.0f});
      answer->Finish();
      // What is one byte more than fits is refused before anything is made.
      ModelInferResponse none;
      const absl::Status refused =
          InferAnswer::Create(request, task, card, kClasses,
                              static_cast<int64_t>(response.ByteSizeLong()) - 1, none)
              .status();
      EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << classification;
      EXPECT_THAT(std::string(refused.message()),
                  ::testing::StartsWith("inputs: the answer for 100 images would take up to "));
      EXPECT_EQ(none.ByteSizeLong(), 0u);
    }
  }
}

}  // namespace
}  // namespace convd
