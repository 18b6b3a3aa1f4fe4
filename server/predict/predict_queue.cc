#include "server/predict/predict_queue.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

// One accepted request. Held by its images' parts and by the tasks that decode them.
class PredictQueue::Call {
 public:
  Call(std::shared_ptr<const LoadedModel> model, RequestImages images, int workers,
       StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer, absl::Duration arrived)
      : model_(std::move(model)),
        images_(std::move(images)),
        piece_images_(PieceImages(*model_->model, images_.count(), workers)),
        arrived_(arrived),
        still_wanted_(std::move(still_wanted)),
        answer_(std::move(answer)),
        left_(images_.count()) {}

  const std::shared_ptr<const LoadedModel>& model() const { return model_; }
  const RequestImages& images() const { return images_; }
  absl::Duration arrived() const { return arrived_; }
  PredictAnswer& answer() const { return *answer_; }
  int64_t pieces() const { return (images_.count() + piece_images_ - 1) / piece_images_; }

  // Images of the next piece to decode, or none of them.
  struct Piece {
    int64_t first, count;
  };
  Piece NextPiece() {
    const int64_t first = next_.fetch_add(piece_images_, std::memory_order_relaxed);
    return {first, std::clamp<int64_t>(images_.count() - first, 0, piece_images_)};
  }

  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  // Its error too is told, if it has none yet.
  absl::Status StillWantedFor(int64_t first) {
    absl::Status status = still_wanted_();
    if (!status.ok()) Fail(first, status);
    return status;
  }
  // For the cuts: told of at the end.
  bool Wanted() const { return !failed() && still_wanted_().ok(); }

  // Of several errors the one of the first image is told, whichever came first.
  void Fail(int64_t image, absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (image < error_image_) {
      error_image_ = image;
      error_ = std::move(status);
    }
    failed_.store(true, std::memory_order_relaxed);
  }
  absl::Status error() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return error_;
  }

  // True where these were the last. Acquire and release: whoever ends the call sees what the others
  // wrote.
  bool Account(int64_t images) {
    return left_.fetch_sub(images, std::memory_order_acq_rel) == images;
  }

 private:
  const std::shared_ptr<const LoadedModel> model_;
  const RequestImages images_;
  const int64_t piece_images_;
  const absl::Duration arrived_;
  const StillWanted still_wanted_;
  const std::shared_ptr<PredictAnswer> answer_;

  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::atomic<int64_t> left_;  // neither answered nor dropped

  absl::Mutex mu_;
  int64_t error_image_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<int64_t>::max();
  absl::Status error_ ABSL_GUARDED_BY(mu_);
};

// Images of a call that are ready to be computed.
struct PredictQueue::Part {
  std::shared_ptr<Call> call;
  ImageSet images;
  int64_t first = 0;  // of `images`, in the call
  int64_t taken = 0;
};

// What waits for one version at one precision. The queue's mutex guards all but the model.
struct PredictQueue::Line {
  std::shared_ptr<const LoadedModel> model;
  std::deque<Part> parts;
  int64_t images = 0;
  int submitted = 0;   // batches in the lane that have not begun
  bool alarm = false;  // one will look again
};

// A call's images in a batch.
struct PredictQueue::Slice {
  std::shared_ptr<Call> call;
  ImageSet images;
  int64_t first;
  bool dropped = false;
};

PredictQueue::PredictQueue(Executor& executor, const PredictLimits& limits, const Clock& clock,
                           PredictObserver* observer, Alarms* alarms)
    : executor_(executor), limits_(limits), clock_(clock), observer_(observer), alarms_(alarms) {}

PredictQueue::~PredictQueue() {
  const auto idle = [this]()
                        ABSL_SHARED_LOCKS_REQUIRED(mu_) { return calls_ == 0 && lines_.empty(); };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&idle));
}

void PredictQueue::Predict(std::shared_ptr<const LoadedModel> model, RequestImages images,
                           StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer) {
  absl::Status status = still_wanted();
  if (status.ok()) status = Admit(images.count(), images.request_bytes());
  if (!status.ok()) return answer->Done(std::move(status));
  auto call =
      std::make_shared<Call>(std::move(model), std::move(images), executor_.workers(),
                             std::move(still_wanted), std::move(answer), clock_.Monotonic());
  if (const ImageSet* pixels = call->images().pixels(); pixels != nullptr) {
    Part part{call, *pixels};
    return Enqueue(std::move(part));
  }
  const int64_t decoders = std::min<int64_t>(call->pieces(), executor_.workers());
  for (int64_t i = 0; i < decoders; ++i) SubmitDecoding(call);
}

