#include "server/jobs/watchers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace convd {

absl::StatusOr<std::shared_ptr<void>> Watchers::Add(const std::string& job_id, Wake wake) {
  auto shared = std::make_shared<const Wake>(std::move(wake));
  absl::MutexLock lock(&mu_);
  if (count_ >= max_watchers_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        max_watchers_, " watches of jobs are open already; end one, or ask again later"));
  }
  ++count_;
  by_job_[job_id].push_back(shared);
  const Wake* const which = shared.get();
  return std::shared_ptr<void>(nullptr, [this, job_id, which](void*) { Remove(job_id, which); });
}

void Watchers::Remove(const std::string& job_id, const Wake* wake) {
  std::shared_ptr<const Wake> removed;  // destroyed after the lock is let go
  absl::MutexLock lock(&mu_);
  const auto it = by_job_.find(job_id);
  if (it == by_job_.end()) return;
  auto& wakes = it->second;
  const auto found = std::find_if(wakes.begin(), wakes.end(),
                                  [wake](const auto& shared) { return shared.get() == wake; });
  if (found == wakes.end()) return;
  removed = std::move(*found);
  wakes.erase(found);
  --count_;
  if (wakes.empty()) by_job_.erase(it);
}

void Watchers::WakeUp(const std::string& job_id) {
  absl::MutexLock lock(&mu_);
  if (by_job_.count(job_id) > 0) changed_.insert(job_id);
}

void Watchers::WakeAll() {
  absl::MutexLock lock(&mu_);
  all_changed_ = !by_job_.empty();
}

void Watchers::Post(absl::AnyInvocable<void()> work) {
  absl::MutexLock lock(&mu_);
  posted_.push_back(std::move(work));
}

std::vector<std::shared_ptr<const Watchers::Wake>> Watchers::TakeWakes() {
  std::vector<std::shared_ptr<const Wake>> wakes;
  for (const auto& [id, of_job] : by_job_) {
    if (all_changed_ || changed_.count(id) > 0) {
      wakes.insert(wakes.end(), of_job.begin(), of_job.end());
    }
  }
  all_changed_ = false;
  changed_.clear();
  return wakes;
}

void Watchers::Run() {
  for (;;) {
    std::deque<absl::AnyInvocable<void()>> posted;
    std::vector<std::shared_ptr<const Wake>> wakes;
    {
      absl::MutexLock lock(&mu_);
      const auto has_work = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return ending_ || all_changed_ || !changed_.empty() || !posted_.empty();
      };
      mu_.Await(absl::Condition(&has_work));
      posted.swap(posted_);
      wakes = TakeWakes();
      if (posted.empty() && wakes.empty() && ending_) return;
    }
    for (absl::AnyInvocable<void()>& work : posted) work();
    for (const auto& wake : wakes) (*wake)();
  }
}

Watchers::~Watchers() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  thread_.join();
}

}  // namespace convd
