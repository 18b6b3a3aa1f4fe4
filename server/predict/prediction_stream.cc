#include "server/predict/prediction_stream.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/names/utf8.h"
#include "server/auth/admission.h"

namespace convd {
namespace {

constexpr size_t kMostMessage = 4096;

// What a proto3 string may hold, which must be UTF-8.
std::string WireText(std::string_view message) {
  std::string text;
  while (!message.empty() && text.size() < kMostMessage) {
    const size_t n = Utf8Sequence(message);
    text += n == 0 ? "?" : message.substr(0, n);
    message.remove_prefix(std::max<size_t>(n, 1));
  }
  return text;
}

}  // namespace

// A request and its answer. Each has an arena: the request's goes when the answer is there, however
// long that then waits to be read.
struct PredictionStream::Exchange {
  Exchange()
      : request_arena(std::make_unique<google::protobuf::Arena>()),
        request(
            google::protobuf::Arena::CreateMessage<v1::PredictStreamRequest>(request_arena.get())),
        answer(google::protobuf::Arena::CreateMessage<v1::PredictStreamResponse>(&answer_arena)) {}

  std::unique_ptr<google::protobuf::Arena> request_arena;
  google::protobuf::Arena answer_arena;
  v1::PredictStreamRequest* const request;  // until `request_arena` goes
  v1::PredictStreamResponse* const answer;
  absl::Duration arrived;
  int64_t bytes = 0;  // that count against the limit
  bool checking = true;
};

PredictionStream::PredictionStream(Predictor& predictor, StreamPipe& pipe, StreamHooks hooks,
                                   const StreamLimits& limits, const Clock& clock)
    : predictor_(predictor),
      pipe_(pipe),
      hooks_(std::move(hooks)),
      limits_(limits),
      clock_(clock) {}

void PredictionStream::GoOn() {
  // Once it is finished, what carries it may go, and with it the last other pointer.
  const std::shared_ptr<PredictionStream> self = shared_from_this();
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(busy_, true)) {
      again_ = true;
      return;
    }
  }
  for (;;) {
    Step step = Step::kNothing;
    absl::Status end;
    v1::PredictStreamRequest* into = nullptr;
    const v1::PredictStreamResponse* answer = nullptr;
    {
      absl::MutexLock lock(&mu_);
      again_ = false;
      step = Next(end);
      if (step == Step::kRead) into = reading_->request;
      if (step == Step::kWrite) answer = writing_->answer;
    }
    // No lock is held: what is begun may end at once, on this thread.
    if (step == Step::kRead) pipe_.Read(*into);
    if (step == Step::kWrite) pipe_.Write(*answer);
    if (step == Step::kFinish) pipe_.Finish(end);
    absl::MutexLock lock(&mu_);
    if (step == Step::kNothing && !again_) {
      busy_ = false;
      return;
    }
  }
}

PredictionStream::Step PredictionStream::Next(absl::Status& end) {
  if (finished_) return Step::kNothing;
  const absl::Status wanted =
      broken_ ? absl::CancelledError("the caller is gone") : hooks_.still_wanted();
  if (!wanted.ok()) {
    // What is being computed ends at its next cut.
    answers_.clear();
    if (computing_ > 0 || writing_ != nullptr) return Step::kNothing;
    end = wanted;
    finished_ = true;
    return Step::kFinish;
  }
  if (writing_ == nullptr && !answers_.empty()) {
    writing_ = std::move(answers_.front());
    answers_.pop_front();
    if (hooks_.on_waiting) hooks_.on_waiting(-writing_->bytes);
    return Step::kWrite;
  }
  const int requests = computing_ + static_cast<int>(answers_.size()) + (writing_ != nullptr);
  if (!read_all_ && !stopped_) {
    if (reading_ != nullptr || checking_ > 0) return Step::kNothing;
    if (requests > 0 && (requests >= limits_.requests || bytes_ >= limits_.bytes)) {
      return Step::kNothing;
    }
    reading_ = std::make_shared<Exchange>();
    return Step::kRead;
  }
  if (requests > 0) return Step::kNothing;
  if (!read_all_) end = absl::UnavailableError("the server is stopping; it read no further");
  if (unreadable_) {
    end = absl::InvalidArgumentError(
        "what came last can't be read as a PredictStreamRequest; the server read no further");
  }
  finished_ = true;
  return Step::kFinish;
}

void PredictionStream::OnRead(bool ok) {
  std::shared_ptr<Exchange> exchange;
  {
    absl::MutexLock lock(&mu_);
    exchange = std::move(reading_);
    if (finished_) return;
    if (!ok) {
      read_all_ = true;
      // gRPC says no more of a message that is none than of the end; what could be read is here.
      unreadable_ = exchange->request->ByteSizeLong() > 0;
    } else {
      exchange->arrived = clock_.Monotonic();
      ++computing_;
      ++checking_;
      Weigh(*exchange, static_cast<int64_t>(exchange->request->ByteSizeLong()));
    }
  }
  if (ok) Begin(exchange);
  GoOn();
}

void PredictionStream::Begin(const std::shared_ptr<Exchange>& exchange) {
  exchange->answer->set_id(exchange->request->id());
  const auto self = shared_from_this();
  bool stopped = false;
  {
    absl::MutexLock lock(&mu_);
    stopped = stopped_;
  }
  absl::Status status = stopped ? absl::UnavailableError("the server is stopping") : hooks_.admit();
  if (!status.ok()) return Answer(exchange, status);
  predictor_.Predict(
      exchange->request->request(), *exchange->answer->mutable_response(), hooks_.still_wanted,
      [self, exchange](const absl::Status& answered) {
        self->Answer(exchange, answered);
        self->GoOn();
      },
      [self, exchange](int64_t answer_bytes) {
        {
          absl::MutexLock lock(&self->mu_);
          self->Weigh(*exchange, exchange->bytes + answer_bytes);
          exchange->checking = false;
          --self->checking_;
        }
        self->GoOn();
      });
}

void PredictionStream::Weigh(Exchange& exchange, int64_t bytes) {
  bytes_ += bytes - exchange.bytes;
  exchange.bytes = bytes;
}

void PredictionStream::Answer(const std::shared_ptr<Exchange>& exchange,
                              const absl::Status& status) {
  if (!status.ok()) {
    v1::PredictError& error = *exchange->answer->mutable_error();
    error.set_code(static_cast<int32_t>(status.code()));
    error.set_message(WireText({status.message().data(), status.message().size()}));
    error.set_retry_after_ms(absl::ToInt64Milliseconds(RetryAfter(status)));
  }
  if (hooks_.on_answered) {
    hooks_.on_answered(status.code(), exchange->request->request().model().name(),
                       clock_.Monotonic() - exchange->arrived);
  }
  exchange->request_arena = nullptr;
  const auto bytes = static_cast<int64_t>(exchange->answer->ByteSizeLong());
  // While it still counts as being computed, so that the stream isn't finished meanwhile.
  if (hooks_.on_waiting) hooks_.on_waiting(bytes);
  absl::MutexLock lock(&mu_);
  if (exchange->checking) --checking_;
  exchange->checking = false;
  --computing_;
  Weigh(*exchange, bytes);
  answers_.push_back(exchange);
}

void PredictionStream::OnWritten(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    Weigh(*writing_, 0);
    writing_ = nullptr;
    if (!ok) broken_ = true;
  }
  GoOn();
}

void PredictionStream::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
  }
  GoOn();
}

}  // namespace convd
