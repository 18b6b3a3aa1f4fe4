#include "server/predict/predictor.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/predict/dataset_images.h"
#include "server/predict/model_loading.h"
#include "server/predict/top_k.h"

namespace convd {
namespace {

// Different models load side by side. Those who wait for one are bounded by their places.
constexpr int kLoadsAtOnce = 4;
constexpr int64_t kMostLabelBytes = 5;  // of a varint, on the wire

int64_t ClaimedImages(const v1::Images& images) {
  switch (images.kind_case()) {
    case v1::Images::kUint8:
      return images.uint8().count();
    case v1::Images::kFloat32:
      return images.float32().count();
    case v1::Images::kEncoded:
      return images.encoded().files_size();
    case v1::Images::kDataset:
      return images.dataset().count();
    default:
      return 0;
  }
}

// An upper bound of what the answer takes on the wire: a tag and a length, at most 6 bytes, before
// each message, string and packed array; 5 bytes a float with its tag, 11 an index.
int64_t ResponseBytes(const v1::ModelCard& card, int64_t images, int k, bool probabilities) {
  size_t label = 0;
  for (const std::string& l : card.labels()) label = std::max(label, l.size());
  const int64_t score = 6 + 11 + 6 + static_cast<int64_t>(label) + 5;
  // The model's name and number, and the precision, come once.
  return 128 + images * (6 + k * score + (probabilities ? 6 + int64_t{4} * card.labels_size() : 0));
}

// Fills a PredictResponse.
class ResponseAnswer final : public PredictAnswer {
 public:
  ResponseAnswer(std::shared_ptr<const LoadedModel> model, int k, bool probabilities,
                 int64_t images, v1::PredictResponse& response,
                 std::function<void(absl::Status)> done)
      : model_(std::move(model)),
        k_(k),
        probabilities_(probabilities),
        predictions_(*response.mutable_predictions()),
        done_(std::move(done)) {
    *response.mutable_model() = model_->card.model();
    response.set_precision(model_->precision);
    // All of them now, so that batches write to their own elements only. What batches allocate is
    // an arena's, where the response lies in one: several threads may.
    predictions_.Reserve(static_cast<int>(images));
    for (int64_t i = 0; i < images; ++i) predictions_.Add();
  }

  void Write(int64_t first, absl::Span<const float> probabilities) override {
    const v1::ModelCard& card = model_->card;
    const int64_t classes = model_->model->graph().classes();
    const int64_t n = static_cast<int64_t>(probabilities.size()) / classes;
    for (int64_t i = 0; i < n; ++i) {
      const absl::Span<const float> p = probabilities.subspan(i * classes, classes);
      v1::Prediction& prediction = *predictions_.Mutable(static_cast<int>(first + i));
      for (int index : TopK(p, k_)) {
        v1::ClassScore& score = *prediction.add_top();
        score.set_index(index);
        if (index < card.labels_size()) score.set_label(card.labels(index));
        score.set_probability(p[index]);
      }
      if (probabilities_) prediction.mutable_probabilities()->Add(p.begin(), p.end());
    }
  }

  void Done(absl::Status status) override { done_(std::move(status)); }

 private:
  const std::shared_ptr<const LoadedModel> model_;
  const int k_;
  const bool probabilities_;
  google::protobuf::RepeatedPtrField<v1::Prediction>& predictions_;
  const std::function<void(absl::Status)> done_;
};

// What a request asks for, once it is known to fit the model and an answer.
struct Checked {
  RequestImages images;
  absl::Span<const int32_t> labels;  // of a dataset's images, which own them
  int k = 0;
  int64_t answer_bytes = 0;  // at most
};

absl::StatusOr<Checked> CheckRequest(const v1::PredictRequest& request, const LoadedModel& model,
                                     const PredictLimits& limits, DatasetRegistry* datasets) {
  const Graph& graph = model.model->graph();
  CONVD_ASSIGN_OR_RETURN(const int k, ResolveTopK(request.top_k(), graph.classes()));
  absl::Span<const int32_t> labels;
  absl::StatusOr<RequestImages> images = absl::InternalError("no images");
  if (request.images().has_dataset() && datasets != nullptr) {
    CONVD_ASSIGN_OR_RETURN(
        ImageSet set, ReadDatasetImages(*datasets, request.images().dataset(), limits.max_images));
    labels = set.labels;
    images = RequestImages::FromSet("images.dataset", std::move(set), graph.input());
  } else {
    images =
        RequestImages::Create(request.images(), graph.input(), limits.max_images, limits.files);
  }
  CONVD_RETURN_IF_ERROR(images.status());
  const int64_t bytes = ResponseBytes(model.card, images->count(), k, request.probabilities()) +
                        static_cast<int64_t>(labels.size()) * kMostLabelBytes;
  if (bytes > limits.max_response_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "images: the answer for ", images->count(), " images would take up to ", bytes,
        " bytes; this server sends at most ", limits.max_response_bytes,
        " (--max-message-mb). Send fewer images in a request, or ask for fewer figures (top_k, "
        "probabilities)"));
  }
  return Checked{*std::move(images), labels, k, bytes};
}

