#include "server/predict/prediction_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/server/rpc/fake_models.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Reads and writes end when the test says so.
class FakePipe final : public StreamPipe {
 public:
  void Read(v1::PredictStreamRequest& into) override {
    EXPECT_EQ(reading, nullptr);
    EXPECT_FALSE(end.has_value()) << "a read after the end";
    reading = &into;
  }
  void Write(const v1::PredictStreamResponse& answer) override {
    EXPECT_EQ(writing, nullptr);
    EXPECT_FALSE(end.has_value()) << "a write after the end";
    writing = &answer;
  }
  void Finish(const absl::Status& status) override {
    EXPECT_FALSE(end.has_value()) << "a second end";
    end = status;
  }

  v1::PredictStreamRequest* reading = nullptr;
  const v1::PredictStreamResponse* writing = nullptr;
  std::optional<absl::Status> end;
};

class PredictionStreamTest : public ::testing::Test {
 protected:
  void Open(const StreamLimits& limits = {}, const PredictLimits& predict = {}) {
    models_.Publish("m");
    executor_ = NewHandCrankedExecutor(2);
    queue_ = std::make_unique<PredictQueue>(*executor_, predict);
    predictor_ = std::make_unique<Predictor>(*models_.repository, *queue_);
    // In memory, so that nothing is answered on a thread of its own.
    EXPECT_TRUE(models_.repository->Load(Request(0).request().model(), {}).ok());
    stream_ = std::make_shared<PredictionStream>(
        *predictor_, pipe_,
        StreamHooks{[this] { return wanted_; }, [this] { return admitted_; },
                    [this](absl::StatusCode code, absl::string_view model, absl::Duration) {
                      counted_.push_back(std::string(model) + " " + absl::StatusCodeToString(code));
                    },
                    [this](int64_t bytes) { waiting_ += bytes; }},
        limits);
    stream_->Start();
  }
  static v1::PredictStreamRequest Request(uint64_t id,
                                          const std::vector<int>& classes = {1, 2, 3}) {
    v1::PredictStreamRequest request;
    request.set_id(id);
    request.mutable_request()->mutable_model()->set_name("m");
    *request.mutable_request()->mutable_images() = ImagesOf(classes);
    return request;
  }
  // False where the stream doesn't read.
  bool Send(const v1::PredictStreamRequest& request) {
    if (pipe_.reading == nullptr) return false;
    *std::exchange(pipe_.reading, nullptr) = request;
    stream_->OnRead(true);
    return true;
  }
  // A message that gRPC can't read, of which it leaves what it could.
  void SendBroken() {
    std::exchange(pipe_.reading, nullptr)->set_id(7);
    stream_->OnRead(false);
  }
  void HalfClose() {
    pipe_.reading = nullptr;
    stream_->OnRead(false);
  }
  void Crank() {
    while (executor_->RunOne()) {
    }
  }
  // What is being written, once the client has read it.
  std::optional<v1::PredictStreamResponse> Receive() {
    if (pipe_.writing == nullptr) return std::nullopt;
    v1::PredictStreamResponse answer = *std::exchange(pipe_.writing, nullptr);
    stream_->OnWritten(true);
    return answer;
  }
  std::vector<uint64_t> ReceiveAll() {
    std::vector<uint64_t> ids;
    while (const auto answer = Receive()) ids.push_back(answer->id());
    return ids;
  }

  FakeModels models_;
  std::unique_ptr<HandCrankedExecutor> executor_;
  std::unique_ptr<PredictQueue> queue_;
  std::unique_ptr<Predictor> predictor_;
  FakePipe pipe_;
  absl::Status wanted_, admitted_;
  std::vector<std::string> counted_;
  int64_t waiting_ = 0;  // bytes of answers
  std::shared_ptr<PredictionStream> stream_;
};

TEST_F(PredictionStreamTest, DoesNotTakeAMessageThatIsNoneForTheEnd) {
  Open();
  ASSERT_TRUE(Send(Request(1)));
  SendBroken();
  Crank();
  EXPECT_EQ(ReceiveAll(), std::vector<uint64_t>{1});
  ASSERT_TRUE(pipe_.end.has_value());
  EXPECT_EQ(pipe_.end->code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PredictionStreamTest, AnswersEachByItsIdAndEndsWhenAllAre) {
  Open();
  v1::PredictStreamRequest wrong = Request(8);
  wrong.mutable_request()->mutable_images()->mutable_uint8()->set_height(5);
  ASSERT_TRUE(Send(Request(7, {2})));
  ASSERT_TRUE(Send(wrong));
  ASSERT_TRUE(Send(Request(7, {3, 0}))) << "an id may come twice";
  // The one that is wrong needs no computing, so it is first.
  auto answer = Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 8u);
  EXPECT_EQ(answer->error().code(), 3);  // google.rpc.Code.INVALID_ARGUMENT
  EXPECT_THAT(answer->error().message(), HasSubstr("this model takes 2x3x1"));
  HalfClose();
  EXPECT_FALSE(pipe_.end.has_value());
  Crank();
  answer = Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 7u);
  const auto last = Receive();
  ASSERT_TRUE(last.has_value());
  const bool in_order = answer->response().predictions_size() == 1;
  const v1::PredictStreamResponse& one = in_order ? *answer : *last;
  const v1::PredictStreamResponse& two = in_order ? *last : *answer;
  ASSERT_EQ(one.response().predictions_size(), 1);
  EXPECT_EQ(one.response().predictions(0).top(0).label(), "c2");
  ASSERT_EQ(two.response().predictions_size(), 2);
  EXPECT_EQ(two.response().predictions(0).top(0).label(), "c3");
  ASSERT_TRUE(pipe_.end.has_value());
  EXPECT_TRUE(pipe_.end->ok()) << *pipe_.end;
  EXPECT_THAT(counted_, ElementsAre("m INVALID_ARGUMENT", "m OK", "m OK"));
}

