#ifndef CONVD_CORE_TRAIN_EARLY_STOPPING_H_
#define CONVD_CORE_TRAIN_EARLY_STOPPING_H_

#include <cstdint>

#include "convd/v1/model.pb.h"

namespace convd {

// Which of a run's epochs is the best, and when there were enough that aren't, by the rule of
// Keras's EarlyStopping. Depends on the epochs added alone, so a history added again gives the same
// state. One thread at a time.
class EarlyStopping {
 public:
  // Resolved (ResolveTraining, ResolveEarlyStopping).
  explicit EarlyStopping(const v1::EarlyStopping& options);

  // Takes the next epoch; true where it is the best so far, as the first always is.
  bool Add(const v1::EpochRecord& record);

  int64_t best_epoch() const { return best_epoch_; }  // from 1; 0 before there is one
  bool stops() const { return stops_; }
  bool restores_best() const { return options_.restore_best(); }

 private:
  v1::EarlyStopping options_;
  int64_t epochs_ = 0, best_epoch_ = 0;
  int64_t wait_ = 0;  // epochs since one that was better
  double best_ = 0;   // of what is monitored; the less the better, accuracies negated
  bool stops_ = false;
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_EARLY_STOPPING_H_
