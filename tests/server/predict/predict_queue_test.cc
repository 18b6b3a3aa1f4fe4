#include "server/predict/predict_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/predict/predictor.h"
#include "tests/core/time/hand_clock.h"
#include "tests/server/predict/fake_inference_model.h"
#include "tests/server/predict/hex_bytes.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kClasses = 4;
constexpr size_t kImageBytes = 6;  // 2 x 3 x 1

// One image a class asked for: its first byte is the class, the rest is zero.
v1::PredictRequest Request(const std::vector<int>& classes) {
  v1::PredictRequest request;
  v1::RawImages& raw = *request.mutable_images()->mutable_uint8();
  raw.set_count(static_cast<int64_t>(classes.size()));
  raw.set_height(2);
  raw.set_width(3);
  raw.set_channels(1);
  for (int c : classes) {
    std::string image(kImageBytes, '\0');
    image[0] = static_cast<char>(c);
    *raw.mutable_data() += image;
  }
  return request;
}

StillWanted Always() {
  return [] { return absl::OkStatus(); };
}

// A request on its way, and what became of it.
struct Sent {
  v1::PredictRequest request;
  v1::PredictResponse response;
  int answers = 0;
  absl::Status status;
};

class PredictQueueTest : public ::testing::Test {
 protected:
  PredictQueueTest()
      : model_(std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                    /*preferred_images=*/2)),
        loaded_(LoadedFake(model_)) {}

  void Open(int workers = 1, const PredictLimits& limits = {}) {
    executor_ = NewHandCrankedExecutor(workers);
    queue_ = std::make_unique<PredictQueue>(*executor_, limits);
  }

  std::unique_ptr<Sent> Send(v1::PredictRequest request, StillWanted still_wanted = Always()) {
    auto sent = std::make_unique<Sent>();
    sent->request = std::move(request);
    PredictWith(*queue_, loaded_, sent->request, sent->response, std::move(still_wanted),
                [sent = sent.get()](absl::Status status) {
                  ++sent->answers;
                  sent->status = std::move(status);
                });
    return sent;
  }
  void RunAll() {
    while (executor_->RunOne()) {
    }
  }

  std::shared_ptr<FakeInferenceModel> model_;
  std::shared_ptr<LoadedModel> loaded_;
  std::unique_ptr<HandCrankedExecutor> executor_;
  std::unique_ptr<PredictQueue> queue_;
};

TEST_F(PredictQueueTest, AnswersEveryImageInTheRequestsOrder) {
  for (int workers : {1, 2, 3, 8}) {
    Open(workers);
    v1::PredictRequest request = Request({3, 0, 2, 1, 3});
    request.set_top_k(2);
    auto sent = Send(request);
    EXPECT_EQ(sent->answers, 0) << "computed on the caller's thread";
    RunAll();
    ASSERT_EQ(sent->answers, 1);
    ASSERT_TRUE(sent->status.ok()) << sent->status;
    EXPECT_EQ(sent->response.model().name(), "fake");
    EXPECT_EQ(sent->response.model().version(), 3);
    ASSERT_EQ(sent->response.predictions_size(), 5);
    const int want[] = {3, 0, 2, 1, 3};
    for (int i = 0; i < 5; ++i) {
      const v1::Prediction& p = sent->response.predictions(i);
      ASSERT_EQ(p.top_size(), 2);
      EXPECT_EQ(p.top(0).index(), want[i]);
      EXPECT_EQ(p.top(0).label(), "class " + std::to_string(want[i]));
      EXPECT_FLOAT_EQ(p.top(0).probability(), 0.4f);  // 4 parts of 10
      EXPECT_EQ(p.top(1).index(), (want[i] + 1) % 4);
      EXPECT_FLOAT_EQ(p.top(1).probability(), 0.3f);
      EXPECT_EQ(p.probabilities_size(), 0);
    }
  }
}

TEST_F(PredictQueueTest, SendsEveryProbabilityWhenAsked) {
  Open();
  v1::PredictRequest request = Request({1});
  request.set_probabilities(true);
  auto sent = Send(request);
  RunAll();
  ASSERT_TRUE(sent->status.ok());
  ASSERT_EQ(sent->response.predictions(0).top_size(), 1);
  EXPECT_EQ(sent->response.predictions(0).top(0).index(), 1);
  EXPECT_THAT(sent->response.predictions(0).probabilities(), ElementsAre(0.1f, 0.4f, 0.3f, 0.2f));
}

TEST_F(PredictQueueTest, SplitsIntoPiecesOfTheModelsSize) {
  std::vector<int64_t> pieces;
  model_->on_infer = [&](absl::Span<const ImagePixels> images) {
    pieces.push_back(static_cast<int64_t>(images.size()));
    return absl::OkStatus();
  };
  Open();
  auto sent = Send(Request({0, 1, 2, 3, 0}));
  RunAll();
  EXPECT_THAT(pieces, ElementsAre(2, 2, 1));
}

