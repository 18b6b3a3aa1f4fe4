#ifndef CONVD_TESTS_SERVER_JOBS_FAKE_TRAINING_H_
#define CONVD_TESTS_SERVER_JOBS_FAKE_TRAINING_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"
#include "core/train/trainer.h"
#include "server/jobs/resolve.h"
#include "server/models/repository.h"
#include "tests/core/time/hand_clock.h"

namespace convd {

// What a test says a run does; called on the job's thread.
using Script = std::function<absl::Status(TrainingObserver&, std::vector<v1::EpochRecord>&)>;

class ScriptedTrainer final : public Trainer {
 public:
  explicit ScriptedTrainer(Script script) : script_(std::move(script)) {
    validation_.set_samples(2);
    validation_.set_accuracy(0.75);
    quantization_.set_samples(3);
    served_.emplace_back().set_precision(v1::PRECISION_BF16);
  }
  void Warn(const std::string& warning) { warnings_.push_back(warning); }
  absl::Status Run(TrainingObserver& observer) override { return script_(observer, history_); }
  absl::Status PrepareServing(TrainingObserver& observer) override {
    return observer.Cancelled() ? absl::CancelledError("cancelled") : absl::OkStatus();
  }
  // How many epochs it has behind it, and what they were.
  absl::Status Save(absl::FunctionRef<absl::Status(std::string_view)> sink) const override {
    if (on_save) on_save();
    v1::ModelCard saved;
    saved.mutable_history()->Add(history_.begin(), history_.end());
    return sink(saved.SerializeAsString());
  }
  absl::Status Restore(std::string_view saved) override {
    v1::ModelCard card;
    if (!card.ParseFromString(std::string(saved))) return absl::DataLossError("not saved by this");
    history_.assign(card.history().begin(), card.history().end());
    return absl::OkStatus();
  }
  std::vector<float> parameters() const override { return {1, 2, 3}; }
  const std::vector<v1::EpochRecord>& history() const override { return history_; }
  const v1::Metrics& validation() const override { return validation_; }
  const v1::Quantization& quantization() const override { return quantization_; }
  const std::vector<v1::ServedAccuracy>& served() const override { return served_; }
  const std::vector<std::string>& warnings() const override { return warnings_; }

  std::function<void()> on_save;

 private:
  const Script script_;
  std::vector<v1::EpochRecord> history_;
  v1::Metrics validation_;
  v1::Quantization quantization_;
  std::vector<v1::ServedAccuracy> served_;
  std::vector<std::string> warnings_;
};

inline v1::EpochRecord Epoch(int64_t epoch) {
  v1::EpochRecord record;
  record.set_epoch(epoch);
  record.set_loss(1.0 / static_cast<double>(epoch));
  return record;
}

inline TrainingProgress ProgressAt(int64_t epoch, int64_t step) {
  TrainingProgress progress;
  progress.epoch = epoch;
  progress.epochs = 10;
  progress.step = step;
  progress.steps = 100;
  return progress;
}

// Keeps what is published, and does nothing else.
class RecordingRepository final : public ModelRepository {
 public:
  absl::StatusOr<v1::ModelVersion> Publish(const Graph&, absl::Span<const float> parameters,
                                           v1::ModelCard card) override {
    if (on_publish) {
      if (absl::Status status = on_publish(); !status.ok()) return status;
    }
    absl::MutexLock lock(&mu_);
    card.mutable_model()->set_version(static_cast<int64_t>(cards_.size()) + 1);
    parameters_.assign(parameters.begin(), parameters.end());
    cards_.push_back(card);
    return card.model();
  }
  std::vector<v1::ModelCard> cards() {
    absl::MutexLock lock(&mu_);
    return cards_;
  }
  std::vector<float> parameters() {
    absl::MutexLock lock(&mu_);
    return parameters_;
  }

  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(const v1::ModelVersion&,
                                                          v1::Precision) override {
    return absl::UnimplementedError("not for these tests");
  }
  // Version 0 is the newest.
  absl::StatusOr<v1::Model> Get(const v1::ModelVersion& version) override {
    std::vector<v1::Model> models = List(version.name());
    for (size_t i = models.size(); i-- > 0;) {
      const int64_t number = models[i].card().model().version();
      if (version.version() == 0 || version.version() == number) return models[i];
    }
    return absl::NotFoundError(absl::StrCat("model: no \"", version.name(), "\""));
  }
  absl::StatusOr<std::vector<float>> ReadWeights(const v1::ModelVersion& version) override {
    CONVD_RETURN_IF_ERROR(Get(version).status());
    return parameters();
  }
  std::vector<v1::Model> List(const std::string& name) override {
    absl::MutexLock lock(&mu_);
    std::vector<v1::Model> models;
    for (const v1::ModelCard& card : cards_) {
      if (card.model().name() == name) *models.emplace_back().mutable_card() = card;
    }
    return models;
  }
  absl::Status AddEvaluation(const v1::Evaluation&) override { return absl::OkStatus(); }

  std::function<absl::Status()> on_publish;  // set before any job is submitted

 private:
  absl::Mutex mu_;
  std::vector<v1::ModelCard> cards_ ABSL_GUARDED_BY(mu_);
  std::vector<float> parameters_ ABSL_GUARDED_BY(mu_);
};

// A 2 x 2 x 1 image to two classes, one dense layer.
inline v1::Network SmallNetwork() {
  v1::Network network;
  network.set_name("small");
  network.mutable_input()->set_height(2);
  network.mutable_input()->set_width(2);
  network.mutable_input()->set_channels(1);
  network.add_layers()->mutable_flatten();
  v1::Layer& dense = *network.add_layers();
  dense.mutable_dense()->set_units(2);
  return network;
}

// What the resolver of a server would make of a stored request.
// Takes a megabyte for each image of a batch.
inline int64_t MemoryFor(const v1::TrainRequest& request) {
  return static_cast<int64_t>(request.batch_size()) << 20;
}

inline ResolvedJob JobFor(const std::string& model) {
  v1::TrainRequest request;
  request.set_model(model);
  *request.mutable_network() = SmallNetwork();
  request.set_epochs(10);
  TrainingData data;
  data.labels = {"cat", "dog"};
  ResolvedJob job{request,      *Graph::Create(SmallNetwork()), data, "5ca1ab1e", "", "the table\n",
                  {"a warning"}};
  job.training_pixels.add_mean(33);
  return job;
}

inline absl::StatusOr<ResolvedJob> ResolveStored(const v1::TrainRequest& request) {
  ResolvedJob job = JobFor(request.model());
  job.request = request;
  job.memory_bytes = MemoryFor(request);
  return job;
}

// A state folder of its own, empty but for what a server makes first; removed with all that came.
class TestStateDir {
 public:
  TestStateDir() {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    EXPECT_TRUE(FileSystem::Posix().CreateDirectories(path_ + "/tmp").ok());
  }
  ~TestStateDir() { EXPECT_TRUE(FileSystem::Posix().RemoveAll(path_).ok()); }
  TestStateDir(const TestStateDir&) = delete;
  TestStateDir& operator=(const TestStateDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_ = testing::TempDir() + "state-XXXXXX";
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_JOBS_FAKE_TRAINING_H_
