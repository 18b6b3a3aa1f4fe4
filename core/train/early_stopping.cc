#include "core/train/early_stopping.h"

#include <limits>

namespace convd {
namespace {

// What is less where the epoch is better.
double Monitored(v1::EarlyStopping::Monitor monitor, const v1::EpochRecord& record) {
  switch (monitor) {
    case v1::EarlyStopping::VAL_LOSS:
      return record.val_loss();
    case v1::EarlyStopping::VAL_ACCURACY:
      return -record.val_accuracy();
    case v1::EarlyStopping::ACCURACY:
      return -record.accuracy();
    default:
      return record.loss();
  }
}

}  // namespace

EarlyStopping::EarlyStopping(const v1::EarlyStopping& options)
    : options_(options), best_(std::numeric_limits<double>::infinity()) {}

bool EarlyStopping::Add(const v1::EpochRecord& record) {
  const double monitored = Monitored(options_.monitor(), record);
  ++epochs_;
  ++wait_;
  if (monitored + options_.min_delta() < best_) {
    best_ = monitored;
    best_epoch_ = epochs_;
    wait_ = 0;
    return true;
  }
  stops_ = stops_ || (wait_ >= options_.patience() && epochs_ > 1);
  if (best_epoch_ > 0) return false;
  // Not better than none, by so large a min_delta: still the best that there is.
  best_epoch_ = epochs_;
  return true;
}

}  // namespace convd