TEST_F(PredictQueueTest, RefusesABadRequestAtOnceAndComputesNothing) {
  Open();
  v1::PredictRequest too_many = Request({0});
  too_many.set_top_k(5);
  v1::PredictRequest misshapen = Request({0});
  misshapen.mutable_images()->mutable_uint8()->set_width(2);
  v1::PredictRequest none;
  for (const v1::PredictRequest& request : {too_many, misshapen, none}) {
    auto sent = Send(request);
    EXPECT_EQ(sent->answers, 1);
    EXPECT_EQ(sent->status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
}

TEST_F(PredictQueueTest, TellsOfAValueThatIsNotFiniteByItsPlaceInTheRequest) {
  Open();
  v1::PredictRequest request;
  v1::RawImages& raw = *request.mutable_images()->mutable_float32();
  raw.set_count(3);
  raw.set_height(2);
  raw.set_width(3);
  raw.set_channels(1);
  std::vector<float> values(18, 1.0f);
  values[12] = std::numeric_limits<float>::quiet_NaN();
  raw.set_data(values.data(), values.size() * sizeof(float));
  auto sent = Send(request);
  RunAll();
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(sent->status.message()), HasSubstr("image 2, row 0, column 0"));
}

TEST_F(PredictQueueTest, DropsACancelledRequestBeforeItIsComputed) {
  Open();
  absl::Status wanted;
  auto sent = Send(Request({0, 1, 2, 3}), [&] { return wanted; });
  wanted = absl::CancelledError("gone");
  RunAll();
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status, absl::CancelledError("gone"));
  EXPECT_EQ(model_->infer_calls, 0);
}

TEST_F(PredictQueueTest, RefusesWhatIsCancelledOnArrival) {
  Open();
  auto sent = Send(Request({0}), [] { return absl::DeadlineExceededError("late"); });
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status, absl::DeadlineExceededError("late"));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
}

TEST_F(PredictQueueTest, StopsBetweenPiecesAtTheDeadline) {
  Open();
  absl::Status wanted;
  auto sent = Send(Request({0, 1, 2, 3, 0, 1}), [&] { return wanted; });
  ASSERT_TRUE(executor_->RunOne());
  EXPECT_EQ(model_->infer_calls, 1);
  wanted = absl::DeadlineExceededError("late");
  RunAll();
  EXPECT_EQ(model_->infer_calls, 1);
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status, absl::DeadlineExceededError("late"));
}

TEST_F(PredictQueueTest, StopsInsideAPieceAtACut) {
  absl::Status wanted;
  model_->on_infer = [&](absl::Span<const ImagePixels>) {
    wanted = absl::DeadlineExceededError("late");
    return absl::OkStatus();
  };
  Open();
  auto sent = Send(Request({0, 1}), [&] { return wanted; });
  RunAll();
  EXPECT_EQ(sent->answers, 1);
  // What the caller is told is why, not the model's own word for it.
  EXPECT_EQ(sent->status, absl::DeadlineExceededError("late"));
}

TEST_F(PredictQueueTest, EndsTheRequestWithTheErrorOfOnePiece) {
  model_->on_infer = [&](absl::Span<const ImagePixels> images) -> absl::Status {
    if (*static_cast<const uint8_t*>(images[0].data) == 2) return absl::InternalError("broken");
    return absl::OkStatus();
  };
  Open();
  auto sent = Send(Request({0, 0, 2, 0, 0, 0, 0, 0}));
  RunAll();
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status, absl::InternalError("broken"));
  EXPECT_EQ(model_->infer_calls, 2) << "the pieces behind the broken one were computed";
}

TEST_F(PredictQueueTest, DoesNotSendProbabilitiesThatAreNotNumbers) {
  model_->on_probabilities = [](absl::Span<float> p) {
    p[0] = std::numeric_limits<float>::quiet_NaN();
  };
  Open();
  auto sent = Send(Request({0}));
  RunAll();
  EXPECT_EQ(sent->status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(sent->status.message()), HasSubstr("image 0"));
}

TEST_F(PredictQueueTest, LetsASmallRequestPastALargeOne) {
  Open();
  auto large = Send(Request(std::vector<int>(100, 0)));
  auto small = Send(Request({1}));
  ASSERT_TRUE(executor_->RunOne());
  ASSERT_TRUE(executor_->RunOne());
  EXPECT_EQ(small->answers, 1) << "it waited for all fifty pieces";
  EXPECT_EQ(large->answers, 0);
  RunAll();
  EXPECT_EQ(large->answers, 1);
  EXPECT_TRUE(large->status.ok());
}

TEST_F(PredictQueueTest, PutsNoMorePiecesInTheLaneThanThereAreWorkers) {
  Open(/*workers=*/3);
  auto large = Send(Request(std::vector<int>(100, 0)));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 3);
  auto small = Send(Request({0}));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 3);
  RunAll();
  EXPECT_EQ(large->answers, 1);
}

