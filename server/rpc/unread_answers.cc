#include "server/rpc/unread_answers.h"

#include <utility>
#include <vector>

namespace convd {

void UnreadAnswers::Add(Call& call, int64_t bytes) {
  std::vector<std::function<void()>> enders;
  {
    absl::MutexLock lock(&mu_);
    const auto [own, first] = calls_.try_emplace(&call);
    if (first) own->second.since = ++changes_;
    own->second.bytes += bytes;
    if (own->second.ended) return;
    bytes_ += bytes;
    while (bytes_ > most_bytes_) {
      std::pair<Call* const, Unread>* oldest = nullptr;
      for (auto& entry : calls_) {
        if (entry.first == &call || entry.second.ended) continue;
        if (oldest == nullptr || entry.second.since < oldest->second.since) oldest = &entry;
      }
      if (oldest == nullptr) break;
      oldest->second.ended = true;
      bytes_ -= oldest->second.bytes;
      enders.push_back(oldest->first->Ender());
    }
  }
  for (const std::function<void()>& end : enders) end();
}

void UnreadAnswers::Remove(Call& call, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  const auto own = calls_.find(&call);
  if (own == calls_.end()) return;
  own->second.since = ++changes_;
  own->second.bytes -= bytes;
  if (!own->second.ended) bytes_ -= bytes;
  if (own->second.bytes == 0) calls_.erase(own);
}

void UnreadAnswers::Forget(Call& call) {
  absl::MutexLock lock(&mu_);
  const auto own = calls_.find(&call);
  if (own == calls_.end()) return;
  if (!own->second.ended) bytes_ -= own->second.bytes;
  calls_.erase(own);
}

int64_t UnreadAnswers::bytes() const {
  absl::MutexLock lock(&mu_);
  return bytes_;
}

}  // namespace convd
