#include "server/metrics/rpc_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/metrics/buckets.h"

namespace convd {
namespace {

// Each is a counter and a histogram, some 2 KiB. Models come and go; beyond this the rest share one
// set a method and code.
constexpr size_t kMaxSets = 4096;

class Counted final : public RpcMetrics {
 public:
  Counted(prometheus::Registry& registry, IsModel is_model)
      : is_model_(std::move(is_model)),
        requests_(prometheus::BuildCounter()
                      .Name("convd_requests_total")
                      .Help("Calls that ended, of gRPC and HTTP.")
                      .Register(registry)),
        seconds_(prometheus::BuildHistogram()
                     .Name("convd_request_duration_seconds")
                     .Help("Time from a call's arrival to its answer.")
                     .Register(registry)) {}

  void Finished(absl::string_view method, absl::StatusCode code, absl::string_view model,
                absl::Duration took) override {
    Set set = Find(method, code, model);
    set.requests->Increment();
    set.seconds->Observe(absl::ToDoubleSeconds(took));
  }

 private:
  struct Set {
    prometheus::Counter* requests = nullptr;
    prometheus::Histogram* seconds = nullptr;
  };

  static std::string Key(absl::string_view method, absl::StatusCode code, absl::string_view model) {
    return absl::StrCat(method, "\n", static_cast<int>(code), "\n", model);
  }

  Set Find(absl::string_view method, absl::StatusCode code, absl::string_view model)
      ABSL_LOCKS_EXCLUDED(mu_) {
    const std::string key = Key(method, code, model);
    {
      absl::ReaderMutexLock lock(&mu_);
      if (const auto found = sets_.find(key); found != sets_.end()) return found->second;
    }
    // Not under the lock: it asks somebody else.
    if (!model.empty() && !is_model_(model)) return Find(method, code, "");
    absl::MutexLock lock(&mu_);
    const bool full = sets_.size() >= kMaxSets && !model.empty();
    Set& set = sets_[full ? Key(method, code, "") : key];
    if (set.requests == nullptr) {
      const std::map<std::string, std::string> labels = {{"method", std::string(method)},
                                                         {"code", absl::StatusCodeToString(code)},
                                                         {"model", full ? "" : std::string(model)}};
      set.requests = &requests_.Add(labels);
      set.seconds = &seconds_.Add(labels, SecondsBuckets());
    }
    return set;
  }

  const IsModel is_model_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& seconds_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, Set> sets_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<RpcMetrics> RpcMetrics::New(prometheus::Registry& registry, IsModel is_model) {
  return std::make_unique<Counted>(registry, std::move(is_model));
}

}  // namespace convd