// Below the lane of what is decoded already: a photo takes as long as hundreds of predictions.
void PredictQueue::SubmitDecoding(std::shared_ptr<Call> call) {
  executor_.Submit(Lane::kEvaluate,
                   [this, call = std::move(call)]() mutable { DecodeNext(std::move(call)); });
}

void PredictQueue::DecodeNext(std::shared_ptr<Call> call) {
  const Call::Piece piece = call->NextPiece();
  if (piece.count == 0) return;
  if (!call->failed()) {
    const absl::Duration begun = clock_.Monotonic();
    absl::StatusOr<ImageSet> images = call->images().Read(piece.first, piece.count, [&] {
      executor_.Cut();
      return call->StillWantedFor(piece.first);
    });
    if (observer_ != nullptr) observer_->Decoded(piece.count, clock_.Monotonic() - begun);
    if (images.ok()) {
      Part part{call, *std::move(images), piece.first};
      Enqueue(std::move(part));
      return SubmitDecoding(std::move(call));
    }
    call->Fail(piece.first, std::move(images).status());
  }
  Finish(*call, piece.count);
  SubmitDecoding(std::move(call));
}

void PredictQueue::Enqueue(Part part) {
  std::shared_ptr<Line> line;
  int batches = 0;
  {
    absl::MutexLock lock(&mu_);
    const std::shared_ptr<const LoadedModel>& model = part.call->model();
    std::shared_ptr<Line>& found = lines_[model.get()];
    if (found == nullptr) {
      found = std::make_shared<Line>();
      found->model = model;
    }
    line = found;
    line->images += part.images.count;
    line->parts.push_back(std::move(part));
    batches = NewBatches(*line, line);
  }
  SubmitBatches(line, batches);
}

int64_t PredictQueue::BatchImages(const Line& line) const {
  const int64_t images = PieceImages(*line.model->model, line.images, executor_.workers());
  return limits_.max_batch > 0 ? std::min(images, limits_.max_batch) : images;
}

int PredictQueue::NewBatches(Line& line, const std::shared_ptr<Line>& shared) {
  if (line.images == 0) return 0;
  if (limits_.max_delay > absl::ZeroDuration() && alarms_ != nullptr) {
    const int64_t preferred = line.model->model->preferred_images();
    const int64_t full = limits_.max_batch > 0 ? std::min(limits_.max_batch, preferred) : preferred;
    absl::Duration due = absl::InfiniteDuration();
    if (line.images < full) {
      for (const Part& part : line.parts) {
        due = std::min(due, part.call->arrived() + limits_.max_delay);
      }
    }
    if (line.images < full && clock_.Monotonic() < due) {
      if (!std::exchange(line.alarm, true)) {
        alarms_->Set(due, [this, line = shared] {
          int batches = 0;
          {
            absl::MutexLock lock(&mu_);
            line->alarm = false;
            batches = NewBatches(*line, line);
            RemoveIfIdle(*line);
          }
          SubmitBatches(line, batches);
        });
      }
      return 0;
    }
  }
  const int64_t batch = BatchImages(line);
  const int64_t wanted = std::min<int64_t>((line.images + batch - 1) / batch, executor_.workers());
  const int more = static_cast<int>(std::max<int64_t>(0, wanted - line.submitted));
  line.submitted += more;
  return more;
}

void PredictQueue::SubmitBatches(const std::shared_ptr<Line>& line, int count) {
  for (int i = 0; i < count; ++i) {
    executor_.Submit(Lane::kPredict, [this, line] { RunBatch(line); });
  }
}

void PredictQueue::RunBatch(const std::shared_ptr<Line>& line) {
  std::vector<Slice> slices;
  int batches = 0;
  {
    absl::MutexLock lock(&mu_);
    --line->submitted;
    slices = TakeBatch(*line);
    batches = NewBatches(*line, line);
    RemoveIfIdle(*line);
  }
  // Before it computes, so that another worker may compute beside it.
  SubmitBatches(line, batches);
  if (slices.empty()) return;
  Compute(*line->model, slices);
  for (const Slice& slice : slices) Finish(*slice.call, slice.images.count);
}

