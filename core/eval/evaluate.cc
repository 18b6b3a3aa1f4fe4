#include "core/eval/evaluate.h"

#include <algorithm>
#include <cmath>

#include "absl/synchronization/mutex.h"

namespace convd {
namespace {

constexpr double kLeastProbability = 1e-38;
constexpr int kTop = 5;

double Ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / whole;
}

}  // namespace

v1::Metrics ComputeMetrics(absl::Span<const float> probabilities, absl::Span<const int32_t> labels,
                           const std::vector<std::string>& class_names) {
  const int64_t classes = static_cast<int64_t>(class_names.size());
  std::vector<int64_t> confusion(classes * classes);
  double loss = 0;
  int64_t correct = 0, in_top = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* p = probabilities.data() + i * classes;
    const int32_t label = labels[i];
    const int64_t predicted = std::max_element(p, p + classes) - p;
    loss -= std::log(std::max<double>(p[label], kLeastProbability));
    correct += predicted == label;
    ++confusion[label * classes + predicted];
    int64_t before = 0;  // classes that rank before the true one
    for (int64_t c = 0; c < classes; ++c)
      before += p[c] > p[label] || (p[c] == p[label] && c < label);
    in_top += before < kTop;
  }
  v1::Metrics metrics;
  const int64_t samples = static_cast<int64_t>(labels.size());
  metrics.set_samples(samples);
  metrics.set_loss(samples == 0 ? 0 : loss / samples);
  metrics.set_accuracy(Ratio(correct, samples));
  if (classes > kTop) metrics.set_top_5_accuracy(Ratio(in_top, samples));
  for (int64_t c = 0; c < classes; ++c) {
    int64_t support = 0, predicted = 0;
    for (int64_t other = 0; other < classes; ++other) {
      support += confusion[c * classes + other];
      predicted += confusion[other * classes + c];
    }
    const int64_t hits = confusion[c * classes + c];
    v1::ClassMetrics& entry = *metrics.add_classes();
    entry.set_label(class_names[c]);
    entry.set_support(support);
    entry.set_precision(Ratio(hits, predicted));
    entry.set_recall(Ratio(hits, support));
    entry.set_f1(Ratio(2 * hits, support + predicted));
  }
  metrics.mutable_confusion()->Add(confusion.begin(), confusion.end());
  return metrics;
}

absl::StatusOr<v1::Metrics> Evaluate(const InferenceModel& model, const ImageSet& images,
                                     const std::vector<std::string>& class_names,
                                     Executor& executor, Lane lane,
                                     absl::FunctionRef<bool()> cancelled,
                                     std::vector<float>* probabilities) {
  const int64_t classes = model.graph().classes();
  std::vector<float> own;
  std::vector<float>& results = probabilities != nullptr ? *probabilities : own;
  results.resize(images.count * classes);

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
    const absl::Status status = model.Infer(
        images.Slice(begin, n), absl::MakeSpan(results).subspan(begin * classes, n * classes),
        executor, cancelled);
    if (status.ok()) return;
    absl::MutexLock lock(&mutex);
    first_error.Update(status);
  });
  {
    absl::MutexLock lock(&mutex);
    if (!first_error.ok()) return first_error;
  }
  return ComputeMetrics(results, images.labels, class_names);
}

}  // namespace convd
