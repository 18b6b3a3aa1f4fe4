#include "core/eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/data/prefetch.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"

namespace convd {
namespace {

constexpr double kLeastProbability = 1e-38;
constexpr int kTop = 5;
// More than workers have in hand, so that the disk is asked before one of them waits for it.
constexpr int64_t kPiecesAhead = 32;

double Ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / whole;
}

// What the figures need to know of a sample's probabilities.
struct Outcome {
  float of_label = 0;     // the probability of the true class
  int32_t predicted = 0;  // the most probable class
  bool in_top = false;
};

Outcome Judge(const float* p, int64_t classes, int32_t label) {
  Outcome outcome;
  outcome.of_label = p[label];
  outcome.predicted = static_cast<int32_t>(std::max_element(p, p + classes) - p);
  int64_t before = 0;  // classes that rank before the true one
  for (int64_t c = 0; c < classes; ++c) {
    before += p[c] > p[label] || (p[c] == p[label] && c < label);
  }
  outcome.in_top = before < kTop;
  return outcome;
}

v1::Metrics Summarize(absl::Span<const Outcome> outcomes, absl::Span<const int32_t> labels,
                      const std::vector<std::string>& class_names) {
  const int64_t classes = static_cast<int64_t>(class_names.size());
  std::vector<int64_t> support(classes), predicted(classes), hits(classes);
  std::vector<int64_t> confusion(classes > kMostConfusionClasses ? 0 : classes * classes);
  double loss = 0;
  int64_t correct = 0, in_top = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    const int32_t label = labels[i];
    loss -= std::log(std::max<double>(outcome.of_label, kLeastProbability));
    in_top += outcome.in_top;
    ++support[label];
    ++predicted[outcome.predicted];
    if (outcome.predicted == label) {
      ++correct;
      ++hits[label];
    }
    if (!confusion.empty()) ++confusion[label * classes + outcome.predicted];
  }
  v1::Metrics metrics;
  const int64_t samples = static_cast<int64_t>(labels.size());
  metrics.set_samples(samples);
  metrics.set_loss(samples == 0 ? 0 : loss / samples);
  metrics.set_accuracy(Ratio(correct, samples));
  if (classes > kTop) metrics.set_top_5_accuracy(Ratio(in_top, samples));
  for (int64_t c = 0; c < classes; ++c) {
    v1::ClassMetrics& entry = *metrics.add_classes();
    entry.set_label(class_names[c]);
    entry.set_support(support[c]);
    entry.set_precision(Ratio(hits[c], predicted[c]));
    entry.set_recall(Ratio(hits[c], support[c]));
    entry.set_f1(Ratio(2 * hits[c], support[c] + predicted[c]));
  }
  metrics.mutable_confusion()->Add(confusion.begin(), confusion.end());
  return metrics;
}

}  // namespace

v1::Metrics ComputeMetrics(absl::Span<const float> probabilities, absl::Span<const int32_t> labels,
                           const std::vector<std::string>& class_names) {
  const int64_t classes = static_cast<int64_t>(class_names.size());
  std::vector<Outcome> outcomes(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    outcomes[i] = Judge(probabilities.data() + i * classes, classes, labels[i]);
  }
  return Summarize(outcomes, labels, class_names);
}

absl::StatusOr<v1::Metrics> Evaluate(const InferenceModel& model, const ImageSet& images,
                                     const std::vector<std::string>& class_names,
                                     Executor& executor, Lane lane,
                                     absl::FunctionRef<bool()> cancelled,
                                     std::vector<float>* probabilities) {
  const int64_t classes = model.graph().classes();
  std::vector<Outcome> outcomes;
  try {
    outcomes.resize(images.count);
    if (probabilities != nullptr) probabilities->resize(images.count * classes);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the results of ", images.count, " images"));
  }

  const int64_t piece = model.preferred_images();
  absl::Mutex mutex;
  absl::Status first_error;
  executor.ForEach(lane, (images.count + piece - 1) / piece, [&](int64_t i) {
    if (cancelled()) {
      absl::MutexLock lock(&mutex);
      first_error.Update(absl::CancelledError("cancelled"));
      return;
    }
    const int64_t begin = i * piece, n = std::min(piece, images.count - begin);
    PrefetchImages(images, begin + kPiecesAhead * piece, piece);
    const absl::Status status = OrWhatItThrows("evaluation", [&]() -> absl::Status {
      std::vector<float> own(probabilities == nullptr ? n * classes : 0);
      const absl::Span<float> results =
          probabilities == nullptr
              ? absl::MakeSpan(own)
              : absl::MakeSpan(*probabilities).subspan(begin * classes, n * classes);
      CONVD_RETURN_IF_ERROR(model.Infer(images.Slice(begin, n), results, executor, cancelled));
      for (int64_t k = 0; k < n; ++k) {
        outcomes[begin + k] = Judge(&results[k * classes], classes, images.labels[begin + k]);
      }
      return absl::OkStatus();
    });
    absl::MutexLock lock(&mutex);
    first_error.Update(status);
  });
  {
    absl::MutexLock lock(&mutex);
    if (!first_error.ok()) return first_error;
  }
  return Summarize(outcomes, images.labels, class_names);
}

}  // namespace convd