TEST_F(PredictQueueTest, RefusesMoreWaitingImagesThanItsLimit) {
  PredictLimits limits;
  limits.max_images = 4;
  limits.max_waiting_images = 6;
  Open(1, limits);
  auto first = Send(Request({0, 1, 2, 3}));
  auto second = Send(Request({0, 1}));
  auto third = Send(Request({0}));
  EXPECT_EQ(third->answers, 1);
  EXPECT_EQ(third->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(third->status.message()), HasSubstr("try again"));
  RunAll();
  EXPECT_TRUE(first->status.ok());
  EXPECT_TRUE(second->status.ok());
  auto fourth = Send(Request({0, 1, 2, 3}));
  RunAll();
  EXPECT_EQ(fourth->answers, 1);
  EXPECT_TRUE(fourth->status.ok()) << fourth->status;
  auto fifth = Send(Request({0, 1, 2, 3, 0}));
  EXPECT_EQ(fifth->status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PredictQueueTest, RefusesMoreWaitingBytesThanItsLimit) {
  PredictLimits limits;
  limits.max_waiting_bytes = 100;
  Open(1, limits);
  // Larger than the limit, but nothing waits: it goes.
  auto first = Send(Request(std::vector<int>(50, 0)));
  auto second = Send(Request({0}));
  EXPECT_EQ(second->status.code(), absl::StatusCode::kResourceExhausted);
  RunAll();
  EXPECT_TRUE(first->status.ok());
}

TEST_F(PredictQueueTest, CountsPlacesOfThoseWhoWaitForAModel) {
  PredictLimits limits;
  limits.max_waiting_images = 5;
  Open(1, limits);
  auto place = queue_->Admit(5, 1000);
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_TRUE(absl::IsResourceExhausted(queue_->Admit(1, 1).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Send(Request({0}))->status));
  // Who has a place isn't refused, and takes from then on what it turns out to hold.
  Sent held;
  held.request = Request({1, 2});
  PredictWith(
      *queue_, loaded_, held.request, held.response, Always(),
      [&](absl::Status status) { held.status = std::move(status); }, *std::move(place));
  auto second = Send(Request({0, 1, 2}));
  EXPECT_TRUE(absl::IsResourceExhausted(Send(Request({0}))->status));
  RunAll();
  EXPECT_TRUE(held.status.ok()) << held.status;
  EXPECT_TRUE(second->status.ok()) << second->status;
  EXPECT_TRUE(queue_->Admit(5, 1).ok()) << "a place that is gone takes room";
  EXPECT_TRUE(queue_->Admit(5, 1).ok());
}

TEST_F(PredictQueueTest, GivesThePlaceBackBeforeItAnswers) {
  PredictLimits limits;
  limits.max_images = 1;
  limits.max_waiting_images = 1;
  Open(1, limits);
  Sent first, second;
  first.request = second.request = Request({2});
  PredictWith(*queue_, loaded_, first.request, first.response, Always(), [&](absl::Status status) {
    first.status = std::move(status);
    PredictWith(*queue_, loaded_, second.request, second.response, Always(), [&](absl::Status s) {
      ++second.answers;
      second.status = std::move(s);
    });
  });
  RunAll();
  EXPECT_TRUE(first.status.ok());
  EXPECT_EQ(second.answers, 1);
  EXPECT_TRUE(second.status.ok()) << second.status;
}

TEST_F(PredictQueueTest, RefusesARequestWhoseAnswerWouldBeTooLarge) {
  PredictLimits limits;
  limits.max_response_bytes = 1000;
  Open(1, limits);
  v1::PredictRequest request = Request(std::vector<int>(40, 0));
  request.set_top_k(4);
  request.set_probabilities(true);
  auto sent = Send(request);
  EXPECT_EQ(sent->answers, 1);
  EXPECT_EQ(sent->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(sent->status.message()), HasSubstr("1000"));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
}

// An answer that is let through fits: the bound is one.
TEST_F(PredictQueueTest, SendsNoAnswerLargerThanItsLimit) {
  int answered = 0;
  for (int64_t limit = 0; limit < 4000; limit += 50) {
    PredictLimits limits;
    limits.max_response_bytes = limit;
    Open(1, limits);
    v1::PredictRequest request = Request(std::vector<int>(20, 3));
    request.set_top_k(4);
    request.set_probabilities(true);
    auto sent = Send(request);
    RunAll();
    if (sent->status.ok()) {
      ++answered;
      EXPECT_LE(static_cast<int64_t>(sent->response.ByteSizeLong()), limit);
    }
  }
  EXPECT_GT(answered, 0);
}

// 1 x 1, grey, 255; its checksums by zlib.
std::string WhitePng() {
  return HexBytes(
      "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a494441"
      "54789c63f80f0001010100b138f6140000000049454e44ae426082");
}

// The images of each batch that was computed, by their first bytes.
using Batches = std::vector<std::vector<int>>;

class BatchingTest : public PredictQueueTest {
 protected:
  // As many as `preferred` images make a batch.
  void OpenFor(int64_t preferred, int workers = 1, const PredictLimits& limits = {}) {
    model_ = std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                  preferred);
    model_->on_infer = [this](absl::Span<const ImagePixels> images) {
      std::vector<int> batch;
      for (const ImagePixels& image : images) {
        batch.push_back(image.type == ElementType::kUint8
                            ? *static_cast<const uint8_t*>(image.data)
                            : static_cast<int>(*static_cast<const float*>(image.data)));
      }
      batches_.push_back(std::move(batch));
      return absl::OkStatus();
    };
    loaded_ = LoadedFake(model_);
    executor_ = NewHandCrankedExecutor(workers);
    queue_ = std::make_unique<PredictQueue>(*executor_, limits, clock_, nullptr, &alarms_);
  }

  // Alarms that a test lets go off when it has moved the clock.
  class HandAlarms final : public Alarms {
   public:
    void Set(absl::Duration when, absl::AnyInvocable<void()> call) override {
      set.emplace_back(when, std::move(call));
    }
    void GoOff() {
      for (auto& [when, call] : std::exchange(set, {})) call();
    }
    std::vector<std::pair<absl::Duration, absl::AnyInvocable<void()>>> set;
  };

  HandClock clock_;
  HandAlarms alarms_;
  Batches batches_;
};

