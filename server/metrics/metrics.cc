#include "server/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/metrics/figure_families.h"
#include "server/metrics/predict_metrics.h"

namespace convd {
namespace {

class Registered final : public Metrics {
 public:
  explicit Registered(const std::map<std::string, std::string>& build)
      : rpc_(RpcMetrics::New(registry_, [this](absl::string_view name) { return IsModel(name); })),
        predict_(NewPredictMetrics(registry_)) {
    for (const char* state : {"succeeded", "failed", "cancelled"}) ended_.Add({{"state", state}});
    prometheus::BuildGauge()
        .Name("convd_build_info")
        .Help("1, with what this server is made of.")
        .Register(registry_)
        .Add(build)
        .Set(1);
    prometheus::BuildGauge()
        .Name("process_start_time_seconds")
        .Help("When the process started, since 1970.")
        .Register(registry_)
        .Add({})
        .Set(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
                 .count());
  }

  RpcMetrics& rpc() override { return *rpc_; }
  PredictObserver& predict() override { return *predict_; }
  void JobEnded(const std::string& state) override { ended_.Add({{"state", state}}).Increment(); }

  void SetFigures(std::function<ServerFigures()> figures) override {
    absl::MutexLock lock(&figures_mu_);
    figures_ = std::move(figures);
  }
  void SetIsModel(RpcMetrics::IsModel is_model) override {
    absl::MutexLock lock(&is_model_mu_);
    is_model_ = std::move(is_model);
  }

  std::string Text() override {
    std::vector<prometheus::MetricFamily> families = registry_.Collect();
    const auto append = [&families](std::vector<prometheus::MetricFamily> more) {
      families.insert(families.end(), std::make_move_iterator(more.begin()),
                      std::make_move_iterator(more.end()));
    };
    append(ProcessFamilies());
    {
      // Held meanwhile, so that what is asked is there until SetFigures has returned.
      absl::MutexLock lock(&figures_mu_);
      if (figures_ != nullptr) append(FigureFamilies(figures_()));
    }
    return prometheus::TextSerializer().Serialize(families);
  }

 private:
  bool IsModel(absl::string_view name) {
    absl::MutexLock lock(&is_model_mu_);
    return is_model_ != nullptr && is_model_(name);
  }

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& ended_ = prometheus::BuildCounter()
                                                        .Name("convd_jobs_ended_total")
                                                        .Help("Jobs that ended, by state.")
                                                        .Register(registry_);
  const std::unique_ptr<RpcMetrics> rpc_;
  const std::unique_ptr<PredictObserver> predict_;
  // Apart: calls are counted while a scrape waits for the disk.
  absl::Mutex figures_mu_;
  std::function<ServerFigures()> figures_ ABSL_GUARDED_BY(figures_mu_);
  absl::Mutex is_model_mu_;
  RpcMetrics::IsModel is_model_ ABSL_GUARDED_BY(is_model_mu_);
};

}  // namespace

std::unique_ptr<Metrics> Metrics::New(const std::map<std::string, std::string>& build) {
  return std::make_unique<Registered>(build);
}

}  // namespace convd
