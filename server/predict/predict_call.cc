#include "server/predict/predict_call.h"

#include <utility>

#include "server/predict/predict_queue.h"

namespace convd {

namespace {

// Bytes of files: small ones are decoded a batch a task, photos one by one, so that other requests
// have their turn.
constexpr int64_t kDecodedTogether = int64_t{32} << 10;

}  // namespace

PredictCall::PredictCall(std::shared_ptr<const LoadedModel> model, RequestImages images,
                         StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer,
                         absl::Duration arrived, absl::Duration latest_start)
    : model_(std::move(model)),
      images_(std::move(images)),
      arrived_(arrived),
      latest_start_(latest_start),
      still_wanted_(std::move(still_wanted)),
      answer_(std::move(answer)),
      left_(images_.count()) {}

PredictCall::Files PredictCall::NextFiles(int64_t most) {
  absl::MutexLock lock(&mu_);
  Files files{next_, 0};
  int64_t bytes = 0;
  while (next_ < images_.count() && files.count < most) {
    bytes += images_.file_bytes(next_);
    if (files.count > 0 && bytes > kDecodedTogether) break;
    ++files.count;
    ++next_;
  }
  return files;
}

absl::Status PredictCall::StillWantedFor(int64_t first) {
  absl::Status status = still_wanted_();
  if (!status.ok()) Fail(first, status);
  return status;
}

void PredictCall::Fail(int64_t image, absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (image < error_image_) {
    error_image_ = image;
    error_ = std::move(status);
  }
  failed_.store(true, std::memory_order_relaxed);
}

absl::Status PredictCall::error() {
  absl::MutexLock lock(&mu_);
  return error_;
}

}  // namespace convd
