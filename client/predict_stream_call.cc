#include "client/predict_stream_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/names/text_fields.h"
#include "core/status/status_macros.h"

namespace convd {

void PredictStreamCall::Read() {
  v1::PredictStreamResponse response;
  while (stream_.Read(&response)) {
    absl::MutexLock lock(&mu_);
    // Each request under way has at most one; a server that sends more could fill our memory.
    too_many_ = static_cast<int>(arrived_.size()) >= options_.in_flight;
    if (too_many_) break;
    arrived_.push_back(std::move(response));
    response.Clear();
  }
  absl::MutexLock lock(&mu_);
  ended_ = true;
}

absl::Status PredictStreamCall::Run() {
  for (;;) {
    CONVD_RETURN_IF_ERROR(TakeArrived());
    while (!window_.empty() && window_.front().answer.has_value()) {
      Slot slot = std::move(window_.front());
      window_.pop_front();
      ++first_;
      bytes_ -= slot.bytes;
      CONVD_RETURN_IF_ERROR(on_answer_(*std::move(slot.answer)));
    }
    if (all_answered()) return absl::OkStatus();
    absl::Time due = absl::InfiniteFuture();
    if (!SendAgain(absl::Now(), due)) return absl::OkStatus();
    const bool room = window_.empty() || (static_cast<int>(window_.size()) < options_.in_flight &&
                                          bytes_ < options_.bytes);
    if (!no_more_ && room) {
      CONVD_ASSIGN_OR_RETURN(const bool sent, SendNext());
      if (!sent) return absl::OkStatus();
      continue;
    }
    Wait(due);
    absl::MutexLock lock(&mu_);
    if (ended_ && arrived_.empty()) return absl::OkStatus();
  }
}

absl::Status PredictStreamCall::TakeArrived() {
  std::deque<v1::PredictStreamResponse> arrived;
  {
    absl::MutexLock lock(&mu_);
    if (too_many_) return absl::InternalError("the server sent more answers than it was asked for");
    arrived.swap(arrived_);
  }
  for (v1::PredictStreamResponse& response : arrived) {
    const uint64_t i = response.id() - first_;
    if (i >= window_.size() || window_[i].answer.has_value()) {
      return absl::InternalError(
          absl::StrCat("the server answered ", response.id(), ", which nobody asked it"));
    }
    Slot& slot = window_[i];
    if (response.has_response()) {
      slot.answer = std::move(*response.mutable_response());
      last_answer_ = absl::Now();
      continue;
    }
    const v1::PredictError& error = response.error();
    const bool known =
        error.code() > 0 && error.code() <= static_cast<int>(absl::StatusCode::kUnauthenticated);
    Refused(slot,
            absl::Status(
                known ? static_cast<absl::StatusCode>(error.code()) : absl::StatusCode::kUnknown,
                response.has_error() ? error.message() : "the server gave no answer"),
            absl::Milliseconds(error.retry_after_ms()));
  }
  return absl::OkStatus();
}

void PredictStreamCall::Refused(Slot& slot, absl::Status status, absl::Duration at_least) {
  const absl::Time now = absl::Now();
  slot.refused = std::min(slot.refused, now);
  // As long as others are answered, it will have its turn.
  const absl::Time since = std::max(slot.refused, last_answer_);
  if (!absl::IsResourceExhausted(status) || now - since >= client_.reconnect_timeout) {
    slot.answer = std::move(status);
    return;
  }
  slot.pause = std::clamp(2 * slot.pause, client_.first_pause, client_.longest_pause);
  slot.send_again = now + std::max(slot.pause, std::min(at_least, client_.longest_pause));
}

bool PredictStreamCall::SendAgain(absl::Time now, absl::Time& due) {
  for (Slot& slot : window_) {
    if (slot.send_again <= now) {
      slot.send_again = absl::InfiniteFuture();
      if (!stream_.Write(slot.request)) return false;
    }
    due = std::min(due, slot.send_again);
  }
  return true;
}

absl::StatusOr<bool> PredictStreamCall::SendNext() {
  CONVD_ASSIGN_OR_RETURN(std::optional<v1::PredictRequest> request, next_());
  if (!request.has_value()) {
    no_more_ = true;
    return true;
  }
  CONVD_RETURN_IF_ERROR(CheckTextFields(*request));
  Slot& slot = window_.emplace_back();
  slot.request.set_id(first_ + window_.size() - 1);
  *slot.request.mutable_request() = *std::move(request);
  slot.bytes = static_cast<int64_t>(slot.request.ByteSizeLong());
  bytes_ += slot.bytes;
  return stream_.Write(slot.request);
}

void PredictStreamCall::Wait(absl::Time until) {
  const auto something = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return ended_ || !arrived_.empty();
  };
  absl::MutexLock lock(&mu_);
  mu_.AwaitWithDeadline(absl::Condition(&something), until);
}

}  // namespace convd
