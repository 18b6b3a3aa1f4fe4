#include "server/predict/predict.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/predict/request_images.h"
#include "server/predict/top_k.h"

namespace convd {
namespace {

// An upper bound of what the answer takes on the wire: a tag and a length, at most 6 bytes, before
// each message, string and packed array; 5 bytes a float with its tag, 11 an index.
int64_t ResponseBytes(const v1::ModelCard& card, int64_t images, int k, bool probabilities) {
  size_t label = 0;
  for (const std::string& l : card.labels()) label = std::max(label, l.size());
  const int64_t score = 6 + 11 + 6 + static_cast<int64_t>(label) + 5;
  // The model's name and number, and the precision, come once.
  return 128 + images * (6 + k * score + (probabilities ? 6 + int64_t{4} * card.labels_size() : 0));
}

}  // namespace

// One accepted request. Held by its tasks in the lane.
class PredictQueue::Call {
 public:
  Call(PredictQueue& queue, std::shared_ptr<const LoadedModel> model, RequestImages images, int k,
       const v1::PredictRequest& request, v1::PredictResponse& response, StillWanted still_wanted,
       std::function<void(absl::Status)> done)
      : queue_(queue),
        model_(std::move(model)),
        images_(std::move(images)),
        k_(k),
        probabilities_(request.probabilities()),
        bytes_(static_cast<int64_t>(request.images().ByteSizeLong())),
        piece_images_(PieceImages(*model_->model, images_.count(), queue.executor_.workers())),
        pieces_((images_.count() + piece_images_ - 1) / piece_images_),
        runners_(static_cast<int>(std::min<int64_t>(pieces_, queue.executor_.workers()))),
        predictions_(*response.mutable_predictions()),
        still_wanted_(std::move(still_wanted)),
        done_(std::move(done)) {
    *response.mutable_model() = model_->card.model();
    response.set_precision(model_->precision);
    // All of them now, so that the pieces write to their own elements only.
    predictions_.Reserve(static_cast<int>(images_.count()));
    for (int64_t i = 0; i < images_.count(); ++i) predictions_.Add();
  }

  int64_t images() const { return images_.count(); }
  int64_t bytes() const { return bytes_; }
  int runners() const { return runners_; }

  // Runs the next piece. True where the caller is to submit the call again; otherwise this runner
  // is through, and the last one of them has answered.
  bool Step() {
    const int64_t piece = next_.fetch_add(1, std::memory_order_relaxed);
    if (piece < pieces_ && !failed_.load(std::memory_order_relaxed)) {
      if (absl::Status status = RunPiece(piece); !status.ok()) Fail(piece, std::move(status));
    }
    if (!failed_.load(std::memory_order_relaxed) &&
        next_.load(std::memory_order_relaxed) < pieces_) {
      return true;
    }
    // Acquire and release: the last runner sees what the others wrote.
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) Answer();
    return false;
  }

 private:
  absl::Status RunPiece(int64_t piece) {
    CONVD_RETURN_IF_ERROR(still_wanted_());
    const InferenceModel& model = *model_->model;
    const int64_t begin = piece * piece_images_;
    const int64_t n = std::min(piece_images_, images_.count() - begin);
    const int64_t classes = model.graph().classes();
    CONVD_ASSIGN_OR_RETURN(const ImageSet images, images_.Read(begin, n, still_wanted_));
    std::vector<float> probabilities(n * classes);
    absl::Status status = model.Infer(
        images, absl::MakeSpan(probabilities), queue_.executor_,
        [this] { return failed_.load(std::memory_order_relaxed) || !still_wanted_().ok(); });
    if (absl::IsCancelled(status)) CONVD_RETURN_IF_ERROR(still_wanted_());
    CONVD_RETURN_IF_ERROR(status);
    for (int64_t i = 0; i < n; ++i) {
      const absl::Span<const float> p(probabilities.data() + i * classes, classes);
      // The order of NaNs would be undefined; finite weights can still overflow.
      if (!std::all_of(p.begin(), p.end(), [](float v) { return std::isfinite(v); })) {
        return absl::InternalError(
            absl::StrCat("image ", begin + i, ": the model's probabilities are not finite"));
      }
      v1::Prediction& prediction = *predictions_.Mutable(static_cast<int>(begin + i));
      for (int index : TopK(p, k_)) {
        v1::ClassScore& score = *prediction.add_top();
        score.set_index(index);
        if (index < model_->card.labels_size()) score.set_label(model_->card.labels(index));
        score.set_probability(p[index]);
      }
      if (probabilities_) prediction.mutable_probabilities()->Add(p.begin(), p.end());
    }
    return absl::OkStatus();
  }