TEST_F(BatchingTest, ComputesTogetherWhatWaitsForAWorkerAndAnswersEachItsOwn) {
  OpenFor(8);
  auto first = Send(Request({1}));
  auto second = Send(Request({2, 3}));
  v1::PredictRequest with_probabilities = Request({0});
  with_probabilities.set_probabilities(true);
  auto third = Send(with_probabilities);
  EXPECT_EQ(executor_->pending(Lane::kPredict), 1);
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2, 3, 0)));
  for (const auto* sent : {&first, &second, &third}) {
    ASSERT_EQ((*sent)->answers, 1);
    ASSERT_TRUE((*sent)->status.ok()) << (*sent)->status;
  }
  EXPECT_EQ(first->response.predictions(0).top(0).index(), 1);
  EXPECT_EQ(second->response.predictions(0).top(0).index(), 2);
  EXPECT_EQ(second->response.predictions(1).top(0).index(), 3);
  EXPECT_THAT(third->response.predictions(0).probabilities(), ElementsAre(0.4f, 0.3f, 0.2f, 0.1f));
  EXPECT_EQ(first->response.predictions(0).probabilities_size(), 0);
}

TEST_F(BatchingTest, GoesAtOnceWhenNobodyElseWaits) {
  OpenFor(8);
  auto sent = Send(Request({1}));
  EXPECT_TRUE(alarms_.set.empty());
  ASSERT_TRUE(executor_->RunOne());
  EXPECT_EQ(sent->answers, 1);
}

TEST_F(BatchingTest, AnswersALoneImageOfAQuickModelOnTheCallersThreadWhereAWorkerIsIdle) {
  OpenFor(8);
  model_->is_quick = true;
  auto no_worker_idle = Send(Request({1}));
  EXPECT_EQ(no_worker_idle->answers, 0);
  EXPECT_EQ(executor_->pending(Lane::kPredict), 1);
  executor_->SetIdle(true);
  auto beside_another = Send(Request({2}));
  EXPECT_EQ(beside_another->answers, 0);
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2)));
  auto two_images = Send(Request({3, 0}));
  EXPECT_EQ(two_images->answers, 0);
  RunAll();
  EXPECT_EQ(two_images->answers, 1);

  auto alone = Send(Request({3}));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
  ASSERT_EQ(alone->answers, 1);
  EXPECT_TRUE(alone->status.ok()) << alone->status;
  EXPECT_EQ(alone->response.predictions(0).top(0).index(), 3);
  auto refused = Send(Request({3}), [asked = 0]() mutable {
    return asked++ == 0 ? absl::OkStatus() : absl::CancelledError("gone");
  });
  EXPECT_EQ(refused->status, absl::CancelledError("gone"));

  model_->is_quick = false;
  auto slow = Send(Request({1}));
  EXPECT_EQ(slow->answers, 0);
  RunAll();
  EXPECT_EQ(slow->answers, 1);
}

TEST_F(BatchingTest, NeverExceedsTheLargestBatch) {
  PredictLimits limits;
  limits.max_batch = 3;
  OpenFor(8, 1, limits);
  std::vector<std::unique_ptr<Sent>> sent;
  for (int i = 0; i < 4; ++i) sent.push_back(Send(Request({i, i})));
  sent.push_back(Send(Request({3, 2, 1, 0, 3})));
  RunAll();
  size_t images = 0;
  for (const std::vector<int>& batch : batches_) {
    EXPECT_LE(batch.size(), 3u);
    images += batch.size();
  }
  EXPECT_EQ(images, 13u);
  for (const auto& s : sent) EXPECT_TRUE(s->status.ok() && s->answers == 1) << s->status;
  EXPECT_EQ(sent[4]->response.predictions(4).top(0).index(), 3);
}

