#include "client/predict_stream_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A server: `on_write` says what it sends for each request.
class FakeStream final : public PredictStreamCall::Stream {
 public:
  bool Write(const v1::PredictStreamRequest& request, grpc::WriteOptions) override {
    written.push_back(request.id());
    most = std::max(most, static_cast<int>(written.size()) - sent_);
    on_write(request);
    return true;
  }
  bool Read(v1::PredictStreamResponse* into) override {
    absl::MutexLock lock(&mu_);
    const auto something = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return ended_ || !answers_.empty();
    };
    mu_.Await(absl::Condition(&something));
    if (answers_.empty()) return false;
    *into = answers_.front();
    answers_.pop_front();
    return true;
  }
  bool WritesDone() override {
    End();
    return true;
  }
  grpc::Status Finish() override { return grpc::Status::OK; }
  bool NextMessageSize(uint32_t*) override { return false; }
  void WaitForInitialMetadata() override {}

  void Send(uint64_t id, int code = 0) {
    v1::PredictStreamResponse answer;
    answer.set_id(id);
    if (code == 0) answer.mutable_response()->mutable_model()->set_version(static_cast<int>(id));
    if (code != 0) answer.mutable_error()->set_code(code);
    ++sent_;
    absl::MutexLock lock(&mu_);
    if (!ended_) answers_.push_back(answer);
  }
  void End() {
    absl::MutexLock lock(&mu_);
    ended_ = true;
  }

  std::vector<uint64_t> written;
  int most = 0;  // requests that were unanswered at once
  std::function<void(const v1::PredictStreamRequest&)> on_write;

 private:
  int sent_ = 0;
  absl::Mutex mu_;
  std::deque<v1::PredictStreamResponse> answers_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

class PredictStreamCallTest : public ::testing::Test {
 protected:
  absl::Status Run(int requests) {
    ClientOptions client;
    client.first_pause = client.longest_pause = absl::Milliseconds(1);
    client.reconnect_timeout = patience_;
    const auto next = [&]() -> absl::StatusOr<std::optional<v1::PredictRequest>> {
      if (requests-- == 0) return std::nullopt;
      return v1::PredictRequest();
    };
    const auto on_answer = [&](absl::StatusOr<v1::PredictResponse> answer) {
      answers_.push_back(answer.ok() ? static_cast<int>(answer->model().version())
                                     : -static_cast<int>(answer.status().code()));
      return absl::OkStatus();
    };
    PredictStreamCall call(stream_, client, options_, next, on_answer);
    std::thread reader([&] { call.Read(); });
    const absl::Status status = call.Run();
    all_answered_ = call.all_answered();
    stream_.End();
    reader.join();
    return status;
  }

  FakeStream stream_;
  PredictStreamOptions options_{.in_flight = 4};
  absl::Duration patience_ = absl::InfiniteDuration();
  std::vector<int> answers_;
  bool all_answered_ = false;
};

TEST_F(PredictStreamCallTest, HandsAnswersOnInOrderAndBoundsWhatIsUnderWay) {
  std::vector<uint64_t> held;
  stream_.on_write = [&](const v1::PredictStreamRequest& request) {
    held.push_back(request.id());
    if (held.size() < 4) return;
    for (; !held.empty(); held.pop_back()) stream_.Send(held.back());  // the last one first
  };
  EXPECT_TRUE(Run(8).ok());
  EXPECT_TRUE(all_answered_);
  EXPECT_THAT(answers_, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(stream_.most, 4);
}

TEST_F(PredictStreamCallTest, SendsAgainWhatTheServerHadNoRoomFor) {
  int refusals = 3;
  stream_.on_write = [&](const v1::PredictStreamRequest& request) {
    stream_.Send(request.id(), request.id() == 1 && refusals-- > 0 ? 8 : request.id() == 2 ? 3 : 0);
  };
  EXPECT_TRUE(Run(4).ok());
  EXPECT_THAT(answers_, ElementsAre(0, 1, -3, 3));
  EXPECT_EQ(std::count(stream_.written.begin(), stream_.written.end(), 1u), 4);
}

TEST_F(PredictStreamCallTest, GivesUpAfterItsPatience) {
  patience_ = absl::ZeroDuration();
  stream_.on_write = [&](const v1::PredictStreamRequest& request) {
    stream_.Send(request.id(), 8);
  };
  EXPECT_TRUE(Run(1).ok());
  EXPECT_THAT(answers_, ElementsAre(-8));
}

TEST_F(PredictStreamCallTest, TrustsNoServersIds) {
  stream_.on_write = [&](const v1::PredictStreamRequest&) { stream_.Send(99); };
  EXPECT_THAT(Run(1).message(), HasSubstr("the server answered 99, which nobody asked it"));
}

TEST_F(PredictStreamCallTest, EndsWhereTheStreamDoes) {
  stream_.on_write = [&](const v1::PredictStreamRequest& request) {
    stream_.Send(request.id());
    stream_.End();
  };
  options_.in_flight = 1;
  EXPECT_TRUE(Run(3).ok());
  EXPECT_FALSE(all_answered_);
}

}  // namespace
}  // namespace convd