void Answer(PredictQueue& queue, std::shared_ptr<const LoadedModel> model,
            DatasetRegistry* datasets, const v1::PredictRequest& request,
            v1::PredictResponse& response, StillWanted still_wanted,
            std::function<void(absl::Status)> done, const std::function<void(int64_t)>& on_checked,
            PredictQueue::Place place) {
  absl::StatusOr<Checked> checked = CheckRequest(request, *model, queue.limits(), datasets);
  if (!checked.ok()) {
    place.GiveBack();
    return done(checked.status());
  }
  if (on_checked) on_checked(checked->answer_bytes);
  response.mutable_labels()->Add(checked->labels.begin(), checked->labels.end());
  auto answer =
      std::make_shared<ResponseAnswer>(model, checked->k, request.probabilities(),
                                       checked->images.count(), response, std::move(done));
  queue.Predict(std::move(model), std::move(checked->images), std::move(still_wanted),
                std::move(answer), std::move(place));
}

}  // namespace

Predictor::Predictor(ModelRepository& models, PredictQueue& queue, DatasetRegistry* datasets)
    : models_(models), queue_(queue), datasets_(datasets), loads_(kLoadsAtOnce, /*waiting=*/0) {}

void Predictor::Predict(const v1::PredictRequest& request, v1::PredictResponse& response,
                        StillWanted still_wanted, std::function<void(absl::Status)> done,
                        std::function<void(int64_t)> on_checked) {
  if (absl::Status status = CheckModelVersion(request.model()); !status.ok()) {
    return done(std::move(status));
  }
  // To open a dataset may wait for the disk.
  if (!request.images().has_dataset()) {
    if (std::shared_ptr<const LoadedModel> model =
            models_.FindLoaded(request.model(), request.precision())) {
      return Answer(queue_, std::move(model), datasets_, request, response, std::move(still_wanted),
                    std::move(done), on_checked, {});
    }
  }
  Load(request.model(), request.precision(),
       {request, ClaimedImages(request.images()), request.images().has_dataset()}, still_wanted,
       [this, &request, &response, still_wanted, done = std::move(done),
        on_checked = std::move(on_checked)](LoadedOr model, PredictQueue::Place place) {
         if (!model.ok()) return done(model.status());
         Answer(queue_, *std::move(model), datasets_, request, response, still_wanted, done,
                on_checked, std::move(place));
       });
}

void Predictor::WithModel(const v1::ModelVersion& version, v1::Precision precision,
                          const Claim& claim, StillWanted still_wanted, Then then) {
  if (absl::Status status = CheckModelVersion(version); !status.ok()) return then(status, {});
  if (std::shared_ptr<const LoadedModel> model = models_.FindLoaded(version, precision)) {
    return then(std::move(model), {});
  }
  Load(version, precision, claim, std::move(still_wanted), std::move(then));
}

void Predictor::Load(const v1::ModelVersion& version, v1::Precision precision, const Claim& claim,
                     StillWanted still_wanted, Then then) {
  // What counts are bytes that are there; of images that are to be in them, which only the model
  // can count, no more than there are bytes.
  const auto bytes = static_cast<int64_t>(claim.request.SpaceUsedLong());
  const int64_t most_images = queue_.limits().max_images;
  const int64_t most = claim.elsewhere ? most_images : std::min(bytes, most_images);
  absl::StatusOr<PredictQueue::Place> place =
      queue_.Admit(std::clamp<int64_t>(claim.images, 1, most), bytes);
  if (!place.ok()) return then(place.status(), {});
  // Only a load outlives this call's arguments.
  const bool accepted =
      loads_.StartNext([this, version, precision, still_wanted = std::move(still_wanted), then,
                        place = *std::move(place)]() mutable {
        const absl::Status wanted = still_wanted();
        LoadedOr model = wanted.ok() ? LoadModel(models_, version, precision) : LoadedOr(wanted);
        // The place is free before the caller knows.
        if (!model.ok()) place.GiveBack();
        then(std::move(model), std::move(place));
      });
  if (!accepted) {
    then(absl::ResourceExhaustedError("there is no thread to load the model on; try again in a "
                                      "moment, with a longer pause each time"),
         {});
  }
}

void PredictWith(PredictQueue& queue, std::shared_ptr<const LoadedModel> model,
                 const v1::PredictRequest& request, v1::PredictResponse& response,
                 StillWanted still_wanted, std::function<void(absl::Status)> done,
                 PredictQueue::Place place) {
  Answer(queue, std::move(model), nullptr, request, response, std::move(still_wanted),
         std::move(done), nullptr, std::move(place));
}

}  // namespace convd
