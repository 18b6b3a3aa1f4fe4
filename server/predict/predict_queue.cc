#include "server/predict/predict_queue.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/predict/predict_call.h"

namespace convd {

namespace {

// So long before a caller's deadline a window ends, for the batch to be computed and answered.
constexpr absl::Duration kBeforeDeadline = absl::Milliseconds(2);

// `lately` brought up to date: the last ten or so count. Zero is none yet.
void Follow(absl::Duration took, absl::Duration& lately) {
  lately = lately == absl::ZeroDuration() ? took : lately + (took - lately) / 8;
}

absl::Status TooMany(absl::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("too many predictions wait: ", what,
                   "; try again in a moment, with a longer pause each time"));
}

}  // namespace

// Images of a call that are ready to be computed.
struct PredictQueue::Part {
  std::shared_ptr<PredictCall> call;
  ImageSet images;
  int64_t first = 0;  // of `images`, in the call
  int64_t taken = 0;

  int64_t left() const { return images.count - taken; }
};

// What waits for one version at one precision. The queue's mutex guards all but the model.
struct PredictQueue::Line {
  std::shared_ptr<const LoadedModel> model;
  std::deque<Part> parts;
  int64_t images = 0;
  int64_t turn = 0;          // images of them until every part has had its turn
  absl::Duration per_image;  // how long one took lately
  int submitted = 0;         // batches in the lane that have not begun
  int running = 0;
  // Where there is a window: alarms that will look again, and when the first of them will.
  int alarms = 0;
  absl::Duration alarm_at = absl::InfiniteDuration();
};

// A call's images in a batch.
struct PredictQueue::Slice {
  std::shared_ptr<PredictCall> call;
  ImageSet images;
  int64_t first;
  bool dropped = false;
};

PredictQueue::PredictQueue(Executor& executor, const PredictLimits& limits, const Clock& clock,
                           PredictObserver* observer, Alarms* alarms)
    : executor_(executor), limits_(limits), clock_(clock), observer_(observer), alarms_(alarms) {}

PredictQueue::~PredictQueue() {
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return calls_ == 0 && decoders_ == 0 && lines_.empty();
  };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&idle));
}

void PredictQueue::Predict(std::shared_ptr<const LoadedModel> model, RequestImages images,
                           StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer,
                           Place place) {
  absl::Status status = still_wanted();
  if (status.ok()) status = Enter(*model, images, place);
  if (!status.ok()) {
    place.GiveBack();
    return answer->Done(std::move(status));
  }
  const absl::Duration arrived = clock_.Monotonic();
  if (observer_ != nullptr && still_wanted.came() < absl::InfiniteDuration()) {
    observer_->Received(arrived - still_wanted.came());
  }
  const absl::Duration latest = LatestStart(arrived, still_wanted.deadline());
  auto call =
      std::make_shared<PredictCall>(std::move(model), std::move(images), std::move(still_wanted),
                                    std::move(answer), arrived, latest);
  if (const ImageSet* pixels = call->images().pixels(); pixels != nullptr) {
    Part part{call, *pixels};
    return Enqueue(std::move(part));
  }
  const int64_t decoders = std::min<int64_t>(call->images().count(), executor_.workers());
  {
    absl::MutexLock lock(&mu_);
    decoders_ += decoders;
  }
  for (int64_t i = 0; i < decoders; ++i) SubmitDecoding(call);
}

absl::Duration PredictQueue::LatestStart(absl::Duration arrived, absl::Time deadline) const {
  if (!windowed()) return arrived;
  return arrived + std::min(limits_.max_delay, deadline - clock_.Now() - kBeforeDeadline);
}

// Below the lane of what is decoded already: a photo takes as long as hundreds of predictions.
void PredictQueue::SubmitDecoding(std::shared_ptr<PredictCall> call) {
  executor_.Submit(Lane::kEvaluate,
                   [this, call = std::move(call)]() mutable { DecodeNext(std::move(call)); });
}

