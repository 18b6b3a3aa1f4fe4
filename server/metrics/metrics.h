#ifndef CONVD_SERVER_METRICS_METRICS_H_
#define CONVD_SERVER_METRICS_METRICS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "server/metrics/rpc_metrics.h"
#include "server/metrics/server_figures.h"
#include "server/predict/predict_queue.h"

namespace convd {

// All that /metrics shows; docs/metrics.md says what each is. Made first, since all that is counted
// is counted through it. Any thread may call.
class Metrics {
 public:
  // `build` becomes the labels of convd_build_info.
  static std::unique_ptr<Metrics> New(const std::map<std::string, std::string>& build);
  virtual ~Metrics() = default;

  virtual RpcMetrics& rpc() = 0;
  virtual PredictObserver& predict() = 0;
  // `state` is that of a job that ended: "succeeded", "failed", "cancelled".
  virtual void JobEnded(const std::string& state) = 0;

  // What is asked at each scrape, until it is set anew: with nothing before what it asks is gone.
  virtual void SetFigures(std::function<ServerFigures()> figures) = 0;
  // Which names models have; none before.
  virtual void SetIsModel(RpcMetrics::IsModel is_model) = 0;

  // In Prometheus's text format, version 0.0.4. Waits for what the figures wait for.
  virtual std::string Text() = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_METRICS_H_