std::vector<PredictQueue::Slice> PredictQueue::TakeBatch(Line& line) {
  std::vector<Slice> slices;
  for (int64_t room = BatchImages(line); room > 0 && !line.parts.empty();) {
    Part& part = line.parts.front();
    const bool dropped = part.call->failed();
    const int64_t left = part.images.count - part.taken;
    const int64_t n = dropped ? left : std::min(room, left);
    slices.push_back(
        {part.call, part.images.Slice(part.taken, n), part.first + part.taken, dropped});
    if (!dropped) room -= n;
    line.images -= n;
    part.taken += n;
    // To the back, so that requests take turns.
    if (part.taken < part.images.count) line.parts.push_back(std::move(part));
    line.parts.pop_front();
  }
  return slices;
}

void PredictQueue::RemoveIfIdle(Line& line) {
  if (line.images == 0 && line.submitted == 0 && !line.alarm) lines_.erase(line.model.get());
}

void PredictQueue::Compute(const LoadedModel& model, std::vector<Slice>& slices) {
  const absl::Duration begun = clock_.Monotonic();
  // One request's error is nothing to those that share its batch.
  std::vector<ImagePixels> pixels;
  for (Slice& slice : slices) {
    if (observer_ != nullptr) observer_->Waited(begun - slice.call->arrived());
    if (slice.dropped) continue;
    absl::Status status = slice.call->StillWantedFor(slice.first);
    if (status.ok()) status = slice.call->images().CheckPixels(slice.images, slice.first);
    if (!status.ok()) {
      slice.call->Fail(slice.first, std::move(status));
      slice.dropped = true;
      continue;
    }
    for (int64_t i = 0; i < slice.images.count; ++i) {
      pixels.push_back({slice.images.image(i), slice.images.type});
    }
  }
  if (pixels.empty()) return;
  const int64_t classes = model.model->graph().classes();
  std::vector<float> probabilities(pixels.size() * classes);
  const auto unwanted = [&] {
    return std::none_of(slices.begin(), slices.end(),
                        [](const Slice& slice) { return !slice.dropped && slice.call->Wanted(); });
  };
  const absl::Status status =
      model.model->InferScattered(pixels, absl::MakeSpan(probabilities), executor_, unwanted);
  const absl::Duration computed = clock_.Monotonic();
  if (observer_ != nullptr) {
    observer_->Computed(model, static_cast<int64_t>(pixels.size()), computed - begun);
  }
  absl::Span<const float> left(probabilities);
  for (const Slice& slice : slices) {
    if (slice.dropped) continue;
    const absl::Span<const float> own = left.subspan(0, slice.images.count * classes);
    left.remove_prefix(own.size());
    Deliver(slice, own, classes, status);
  }
  if (observer_ != nullptr) observer_->Encoded(clock_.Monotonic() - computed);
}

void PredictQueue::Deliver(const Slice& slice, absl::Span<const float> probabilities,
                           int64_t classes, const absl::Status& computed) {
  Call& call = *slice.call;
  if (!computed.ok()) {
    // What the caller is told is why, not the model's own word for it.
    if (absl::IsCancelled(computed) && !call.StillWantedFor(slice.first).ok()) return;
    return call.Fail(slice.first, computed);
  }
  // The order of NaNs would be undefined; finite weights can still overflow.
  const auto bad = std::find_if(probabilities.begin(), probabilities.end(),
                                [](float v) { return !std::isfinite(v); });
  if (bad != probabilities.end()) {
    const int64_t image = slice.first + (bad - probabilities.begin()) / classes;
    return call.Fail(image, absl::InternalError(absl::StrCat(
                                "image ", image, ": the model's probabilities are not finite")));
  }
  if (!call.failed()) call.answer().Write(slice.first, probabilities);
}

void PredictQueue::Finish(Call& call, int64_t images) {
  if (!call.Account(images)) return;
  {
    absl::MutexLock lock(&mu_);
    // The place is free before the caller knows, so that its next request finds it.
    images_ -= call.images().count();
    bytes_ -= call.images().request_bytes();
  }
  call.answer().Done(call.error());
  absl::MutexLock lock(&mu_);
  --calls_;
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

}  // namespace convd
