#ifndef CONVD_SERVER_METRICS_PREDICT_METRICS_H_
#define CONVD_SERVER_METRICS_PREDICT_METRICS_H_

#include <memory>

#include "server/predict/predict_queue.h"

namespace prometheus {
class Registry;
}

namespace convd {

// What the predict queue's observer shows: its stages' times and its batches. The registry outlives
// it.
std::unique_ptr<PredictObserver> NewPredictMetrics(prometheus::Registry& registry);

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_PREDICT_METRICS_H_