TEST_F(PredictionStreamTest, ReadsNoFurtherWhileTooManyAreUnansweredOrUnread) {
  Open({.requests = 4});
  int sent = 0;
  while (Send(Request(sent))) ++sent;
  EXPECT_EQ(sent, 4);
  Crank();
  EXPECT_EQ(pipe_.reading, nullptr) << "nobody has read an answer yet";
  ASSERT_TRUE(Receive().has_value());
  EXPECT_TRUE(Send(Request(4)));
  EXPECT_FALSE(Send(Request(5)));
  Crank();
  EXPECT_THAT(ReceiveAll(), ::testing::SizeIs(4));
  EXPECT_TRUE(Send(Request(6)));
  Crank();
  ReceiveAll();
}

TEST_F(PredictionStreamTest, TellsOfTheAnswersThatWaitBehindTheOneBeingWritten) {
  Open();
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(Send(Request(i)));
  EXPECT_EQ(waiting_, 0);
  Crank();
  ASSERT_NE(pipe_.writing, nullptr);
  const auto each = static_cast<int64_t>(pipe_.writing->ByteSizeLong());
  EXPECT_GT(each, 0);
  EXPECT_EQ(waiting_, 2 * each);
  Receive();
  EXPECT_EQ(waiting_, each);
  ReceiveAll();
  EXPECT_EQ(waiting_, 0);
}

TEST_F(PredictionStreamTest, CountsTheBytesOfRequestsAndOfWhatTheirAnswersMayTake) {
  const v1::PredictStreamRequest request = Request(1, std::vector<int>(100, 1));
  const auto size = static_cast<int64_t>(request.ByteSizeLong());
  Open({.requests = 1000, .bytes = 3 * size});
  int sent = 0;
  while (Send(request)) ++sent;
  // Each answer may take more than 10 bytes an image, so three requests' bytes come before the
  // third request.
  EXPECT_EQ(sent, 1 + (3 * size - 1) / (size + 100 * 28)) << "answers' bytes count as well";
  Crank();
  ReceiveAll();
  EXPECT_TRUE(Send(request)) << "and don't once they are read";
  Crank();
  // A request beyond all limits comes alone.
  ReceiveAll();
  EXPECT_TRUE(Send(Request(2, std::vector<int>(10'000, 1))));
  EXPECT_EQ(pipe_.reading, nullptr);
  Crank();
  EXPECT_THAT(ReceiveAll(), ElementsAre(2));
}

TEST_F(PredictionStreamTest, WhatTheRateOrTheQueueRefusesIsAnsweredAlone) {
  PredictLimits limits;
  limits.max_waiting_images = 4;
  Open({}, limits);
  ASSERT_TRUE(Send(Request(1, {1, 2, 3})));
  ASSERT_TRUE(Send(Request(2, {1, 2})));
  auto answer = Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 2u);
  EXPECT_EQ(answer->error().code(), 8);  // RESOURCE_EXHAUSTED
  admitted_ = absl::ResourceExhaustedError("too fast");
  ASSERT_TRUE(Send(Request(3, {1})));
  answer = Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 3u);
  EXPECT_EQ(answer->error().message(), "too fast");
  admitted_ = absl::OkStatus();
  Crank();
  EXPECT_THAT(ReceiveAll(), ElementsAre(1));
  EXPECT_FALSE(pipe_.end.has_value());
}

TEST_F(PredictionStreamTest, ComputesNothingForACallerWhoIsGone) {
  int infers = 0;
  models_.on_infer = [&](absl::Span<const ImagePixels>) {
    ++infers;
    return absl::OkStatus();
  };
  Open();
  for (int id = 0; id < 3; ++id) ASSERT_TRUE(Send(Request(id)));
  wanted_ = absl::CancelledError("the caller cancelled");
  stream_->OnCancel();
  EXPECT_FALSE(pipe_.end.has_value()) << "what was begun must be let go first";
  Crank();
  EXPECT_EQ(infers, 0);
  ASSERT_TRUE(pipe_.end.has_value());
  EXPECT_EQ(pipe_.end->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(pipe_.writing, nullptr);
  HalfClose();  // as gRPC ends the read that was under way
  const std::weak_ptr<PredictionStream> gone = stream_;
  stream_ = nullptr;
  EXPECT_TRUE(gone.expired());
}

TEST_F(PredictionStreamTest, AnswersWhatItReadWhenTheServerStops) {
  Open();
  ASSERT_TRUE(Send(Request(1)));
  stream_->Stop();
  ASSERT_NE(pipe_.reading, nullptr) << "was under way";
  ASSERT_TRUE(Send(Request(2)));
  EXPECT_EQ(pipe_.reading, nullptr);
  auto answer = Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->error().code(), 14);  // UNAVAILABLE
  Crank();
  EXPECT_THAT(ReceiveAll(), ElementsAre(1));
  ASSERT_TRUE(pipe_.end.has_value());
  EXPECT_EQ(pipe_.end->code(), absl::StatusCode::kUnavailable);
}

TEST_F(PredictionStreamTest, AStreamNobodyWritesToEndsAtOnceWhenTheServerStops) {
  Open();
  stream_->Stop();
  ASSERT_TRUE(pipe_.end.has_value());
  EXPECT_EQ(pipe_.end->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(counted_, IsEmpty());
}

}  // namespace
}  // namespace convd
