// A run that was cut short, saved and restored elsewhere ends with the very bits of the unbroken
// one.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

// Everything that a finished job publishes, as text and bits.
struct Outcome {
  std::vector<float> parameters;
  std::vector<std::string> words;
  bool operator==(const Outcome&) const = default;
};

Outcome OutcomeOf(const Trainer& trainer) {
  Outcome outcome{trainer.parameters(), {}};
  for (v1::EpochRecord record : trainer.history()) {
    record.clear_seconds();
    record.clear_images_per_second();
    outcome.words.push_back(record.SerializeAsString());
  }
  outcome.words.push_back(trainer.validation().SerializeAsString());
  outcome.words.push_back(trainer.quantization().SerializeAsString());
  for (const v1::ServedAccuracy& served : trainer.served())
    outcome.words.push_back(served.SerializeAsString());
  return outcome;
}

std::string SavedBytes(const Trainer& trainer) {
  std::string bytes;
  const absl::Status status = trainer.Save([&](std::string_view piece) {
    bytes += piece;
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

// Cancels by a count of reports, or of questions.
class StoppingObserver : public RecordingObserver {
 public:
  void OnProgress(const TrainingProgress& progress) override {
    RecordingObserver::OnProgress(progress);
    if (--reports_left == 0) cancelled = true;
  }
  bool Cancelled() const override {
    ++questions;
    return cancelled || --questions_left < 0;
  }
  int64_t reports_left = INT64_MAX;
  mutable std::atomic<int64_t> questions_left = INT64_MAX;
  mutable std::atomic<int64_t> questions = 0;
  std::atomic<bool> cancelled = false;
};

// Takes a checkpoint whenever it can.
class CheckpointingObserver : public RecordingObserver {
 public:
  bool WantsCheckpoint() override { return true; }
  absl::Status OnCheckpoint(const Trainer& trainer) override {
    EXPECT_EQ(std::this_thread::get_id(), thread_);
    saved.push_back(SavedBytes(trainer));
    return saved.size() == fails_at ? absl::UnavailableError("disk full") : absl::OkStatus();
  }
  std::vector<std::string> saved;
  size_t fails_at = 0;

 private:
  const std::thread::id thread_ = std::this_thread::get_id();
};

struct Case {
  const char* name;
  void (*set)(v1::TrainRequest&);
  const char* layers;
};

constexpr const char* kSmall =
    "layers { conv { filters: 5 kernel: 3 activation: ACTIVATION_RELU } } layers { flatten {} } "
    "layers { dropout { rate: 0.25 } } layers { dense { units: 2 } }";
// By oneDNN's convolutions, whose layouts are its own.
constexpr const char* kGrouped =
    "layers { conv { filters: 4 kernel: 3 padding: PADDING_SAME activation: ACTIVATION_ELU } } "
    "layers { conv { filters: 6 kernel: 3 groups: 2 } } layers { dropout { rate: 0.25 } } "
    "layers { conv { filters: 3 kernel: 3 dilation: 1 stride: 2 } } layers { flatten {} } "
    "layers { dense { units: 2 } }";

class ResumeTest : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr int kTrained = 27, kValidated = 9, kSteps = 4;

  ResumeTest()
      : graph_(*Graph::Create(*ParseNetwork(
            absl::StrCat("name: 'n' input { height: 6 width: 6 channels: 1 } ", GetParam().layers),
            "n"))) {
    for (int i = 0; i < (kTrained + kValidated) * 36; ++i)
      pixels_.push_back(static_cast<uint8_t>(i * 37 % 251));
    for (int i = 0; i < kTrained + kValidated; ++i) labels_.push_back(i % 3 == 0);
    ImageSet all;
    all.count = kTrained + kValidated;
    all.height = all.width = 6;
    all.channels = 1;
    all.pixels = pixels_.data();
    all.labels = labels_;
    data_.train = all.Slice(0, kTrained);
    data_.validation = all.Slice(kTrained, kValidated);
    data_.labels = {"cat", "dog"};
    request_.set_model("m");
    request_.set_batch_size(8);
    request_.set_micro_batch(3);
    request_.set_epochs(2);
    GetParam().set(request_);
  }

  void SetUp() override {
    const absl::Status resolved = ResolveTraining(request_);
    if (absl::IsFailedPrecondition(resolved)) GTEST_SKIP() << resolved.message();
    ASSERT_TRUE(resolved.ok()) << resolved;
  }

  std::unique_ptr<Trainer> New(int workers) {
    std::unique_ptr<Executor>& executor = executors_[workers];
    if (executor == nullptr) executor = NewThreadedExecutor(workers);
    auto trainer = Trainer::Create(graph_, request_, data_, *executor, Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }
  std::unique_ptr<Trainer> Restored(std::string_view saved, int workers) {
    std::unique_ptr<Trainer> trainer = New(workers);
    const absl::Status status = trainer->Restore(saved);
    EXPECT_TRUE(status.ok()) << status;
    return trainer;
  }
  Outcome Finish(Trainer& trainer) {
    RecordingObserver observer;
    absl::Status status = trainer.Run(observer);
    EXPECT_TRUE(status.ok()) << status;
    status = trainer.PrepareServing(observer);
    EXPECT_TRUE(status.ok()) << status;
    return OutcomeOf(trainer);
  }
  Outcome Unbroken() { return Finish(*New(1)); }

  const Graph graph_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  TrainingData data_;
  v1::TrainRequest request_;
  std::unique_ptr<Executor> executors_[4];
};

TEST_P(ResumeTest, GoesOnFromAnyStepAndFromAnyValidation) {
  const Outcome unbroken = Unbroken();
  ASSERT_EQ(unbroken.parameters, Unbroken().parameters);
  // Of each epoch its steps and one validation.
  for (int64_t reports = 1; reports <= 2 * (kSteps + 1); ++reports) {
    SCOPED_TRACE(reports);
    const std::unique_ptr<Trainer> first = New(2);
    StoppingObserver observer;
    observer.reports_left = reports;
    ASSERT_TRUE(absl::IsCancelled(first->Run(observer)));
    const std::string saved = SavedBytes(*first);
    for (int workers : {1, 3}) {
      const std::unique_ptr<Trainer> second = Restored(saved, workers);
      EXPECT_EQ(SavedBytes(*second), saved);
      EXPECT_EQ(Finish(*second), unbroken);
    }
    // The first itself, too, can go on.
    EXPECT_EQ(Finish(*first), unbroken);
  }
}

TEST_P(ResumeTest, GoesOnFromTheMidstOfAnything) {
  const Outcome unbroken = Unbroken();
  const auto questions = [&] {
    StoppingObserver observer;
    EXPECT_TRUE(New(1)->Run(observer).ok());
    return observer.questions.load();
  };
  const int64_t all = questions();
  ASSERT_GT(all, 100);
  for (int64_t after = 0; after < all; ++after) {
    SCOPED_TRACE(after);
    const std::unique_ptr<Trainer> first = New(1);
    StoppingObserver observer;
    observer.questions_left = after;
    ASSERT_TRUE(absl::IsCancelled(first->Run(observer)));
    ASSERT_EQ(Finish(*Restored(SavedBytes(*first), 2)), unbroken);
  }
}

TEST_P(ResumeTest, GoesOnAgainAndAgain) {
  const Outcome unbroken = Unbroken();
  std::string saved = SavedBytes(*New(1));
  int restarts = 0;
  for (;; ++restarts) {
    ASSERT_LT(restarts, 100);
    const std::unique_ptr<Trainer> trainer = Restored(saved, 1 + restarts % 3);
    StoppingObserver observer;
    observer.reports_left = 2;  // one may be of a validation that was cut short before
    if (trainer->Run(observer).ok()) break;
    saved = SavedBytes(*trainer);
  }
  EXPECT_GE(restarts, kSteps);
  const std::unique_ptr<Trainer> last = Restored(saved, 1);
  EXPECT_EQ(Finish(*last), unbroken);
  // Of a run that is over, too.
  EXPECT_EQ(Finish(*Restored(SavedBytes(*last), 2)), unbroken);
}

TEST_P(ResumeTest, CheckpointsWithinAnEpochChangeNothing) {
  const Outcome unbroken = Unbroken();
  const std::unique_ptr<Trainer> trainer = New(3);
  CheckpointingObserver observer;
  ASSERT_TRUE(trainer->Run(observer).ok());
  ASSERT_TRUE(trainer->PrepareServing(observer).ok());
  EXPECT_EQ(OutcomeOf(*trainer), unbroken);
  EXPECT_EQ(observer.saved.size(), 2u * (kSteps + 1));
  for (const std::string& saved : observer.saved) EXPECT_EQ(Finish(*Restored(saved, 2)), unbroken);
}

TEST_P(ResumeTest, ACheckpointThatFailsEndsTheRun) {
  for (const size_t at : {2, kSteps + 1}) {
    const std::unique_ptr<Trainer> trainer = New(1);
    CheckpointingObserver observer;
    observer.fails_at = at;
    EXPECT_EQ(trainer->Run(observer), absl::UnavailableError("disk full"));
    EXPECT_EQ(observer.saved.size(), at);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Runs, ResumeTest,
    ::testing::Values(Case{"adam_augmented",
                           [](v1::TrainRequest& r) {
                             r.mutable_augmentation()->set_horizontal_flip(true);
                             r.mutable_augmentation()->set_shift(2);
                           },
                           kSmall},
                      Case{"sgd_momentum",
                           [](v1::TrainRequest& r) {
                             r.mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
                             r.mutable_optimizer()->mutable_sgd()->set_nesterov(true);
                           },
                           kSmall},
                      Case{"int8",
                           [](v1::TrainRequest& r) { r.set_serving_precision(v1::PRECISION_INT8); },
                           kSmall},
                      // Ends after two epochs, of which the first is the best.
                      Case{"early_stopping",
                           [](v1::TrainRequest& r) {
                             r.set_epochs(3);
                             r.mutable_early_stopping()->set_min_delta(1000);
                             r.mutable_early_stopping()->set_restore_best(true);
                           },
                           kSmall},
                      Case{"grouped", [](v1::TrainRequest&) {}, kGrouped}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace convd