TEST_F(BatchingTest, SharesWhatWaitsAmongTheWorkers) {
  OpenFor(/*preferred=*/16, /*workers=*/2);
  std::vector<std::unique_ptr<Sent>> sent;
  for (int i = 0; i < 10; ++i) sent.push_back(Send(Request({i % 4})));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 2);
  RunAll();
  ASSERT_EQ(batches_.size(), 2u);
  EXPECT_EQ(batches_[0].size(), 5u);
  EXPECT_EQ(batches_[1].size(), 5u);
}

TEST_F(BatchingTest, LeavesOutThoseWhoAreGoneBeforeItComputes) {
  OpenFor(8);
  absl::Status wanted;
  auto stays = Send(Request({1}));
  auto leaves = Send(Request({2, 2}), [&] { return wanted; });
  auto stays_too = Send(Request({3}));
  wanted = absl::DeadlineExceededError("late");
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 3)));
  EXPECT_EQ(leaves->status, absl::DeadlineExceededError("late"));
  EXPECT_TRUE(stays->status.ok());
  EXPECT_EQ(stays_too->response.predictions(0).top(0).index(), 3);
}

TEST_F(BatchingTest, GoesOnForThoseWhoStayWhenOneLeavesWhileItComputes) {
  OpenFor(8);
  absl::Status wanted;
  auto stays = Send(Request({1}));
  auto leaves = Send(Request({2}), [&] { return wanted; });
  model_->on_probabilities = [&](absl::Span<float>) { wanted = absl::CancelledError("gone"); };
  RunAll();
  EXPECT_TRUE(stays->status.ok()) << stays->status;
  EXPECT_EQ(stays->response.predictions(0).top(0).index(), 1);
  EXPECT_EQ(leaves->answers, 1);
}

TEST_F(BatchingTest, RefusesOneRequestsPixelsWithoutHarmToItsBatch) {
  OpenFor(8);
  const auto floats = [](float value) {
    v1::PredictRequest request;
    v1::RawImages& raw = *request.mutable_images()->mutable_float32();
    raw.set_count(1);
    raw.set_height(2);
    raw.set_width(3);
    raw.set_channels(1);
    std::vector<float> values(6, 0.0f);
    values[0] = value;
    raw.set_data(values.data(), values.size() * sizeof(float));
    return request;
  };
  auto bytes = Send(Request({1}));
  auto bad = Send(floats(std::numeric_limits<float>::infinity()));
  auto good = Send(floats(2.0f));
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2)));
  EXPECT_EQ(bad->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad->status.message()), HasSubstr("images.float32.data: image 0"));
  EXPECT_EQ(bytes->response.predictions(0).top(0).index(), 1);
  EXPECT_EQ(good->response.predictions(0).top(0).index(), 2);
}

TEST_F(BatchingTest, TellsEachRequestOfItsOwnImageThatCameToNoNumber) {
  OpenFor(8);
  int image = 0;
  model_->on_probabilities = [&](absl::Span<float> p) {
    // Images 0, 1 are the first request's, 2 and 3 the second's.
    if (++image == 4) p[3 * kClasses] = std::numeric_limits<float>::quiet_NaN();
  };
  auto good = Send(Request({0, 1}));
  auto bad = Send(Request({2, 3}));
  RunAll();
  EXPECT_TRUE(good->status.ok()) << good->status;
  EXPECT_THAT(std::string(bad->status.message()), HasSubstr("image 1:"));
}

TEST_F(BatchingTest, KeepsVersionsApart) {
  OpenFor(8);
  auto other_model =
      std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)), 8);
  const std::shared_ptr<LoadedModel> other = LoadedFake(other_model);
  auto own = Send(Request({1}));
  std::swap(loaded_, const_cast<std::shared_ptr<LoadedModel>&>(other));
  auto others = Send(Request({2}));
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1)));
  EXPECT_EQ(other_model->infer_calls, 1);
  EXPECT_TRUE(own->status.ok() && others->status.ok());
}

TEST_F(BatchingTest, ForgetsAVersionThatNobodyWaitsFor) {
  OpenFor(8);
  auto sent = Send(Request({1}));
  RunAll();
  const std::weak_ptr<LoadedModel> version = loaded_;
  loaded_ = nullptr;
  EXPECT_TRUE(version.expired());
}

TEST_F(BatchingTest, WaitsForOthersNoLongerThanItsWindowFromTheOldestArrival) {
  PredictLimits limits;
  limits.max_delay = absl::Milliseconds(5);
  OpenFor(4, 1, limits);
  auto first = Send(Request({1}));
  ASSERT_EQ(alarms_.set.size(), 1u);
  EXPECT_EQ(alarms_.set[0].first, absl::Milliseconds(5));
  clock_.Advance(absl::Milliseconds(4));
  auto second = Send(Request({2}));
  EXPECT_EQ(alarms_.set.size(), 1u);
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
  clock_.Advance(absl::Milliseconds(1));
  alarms_.GoOff();
  EXPECT_EQ(executor_->pending(Lane::kPredict), 1);
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2)));
  EXPECT_TRUE(first->status.ok() && second->status.ok());
}