  // Of several errors the one of the first piece is told, whichever came first.
  void Fail(int64_t piece, absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (piece < error_piece_) {
      error_piece_ = piece;
      error_ = std::move(status);
    }
    failed_.store(true, std::memory_order_relaxed);
  }

  void Answer() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::Status status;
    {
      absl::MutexLock lock(&mu_);
      status = error_;
    }
    // The place is free before the caller knows, so that its next request finds it.
    queue_.Release(images(), bytes_);
    done_(std::move(status));
    queue_.Leave();
  }

  PredictQueue& queue_;
  const std::shared_ptr<const LoadedModel> model_;
  const RequestImages images_;
  const int k_;
  const bool probabilities_;
  const int64_t bytes_;
  const int64_t piece_images_;
  const int64_t pieces_;
  const int runners_;
  google::protobuf::RepeatedPtrField<v1::Prediction>& predictions_;
  const StillWanted still_wanted_;
  const std::function<void(absl::Status)> done_;

  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::atomic<int> running_{runners_};

  absl::Mutex mu_;
  int64_t error_piece_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<int64_t>::max();
  absl::Status error_ ABSL_GUARDED_BY(mu_);
};

PredictQueue::PredictQueue(Executor& executor, const PredictLimits& limits)
    : executor_(executor), limits_(limits) {}

PredictQueue::~PredictQueue() {
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return calls_ == 0; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&idle));
}

void PredictQueue::Predict(std::shared_ptr<const LoadedModel> model,
                           const v1::PredictRequest& request, v1::PredictResponse& response,
                           StillWanted still_wanted, std::function<void(absl::Status)> done) {
  absl::StatusOr<std::shared_ptr<Call>> call = [&]() -> absl::StatusOr<std::shared_ptr<Call>> {
    const Graph& graph = model->model->graph();
    CONVD_ASSIGN_OR_RETURN(const int k, ResolveTopK(request.top_k(), graph.classes()));
    CONVD_ASSIGN_OR_RETURN(
        RequestImages images,
        RequestImages::Create(request.images(), graph.input(), limits_.max_images, limits_.files));
    const int64_t answer = ResponseBytes(model->card, images.count(), k, request.probabilities());
    if (answer > limits_.max_response_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "images: the answer for ", images.count(), " images would take up to ", answer,
          " bytes; this server sends at most ", limits_.max_response_bytes,
          " (--max-message-mb). Send fewer images in a request, or ask for fewer figures (top_k, "
          "probabilities)"));
    }
    CONVD_RETURN_IF_ERROR(still_wanted());
    CONVD_RETURN_IF_ERROR(
        Admit(images.count(), static_cast<int64_t>(request.images().ByteSizeLong())));
    return std::make_shared<Call>(*this, std::move(model), std::move(images), k, request, response,
                                  std::move(still_wanted), done);
  }();
  if (!call.ok()) return done(call.status());
  // The last runner may end before the loop does: read what it needs first.
  const int runners = (*call)->runners();
  for (int i = 0; i < runners; ++i) Submit(*call);
}

void PredictQueue::Submit(std::shared_ptr<Call> call) {
  executor_.Submit(Lane::kPredict, [this, call = std::move(call)]() mutable {
    if (call->Step()) Submit(std::move(call));
  });
}

absl::Status PredictQueue::Admit(int64_t images, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  // A request that is within its own limits is never refused by an idle server.
  if (images_ > 0 && (images > limits_.max_waiting_images - images_ ||
                      bytes > limits_.max_waiting_bytes - bytes_)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "too many predictions wait: ", images_, " images of ", bytes_, " bytes (at most ",
        limits_.max_waiting_images, " and ", limits_.max_waiting_bytes,
        "); try again in a moment, with a longer pause each time"));
  }
  ++calls_;
  images_ += images;
  bytes_ += bytes;
  return absl::OkStatus();
}

void PredictQueue::Release(int64_t images, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  images_ -= images;
  bytes_ -= bytes;
}

void PredictQueue::Leave() {
  absl::MutexLock lock(&mu_);
  --calls_;
}

}  // namespace convd
