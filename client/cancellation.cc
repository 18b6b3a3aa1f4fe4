#include "client/cancellation.h"

#include <grpcpp/client_context.h>

#include <algorithm>

namespace convd {

void Cancellation::Cancel() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool Cancellation::cancelled() const {
  absl::MutexLock lock(&mu_);
  return cancelled_;
}

bool Cancellation::WaitFor(absl::Duration duration) const {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
}

Cancellation::Attachment::Attachment(Cancellation* cancellation, grpc::ClientContext* context)
    : cancellation_(cancellation), context_(context) {
  if (cancellation_ == nullptr) return;
  absl::MutexLock lock(&cancellation_->mu_);
  cancellation_->contexts_.push_back(context_);
  // A context that is cancelled before its call begins ends the call at once.
  if (cancellation_->cancelled_) context_->TryCancel();
}

Cancellation::Attachment::~Attachment() {
  if (cancellation_ == nullptr) return;
  absl::MutexLock lock(&cancellation_->mu_);
  auto& contexts = cancellation_->contexts_;
  contexts.erase(std::find(contexts.begin(), contexts.end(), context_));
}

}  // namespace convd
