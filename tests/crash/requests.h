#ifndef CONVD_TESTS_CRASH_REQUESTS_H_
#define CONVD_TESTS_CRASH_REQUESTS_H_

#include <string>
#include <vector>

#include "convd/v1/model.pb.h"

namespace convd {

// One kind of job: what is asked for, and what an undisturbed server makes of it.
struct JobKind {
  v1::TrainRequest request;  // its model is the kind's name
  std::string onnx;          // the bytes of model.onnx
  v1::ModelCard card;        // without what differs from run to run
};

// Small jobs on dataset "fashion" (2000 images) that together use every part of what a checkpoint
// holds: both optimizers' state, dropout, orders of samples, variations, the best weights so far.
std::vector<JobKind> SmallJobKinds();

// The card without what two runs of the same request don't have in common.
v1::ModelCard Comparable(v1::ModelCard card);

// Everything but the times.
bool SameFigures(const v1::EpochRecord& a, const v1::EpochRecord& b);

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_REQUESTS_H_