void PredictQueue::DecodeNext(std::shared_ptr<PredictCall> call) {
  const PredictCall::Files files = call->NextFiles(
      PieceImages(*call->model()->model, call->images().count(), executor_.workers()));
  if (files.count == 0) {
    call = nullptr;
    absl::MutexLock lock(&mu_);
    --decoders_;
    return;
  }
  if (!call->failed()) {
    const absl::Duration begun = clock_.Monotonic();
    absl::StatusOr<ImageSet> images = call->images().Read(files.first, files.count, [&] {
      executor_.Cut();
      return call->StillWantedFor(files.first);
    });
    const absl::Duration took = clock_.Monotonic() - begun;
    if (observer_ != nullptr) observer_->Decoded(files.count, took);
    {
      absl::MutexLock lock(&mu_);
      Follow(took, decoding_);
    }
    if (images.ok()) {
      Part part{call, *std::move(images), files.first};
      Enqueue(std::move(part));
      return SubmitDecoding(std::move(call));
    }
    call->Fail(files.first, std::move(images).status());
  }
  Finish(*call, files.count);
  SubmitDecoding(std::move(call));
}

void PredictQueue::Enqueue(Part part) {
  std::shared_ptr<Line> line;
  int batches = 0;
  const bool quick = part.images.count == 1 && part.call->model()->model->quick();
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
    line->turn += std::min(part.left(), FullBatch(*line));
    line->parts.push_back(std::move(part));
    batches = NewBatches(*line, line);
  }
  // To wake a worker takes as long as such a prediction, and so does its answer's way back.
  if (quick && batches == 1 && executor_.TryRunHere(Lane::kPredict, [&] { RunBatch(line); })) {
    return;
  }
  SubmitBatches(line, batches);
}

int64_t PredictQueue::BatchImages(const Line& line, int sharers) const {
  const int64_t images = PieceImages(*line.model->model, line.images, sharers);
  return limits_.max_batch > 0 ? std::min(images, limits_.max_batch) : images;
}

int PredictQueue::NewBatches(Line& line, const std::shared_ptr<Line>& shared) {
  if (line.images == 0) return 0;
  // Workers that are at this version's batches come back for more by themselves.
  const int free = windowed() ? 1 : std::max(1, executor_.workers() - line.running);
  const int64_t batch = BatchImages(line, free);
  int64_t wanted = std::min<int64_t>((line.images + batch - 1) / batch, free);
  if (windowed()) {
    const int64_t full = FullBatch(line);
    wanted = line.images / full;
    if (line.images % full != 0) {
      // As few as make no batch, but the oldest may be anywhere among them.
      absl::Duration due = absl::InfiniteDuration();
      for (const Part& part : line.parts) {
        due = std::min(due, part.call->latest_start());
      }
      if (clock_.Monotonic() >= due) {
        ++wanted;
      } else if (due < line.alarm_at) {
        SetAlarm(line, shared, due);
      }
    }
    wanted = std::min<int64_t>(wanted, executor_.workers());
  }
  const int more = static_cast<int>(std::max<int64_t>(0, wanted - line.submitted));
  line.submitted += more;
  return more;
}

int64_t PredictQueue::FullBatch(const Line& line) const {
  const int64_t preferred = line.model->model->preferred_images();
  return limits_.max_batch > 0 ? std::min(limits_.max_batch, preferred) : preferred;
}

void PredictQueue::SetAlarm(Line& line, const std::shared_ptr<Line>& shared, absl::Duration due) {
  line.alarm_at = due;
  ++line.alarms;
  alarms_->Set(due, [this, line = shared] {
    int batches = 0;
    {
      absl::MutexLock lock(&mu_);
      --line->alarms;
      if (clock_.Monotonic() >= line->alarm_at) line->alarm_at = absl::InfiniteDuration();
      batches = NewBatches(*line, line);
      RemoveIfIdle(*line);
    }
    SubmitBatches(line, batches);
  });
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
    ++line->running;
    slices = TakeBatch(*line);
    batches = NewBatches(*line, line);
  }
  // Before it computes, so that another worker may compute beside it.
  SubmitBatches(line, batches);
  absl::Duration per_image;
  if (!slices.empty()) per_image = Compute(*line->model, slices);
  {
    absl::MutexLock lock(&mu_);
    --line->running;
    if (per_image > absl::ZeroDuration()) Follow(per_image, line->per_image);
    RemoveIfIdle(*line);
  }
  for (const Slice& slice : slices) Finish(*slice.call, slice.images.count);
}