TEST_F(BatchingTest, EndsItsWindowInTimeForTheNearestDeadline) {
  PredictLimits limits;
  limits.max_delay = absl::Milliseconds(50);
  OpenFor(4, 1, limits);
  const auto until = [&](absl::Duration left) {
    return StillWanted([] { return absl::OkStatus(); }, clock_.Now() + left);
  };
  auto patient = Send(Request({1}), until(absl::Seconds(10)));
  ASSERT_EQ(alarms_.set.size(), 1u);
  EXPECT_EQ(alarms_.set[0].first, absl::Milliseconds(50));
  auto hasty = Send(Request({2}), until(absl::Milliseconds(10)));
  ASSERT_EQ(alarms_.set.size(), 2u);
  EXPECT_EQ(alarms_.set[1].first, absl::Milliseconds(8));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
  clock_.Advance(absl::Milliseconds(8));
  alarms_.GoOff();
  RunAll();
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2)));
  EXPECT_EQ(patient->answers, 1);
  EXPECT_EQ(hasty->answers, 1);
  auto at_once = Send(Request({3}), until(absl::Milliseconds(1)));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 1);
  RunAll();
  EXPECT_EQ(at_once->answers, 1);
  clock_.Advance(absl::Milliseconds(50));
  while (!alarms_.set.empty()) alarms_.GoOff();
}

TEST_F(BatchingTest, DoesNotCutAFullBatchInPiecesThatWaitAgain) {
  PredictLimits limits;
  limits.max_delay = absl::Milliseconds(5);
  OpenFor(/*preferred=*/16, /*workers=*/2, limits);
  std::vector<std::unique_ptr<Sent>> sent;
  for (int i = 0; i < 16; ++i) sent.push_back(Send(Request({i % 4})));
  RunAll();
  ASSERT_EQ(batches_.size(), 1u);
  EXPECT_EQ(batches_[0].size(), 16u);
  for (const auto& s : sent) EXPECT_TRUE(s->status.ok());
  clock_.Advance(absl::Milliseconds(5));
  while (!alarms_.set.empty()) alarms_.GoOff();
}

TEST_F(BatchingTest, CountsTheWindowOfAFileFromItsArrivalNotFromItsDecoding) {
  PredictLimits limits;
  limits.max_delay = absl::Milliseconds(5);
  OpenFor(8, 1, limits);
  v1::PredictRequest file;
  file.mutable_images()->mutable_encoded()->add_files(WhitePng());
  auto first = Send(file);
  clock_.Advance(absl::Milliseconds(3));
  auto second = Send(Request({1}));
  clock_.Advance(absl::Milliseconds(1));
  RunAll();  // decodes
  clock_.Advance(absl::Milliseconds(1));
  alarms_.GoOff();
  RunAll();
  EXPECT_EQ(first->answers, 1) << "it waited for the window of the one that came later";
  EXPECT_TRUE(first->status.ok()) << first->status;
  EXPECT_EQ(second->answers, 1);
  clock_.Advance(absl::Milliseconds(5));
  while (!alarms_.set.empty()) alarms_.GoOff();
}

TEST_F(BatchingTest, DoesNotWaitOnceTheBatchIsFull) {
  PredictLimits limits;
  limits.max_delay = absl::Milliseconds(5);
  OpenFor(4, 1, limits);
  auto first = Send(Request({1, 2}));
  auto second = Send(Request({3, 0, 1}));
  EXPECT_EQ(executor_->pending(Lane::kPredict), 1);
  ASSERT_TRUE(executor_->RunOne());
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2, 3, 0)));
  // The one that is left waits its own window out.
  EXPECT_EQ(executor_->pending(Lane::kPredict), 0);
  clock_.Advance(absl::Milliseconds(5));
  alarms_.GoOff();
  RunAll();
  EXPECT_TRUE(first->status.ok() && second->status.ok());
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(1, 2, 3, 0), ElementsAre(1)));
  while (!alarms_.set.empty()) alarms_.GoOff();
}

TEST_F(BatchingTest, DecodesBelowTheLaneOfWhatIsDecodedAlready) {
  OpenFor(8);
  v1::PredictRequest files;
  for (int i = 0; i < 2; ++i) files.mutable_images()->mutable_encoded()->add_files(WhitePng());
  files.mutable_images()->mutable_encoded()->add_files("no image");
  auto bad = Send(files);
  files.mutable_images()->mutable_encoded()->mutable_files()->RemoveLast();
  auto good = Send(files);
  auto pixels = Send(Request({3}));
  EXPECT_EQ(executor_->pending(Lane::kEvaluate), 2);
  ASSERT_TRUE(executor_->RunOne());
  EXPECT_EQ(pixels->answers, 1);
  RunAll();
  EXPECT_TRUE(good->status.ok()) << good->status;
  EXPECT_EQ(bad->status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad->status.message()), HasSubstr("images.encoded.files[2]"));
  EXPECT_EQ(bad->answers, 1);
  // 2 x 3 pixels of 255 a class each: 1530 modulo 4.
  EXPECT_EQ(good->response.predictions(1).top(0).index(), 2);
  EXPECT_THAT(batches_, ElementsAre(ElementsAre(3), ElementsAre(255, 255)));
}

