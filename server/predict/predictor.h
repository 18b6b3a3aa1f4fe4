#ifndef CONVD_SERVER_PREDICT_PREDICTOR_H_
#define CONVD_SERVER_PREDICT_PREDICTOR_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "convd/v1/predictor.pb.h"
#include "google/protobuf/message.h"
#include "server/datasets/registry.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"
#include "server/predict/predict_queue.h"

namespace convd {

// Predictions by the name of a model, whatever protocol asks: finds the version, or loads it on a
// thread that may wait so that predictions of others go on, then queues. The destructor waits until
// every accepted request is answered. Any thread may call; repository and queue outlive it.
class Predictor {
 public:
  using LoadedOr = absl::StatusOr<std::shared_ptr<const LoadedModel>>;

  // `datasets` has what images.dataset names; null: nothing. It outlives the predictor, too.
  Predictor(ModelRepository& models, PredictQueue& queue, DatasetRegistry* datasets = nullptr);

  PredictQueue& queue() { return queue_; }

  // Answers into `response` and calls `done` exactly once, on any thread, perhaps before this
  // returns. INVALID_ARGUMENT names the field; NOT_FOUND; RESOURCE_EXHAUSTED where too many wait.
  // `request` and `response` live until `done` is called; nothing here touches them afterwards.
  // Once, before `done`, `on_checked` is told how many bytes the answer takes at most, unless it is
  // an error.
  void Predict(const v1::PredictRequest& request, v1::PredictResponse& response,
               StillWanted still_wanted, std::function<void(absl::Status)> done,
               std::function<void(int64_t answer_bytes)> on_checked = nullptr);

  // Called exactly once; the place is the queue's Predict's, if the request had to wait.
  using Then = std::function<void(LoadedOr, PredictQueue::Place)>;

  // A request, maybe of another protocol, which says it has so many images; `elsewhere`, as a
  // dataset's are, rather than in itself.
  struct Claim {
    const google::protobuf::Message& request;
    int64_t images = 0;
    bool elsewhere = false;
  };

  // Calls `then` with what `version` and `precision` stand for, at once where it is in memory, else
  // on a thread that may wait, with a place in the queue: RESOURCE_EXHAUSTED where there is none.
  void WithModel(const v1::ModelVersion& version, v1::Precision precision, const Claim& claim,
                 StillWanted still_wanted, Then then);

 private:
  // The same, always on a thread that may wait.
  void Load(const v1::ModelVersion& version, v1::Precision precision, const Claim& claim,
            StillWanted still_wanted, Then then);

  ModelRepository& models_;
  PredictQueue& queue_;
  DatasetRegistry* const datasets_;
  BlockingCalls loads_;  // last: its calls use the rest
};

// The same with a model that is at hand.
void PredictWith(PredictQueue& queue, std::shared_ptr<const LoadedModel> model,
                 const v1::PredictRequest& request, v1::PredictResponse& response,
                 StillWanted still_wanted, std::function<void(absl::Status)> done,
                 PredictQueue::Place place = {});

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_PREDICTOR_H_