std::vector<PredictQueue::Slice> PredictQueue::TakeBatch(Line& line) {
  std::vector<Slice> slices;
  const int64_t full = FullBatch(line);
  // Those that were submitted with it share what waits.
  const int sharers = windowed() ? 1 : line.submitted + 1;
  for (int64_t room = BatchImages(line, sharers); room > 0 && !line.parts.empty();) {
    Part& part = line.parts.front();
    const bool dropped = part.call->failed();
    const int64_t n = dropped ? part.left() : std::min(room, part.left());
    slices.push_back(
        {part.call, part.images.Slice(part.taken, n), part.first + part.taken, dropped});
    if (!dropped) room -= n;
    line.images -= n;
    line.turn -= std::min(part.left(), full);
    part.taken += n;
    line.turn += std::min(part.left(), full);
    // To the back, so that requests take turns.
    if (part.left() > 0) line.parts.push_back(std::move(part));
    line.parts.pop_front();
  }
  return slices;
}

void PredictQueue::RemoveIfIdle(Line& line) {
  if (line.images == 0 && line.submitted == 0 && line.running == 0 && line.alarms == 0)
    lines_.erase(line.model.get());
}

absl::Duration PredictQueue::Compute(const LoadedModel& model, std::vector<Slice>& slices) {
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
  if (pixels.empty()) return absl::ZeroDuration();
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
  return (computed - begun) / static_cast<int64_t>(pixels.size());
}

void PredictQueue::Deliver(const Slice& slice, absl::Span<const float> probabilities,
                           int64_t classes, const absl::Status& computed) {
  PredictCall& call = *slice.call;
  if (!computed.ok()) {
    // Another image's error may be why nobody wanted the rest of the batch.
    if (call.failed()) return;
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

void PredictQueue::Finish(PredictCall& call, int64_t images) {
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

void PredictQueue::Place::GiveBack() {
  if (queue_ == nullptr) return;
  PredictQueue& queue = *std::exchange(queue_, nullptr);
  absl::MutexLock lock(&queue.mu_);
  queue.images_ -= images_;
  queue.bytes_ -= bytes_;
}

absl::StatusOr<PredictQueue::Place> PredictQueue::Admit(int64_t images, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  CONVD_RETURN_IF_ERROR(TakeRoom(images, bytes));
  Place place;
  place.queue_ = this;
  place.images_ = images;
  place.bytes_ = bytes;
  return place;
}

absl::Duration PredictQueue::ExpectedWait(const LoadedModel& model, bool files) const {
  absl::Duration work = files ? decoders_ * decoding_ : absl::ZeroDuration();
  // Versions take turns too, so that what waits for others counts as far as this one's reaches.
  if (const auto own = lines_.find(&model); own != lines_.end()) {
    const absl::Duration before = own->second->turn * own->second->per_image;
    for (const auto& [other, line] : lines_) work += std::min(before, line->turn * line->per_image);
  }
  return work / executor_.workers();
}

absl::Status PredictQueue::Enter(const LoadedModel& model, const RequestImages& images,
                                 Place& place) {
  absl::MutexLock lock(&mu_);
  if (place.queue_ == nullptr) {
    const absl::Duration wait = limits_.max_wait > absl::ZeroDuration()
                                    ? ExpectedWait(model, images.pixels() == nullptr)
                                    : absl::ZeroDuration();
    if (wait > limits_.max_wait) {
      return TooMany(absl::StrCat("about ",
                                  absl::FormatDuration(absl::Trunc(wait, absl::Milliseconds(1))),
                                  " of computing comes first (at most ",
                                  absl::FormatDuration(limits_.max_wait), ", --max-queue-ms)"));
    }
    CONVD_RETURN_IF_ERROR(TakeRoom(images.count(), images.request_bytes()));
  } else {
    // What was guessed before the model was known is what it is from here on.
    place.queue_ = nullptr;
    images_ += images.count() - place.images_;
    bytes_ += images.request_bytes() - place.bytes_;
  }
  ++calls_;
  return absl::OkStatus();
}

absl::Status PredictQueue::TakeRoom(int64_t images, int64_t bytes) {
  // A request that is within its own limits is never refused by an idle server.
  if (images_ > 0 && (images > limits_.max_waiting_images - images_ ||
                      bytes > limits_.max_waiting_bytes - bytes_)) {
    return TooMany(absl::StrCat(images_, " images of ", bytes_, " bytes (at most ",
                                limits_.max_waiting_images, " and ", limits_.max_waiting_bytes,
                                ")"));
  }
  images_ += images;
  bytes_ += bytes;
  return absl::OkStatus();
}

}  // namespace convd