// Images that take a second each, on a server where they should wait for five at most.
class QueueWaitTest : public BatchingTest {
 protected:
  void OpenSlow(int64_t preferred, int workers = 1) {
    OpenFor(preferred, workers, {.max_wait = absl::Seconds(5)});
    model_->on_infer = [this](absl::Span<const ImagePixels> images) {
      clock_.Advance(absl::Seconds(1) * static_cast<int64_t>(images.size()));
      return absl::OkStatus();
    };
  }
  std::vector<std::unique_ptr<Sent>> SendMany(int count) {
    std::vector<std::unique_ptr<Sent>> sent;
    for (int i = 0; i < count; ++i) sent.push_back(Send(Request({0})));
    return sent;
  }
};

TEST_F(QueueWaitTest, RefusesWhatWouldWaitLongerThanItsLimit) {
  OpenSlow(2);
  const auto unknown = SendMany(9);
  ASSERT_TRUE(executor_->RunOne());
  auto refused = Send(Request({1}));  // 7 seconds of others come first
  ASSERT_EQ(refused->answers, 1);
  EXPECT_EQ(refused->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused->status.message()),
              AllOf(HasSubstr("7s"), HasSubstr("5s, --max-queue-ms"), HasSubstr("try again")));
  ASSERT_TRUE(executor_->RunOne());
  auto accepted = Send(Request({1}));
  EXPECT_EQ(accepted->answers, 0);
  RunAll();
  EXPECT_TRUE(accepted->status.ok()) << accepted->status;
  for (const auto& sent : unknown) EXPECT_TRUE(sent->status.ok()) << sent->status;
}

TEST_F(QueueWaitTest, CountsAllWorkers) {
  OpenSlow(1, /*workers=*/2);
  const auto unknown = SendMany(11);
  ASSERT_TRUE(executor_->RunOne());
  auto accepted = Send(Request({1}));  // 10 seconds for two
  EXPECT_EQ(accepted->answers, 0);
  auto refused = Send(Request({1}));
  EXPECT_EQ(refused->answers, 1);
  RunAll();
}

TEST_F(QueueWaitTest, CountsOfALargeRequestTheTurnThatComesFirst) {
  OpenSlow(2);
  auto large = Send(Request(std::vector<int>(100, 0)));
  ASSERT_TRUE(executor_->RunOne());
  auto small = Send(Request({1}));
  EXPECT_EQ(small->answers, 0);
  auto as_large = Send(Request(std::vector<int>(100, 0)));
  EXPECT_EQ(as_large->answers, 0);
  auto third = Send(Request({1}));  // two turns of two images, and the small one
  EXPECT_EQ(third->answers, 0);
  auto refused = Send(Request({1}));
  EXPECT_EQ(refused->answers, 1);
  RunAll();
  for (const auto* sent : {&large, &small, &as_large, &third}) {
    EXPECT_TRUE((*sent)->status.ok()) << (*sent)->status;
  }
}

TEST_F(QueueWaitTest, HoldsOneVersionsCrowdAgainstNoOther) {
  OpenSlow(2);
  const auto crowd = SendMany(20);
  ASSERT_TRUE(executor_->RunOne());
  auto refused = Send(Request({1}));
  EXPECT_EQ(refused->answers, 1);
  loaded_ = LoadedFake(model_);
  auto other = Send(Request({1}));
  EXPECT_EQ(other->answers, 0);
  RunAll();
  EXPECT_TRUE(other->status.ok()) << other->status;
}

TEST_F(QueueWaitTest, CountsTheFilesThatAreDecodedFirst) {
  OpenSlow(2);
  v1::PredictRequest file;
  file.mutable_images()->mutable_encoded()->add_files(WhitePng());
  const auto slowly = [this] {
    clock_.Advance(absl::Seconds(1));
    return absl::OkStatus();
  };
  std::vector<std::unique_ptr<Sent>> files;
  for (int i = 0; i < 12; ++i) files.push_back(Send(file, slowly));
  ASSERT_TRUE(executor_->RunOne());
  auto refused = Send(file);
  EXPECT_EQ(refused->answers, 1);
  EXPECT_EQ(refused->status.code(), absl::StatusCode::kResourceExhausted);
  auto pixels = Send(Request({1}));
  EXPECT_EQ(pixels->answers, 0) << "it needn't be decoded";
  RunAll();
  EXPECT_TRUE(pixels->status.ok()) << pixels->status;
  for (const auto& sent : files) EXPECT_TRUE(sent->status.ok()) << sent->status;
}

