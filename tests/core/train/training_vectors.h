#ifndef CONVD_TESTS_CORE_TRAIN_TRAINING_VECTORS_H_
#define CONVD_TESTS_CORE_TRAIN_TRAINING_VECTORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/nn/graph.h"
#include "core/train/trainer.h"

namespace convd {

// A training run as PyTorch did it; make_vectors.py says what its arrays hold.
struct TrainingVectors {
  v1::TrainRequest request;  // resolved
  Graph graph;
  ImageSet images;                                    // labelled
  std::map<std::string, std::vector<double>> arrays;  // flat, by name

  // REQUIRES: there is such an array. Ends the program with a sentence where there isn't.
  const std::vector<double>& array(const std::string& name) const;
};

// Reads vectors/RUN.textproto and RUN.npz. Ends the program where they cannot be read: nothing can
// be tested then.
TrainingVectors ReadTrainingVectors(const std::string& run);

// Whether dropout keeps element `element` of layer `layer`'s input, by random.h.
bool DropoutKeeps(uint64_t seed, uint32_t layer, uint32_t epoch, uint32_t sample, float rate,
                  int64_t element);

// `images` (labelled, and kept alive by `owner`) as all of a trainer's data, without validation.
TrainingData AsTrainingData(const ImageSet& images, int classes);

// An observer that never cancels and remembers what it was told.
class RecordingObserver : public TrainingObserver {
 public:
  void OnProgress(const TrainingProgress& progress) override { progress_.push_back(progress); }
  void OnEpoch(const v1::EpochRecord& record) override { epochs_.push_back(record); }
  bool Cancelled() const override { return false; }

  const std::vector<TrainingProgress>& progress() const { return progress_; }
  const std::vector<v1::EpochRecord>& epochs() const { return epochs_; }

 private:
  std::vector<TrainingProgress> progress_;
  std::vector<v1::EpochRecord> epochs_;
};

}  // namespace convd

#endif  // CONVD_TESTS_CORE_TRAIN_TRAINING_VECTORS_H_
