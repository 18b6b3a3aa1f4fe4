#ifndef CONVD_TESTS_SIMULATION_SMALL_JOBS_H_
#define CONVD_TESTS_SIMULATION_SMALL_JOBS_H_

#include <vector>

#include "convd/v1/model.pb.h"
#include "server/datasets/registry.h"

namespace convd {

// Trainings of three epochs of four steps that take a millisecond each. Every kind differs in what
// a checkpoint has to hold: Adam's moments, momentum, dropout, augmentation, a validation set.
inline constexpr int kSmallJobKinds = 4;

// `kind` is in [0, kSmallJobKinds). It trains on the dataset "noise" and publishes as "m<kind>".
v1::TrainRequest SmallJob(int kind);

// "noise", with splits train and test. Lives for ever.
DatasetRegistry& SmallDatasets();

// What the kind trains to where nothing gets in the way; trained once. One thread.
const std::vector<float>& UnbrokenWeights(int kind);

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_SMALL_JOBS_H_