TEST_F(QueueWaitTest, ZeroIsNoLimit) {
  OpenFor(2, 1, {.max_wait = absl::ZeroDuration()});
  model_->on_infer = [this](absl::Span<const ImagePixels>) {
    clock_.Advance(absl::Hours(1));
    return absl::OkStatus();
  };
  const auto many = SendMany(9);
  ASSERT_TRUE(executor_->RunOne());
  auto more = Send(Request({1}));
  EXPECT_EQ(more->answers, 0);
  RunAll();
  EXPECT_TRUE(more->status.ok()) << more->status;
}

TEST(PredictQueue, AnswersEveryoneBeforeItIsGone) {
  auto model = std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                    /*preferred_images=*/1);
  absl::Notification go;
  model->on_infer = [&](absl::Span<const ImagePixels>) {
    go.WaitForNotification();
    return absl::OkStatus();
  };
  auto loaded = LoadedFake(model);
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  auto queue = std::make_unique<PredictQueue>(*executor);
  std::atomic<int> answers{0};
  std::vector<Sent> sent(5);
  for (Sent& s : sent) {
    s.request = Request({0, 1, 2});
    PredictWith(*queue, loaded, s.request, s.response, Always(), [&](absl::Status status) {
      EXPECT_TRUE(status.ok());
      ++answers;
    });
  }
  std::thread opener([&] { go.Notify(); });
  queue.reset();
  EXPECT_EQ(answers, 5);
  opener.join();
}

TEST(PredictQueue, AnswersManyCallersOnSeveralWorkers) {
  auto model = std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                    /*preferred_images=*/2);
  auto loaded = LoadedFake(model);
  std::unique_ptr<Executor> executor = NewThreadedExecutor(3);
  PredictQueue queue(*executor);
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&, t] {
      for (int round = 0; round < 50; ++round) {
        std::vector<int> classes;
        for (int i = 0; i <= (t + round) % 13; ++i) classes.push_back((i * 7 + round) % kClasses);
        Sent sent;
        sent.request = Request(classes);
        absl::Notification answered;
        PredictWith(queue, loaded, sent.request, sent.response, Always(), [&](absl::Status status) {
          sent.status = std::move(status);
          answered.Notify();
        });
        answered.WaitForNotification();
        ASSERT_TRUE(sent.status.ok());
        ASSERT_EQ(sent.response.predictions_size(), static_cast<int>(classes.size()));
        for (size_t i = 0; i < classes.size(); ++i) {
          EXPECT_EQ(sent.response.predictions(static_cast<int>(i)).top(0).index(), classes[i]);
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// While one batch of a request computes, another one finds what is wrong with it.
TEST(PredictQueue, TellsWhatWasWrongNotThatItThereforeStopped) {
  auto model = std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                    /*preferred_images=*/4);
  model->until_cancelled = true;  // the first batch ends only when the second has failed
  auto loaded = LoadedFake(model);
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  PredictQueue queue(*executor);
  Sent sent;
  v1::RawImages& raw = *sent.request.mutable_images()->mutable_float32();
  raw.set_count(8);
  raw.set_height(2);
  raw.set_width(3);
  raw.set_channels(1);
  std::vector<float> values(8 * 6, 1.0f);
  values[5 * 6] = std::numeric_limits<float>::infinity();
  raw.set_data(values.data(), values.size() * sizeof(float));
  absl::Notification answered;
  PredictWith(queue, loaded, sent.request, sent.response, Always(), [&](absl::Status status) {
    sent.status = std::move(status);
    answered.Notify();
  });
  answered.WaitForNotification();
  EXPECT_EQ(sent.status.code(), absl::StatusCode::kInvalidArgument) << sent.status;
  EXPECT_THAT(std::string(sent.status.message()), HasSubstr("image 5"));
}

TEST(PredictQueue, EndsOnceWhenCallersLeaveAtAnyMoment) {
  auto model = std::make_shared<FakeInferenceModel>(*Graph::Create(DenseNetwork(2, 3, 1, kClasses)),
                                                    /*preferred_images=*/1);
  auto loaded = LoadedFake(model);
  std::unique_ptr<Executor> executor = NewThreadedExecutor(3);
  PredictQueue queue(*executor);
  for (int after = 0; after < 60; ++after) {
    Sent sent;
    sent.request = Request(std::vector<int>(20, 1));
    std::atomic<int> asked{0};
    std::atomic<int> answers{0};
    absl::Notification answered;
    PredictWith(
        queue, loaded, sent.request, sent.response,
        [&] { return asked++ < after ? absl::OkStatus() : absl::CancelledError("left"); },
        [&](absl::Status status) {
          ++answers;
          sent.status = std::move(status);
          answered.Notify();
        });
    answered.WaitForNotification();
    EXPECT_TRUE(sent.status.ok() || sent.status == absl::CancelledError("left")) << sent.status;
  }
}

}  // namespace
}  // namespace convd
