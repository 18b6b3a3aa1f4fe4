// What Trainer::Restore says to bytes that are damaged, hostile, or another run's.

#include "core/train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

// Ends after the second epoch's first step.
class TwoStepsObserver : public RecordingObserver {
 public:
  bool WantsCheckpoint() override { return epochs().size() == 1; }
  absl::Status OnCheckpoint(const Trainer&) override {
    return epochs().size() == 1 && progress().back().epoch == 2 ? absl::AbortedError("here")
                                                                : absl::OkStatus();
  }
};

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    for (int i = 0; i < 7 * 4; ++i) pixels_.push_back(static_cast<uint8_t>(i * 37 % 251));
    request_.set_model("m");
    request_.set_batch_size(3);
    request_.set_epochs(3);
    network_ = *ParseNetwork(
        "name: 'n' input { height: 2 width: 2 channels: 1 } layers { flatten {} } "
        "layers { dense { units: 2 } }",
        "n");
    EXPECT_TRUE(ResolveTraining(request_).ok());
    const std::unique_ptr<Trainer> trainer = New();
    TwoStepsObserver observer;
    EXPECT_TRUE(absl::IsAborted(trainer->Run(observer)));
    const absl::Status status = trainer->Save([&](std::string_view piece) {
      saved_ += piece;
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    uint64_t size;
    std::memcpy(&size, saved_.data() + 8, 8);
    state_size_ = size;
    EXPECT_TRUE(state_.ParseFromString(saved_.substr(16, size)));
  }

  std::unique_ptr<Trainer> New() {
    TrainingData data;
    data.train.count = trained_;
    data.train.height = data.train.width = 2;
    data.train.channels = 1;
    data.train.pixels = pixels_.data();
    data.train.labels = absl::MakeSpan(labels_).subspan(0, trained_);
    data.validation = data.train.Slice(0, validated_);
    data.labels = {"cat", "dog"};
    auto trainer = Trainer::Create(*Graph::Create(network_), request_, std::move(data), *executor_,
                                   Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }
  absl::Status Restore(const std::string& bytes) { return New()->Restore(bytes); }
  // With another state before the same arrays.
  absl::Status RestoreState(const v1::TrainerState& state) {
    std::string bytes;
    const absl::Status written = WriteTrainerState(state, [&](std::string_view piece) {
      bytes += piece;
      return absl::OkStatus();
    });
    EXPECT_TRUE(written.ok()) << written;
    return Restore(bytes + saved_.substr(16 + state_size_));
  }

  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_ = {0, 1, 0, 1, 1, 0, 1};
  int64_t trained_ = 7, validated_ = 2;
  v1::TrainRequest request_;
  v1::Network network_;
  const std::unique_ptr<Executor> executor_ = NewHandCrankedExecutor(1);
  std::string saved_;
  size_t state_size_ = 0;
  v1::TrainerState state_;
};

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

// 4 x 2 weights and 2 biases, three times.
TEST_F(CheckpointTest, IsAHeaderAStateAndThreeArrays) {
  EXPECT_EQ(saved_.substr(0, 8), std::string("CVTS\1\0\0\0", 8));
  EXPECT_EQ(saved_.size(), 16 + state_size_ + 3 * 10 * 4);
  EXPECT_EQ(state_.history_size(), 1);
  EXPECT_EQ(state_.seen(), 3);
  EXPECT_EQ(state_.steps(), 4);
  EXPECT_EQ(state_.train_samples(), 7);
  EXPECT_EQ(state_.validation().samples(), 2);
  const std::unique_ptr<Trainer> trainer = New();
  ASSERT_TRUE(trainer->Restore(saved_).ok());
  // The weights as they are, canonical.
  EXPECT_EQ(std::memcmp(trainer->parameters().data(), saved_.data() + 16 + state_size_, 40), 0);
}

TEST_F(CheckpointTest, RefusesBytesCutAtAnyLength) {
  for (size_t size = 0; size < saved_.size(); ++size) {
    // Copied, so that a byte read beyond is seen.
    const std::string cut = saved_.substr(0, size);
    EXPECT_TRUE(absl::IsDataLoss(Restore(cut)) || absl::IsFailedPrecondition(Restore(cut))) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(Restore(saved_ + '\0')));
}

TEST_F(CheckpointTest, RefusesAFlippedByteOfTheHeaderAndOutlivesOneOfAnythingElse) {
  for (size_t at = 0; at < saved_.size(); ++at) {
    for (const char flip : {'\x01', '\x40', '\x80', '\xff'}) {
      SCOPED_TRACE(at);
      std::string bytes = saved_;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      const std::unique_ptr<Trainer> trainer = New();
      const absl::Status status = trainer->Restore(bytes);
      if (at < 16) {
        EXPECT_FALSE(status.ok());
      }
      if (!status.ok()) {
        EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status)) << status;
        continue;
      }
      // Another number than was written, and one that could be: it may diverge, and no more.
      RecordingObserver observer;
      const absl::Status run = trainer->Run(observer);
      EXPECT_TRUE(run.ok() || absl::IsDataLoss(run)) << run;
    }
  }
}

TEST_F(CheckpointTest, RefusesAnotherRunByWhatIsDifferent) {
  const auto code = absl::StatusCode::kFailedPrecondition;
  const v1::TrainRequest request = request_;
  request_.set_batch_size(4);
  ExpectError(Restore(saved_), code, "batch_size: 4 -> 3");
  request_ = request;
  request_.set_epochs(30);
  ExpectError(Restore(saved_), code, "epochs: 30 -> 3");
  request_ = request;
  request_.set_seed(1);
  ExpectError(Restore(saved_), code, "seed: 1 -> 0");
  request_ = request;
  request_.clear_optimizer();
  request_.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
  ExpectError(Restore(saved_), code, "optimizer.adam");
  request_ = request;
  network_.mutable_layers(1)->mutable_dense()->set_no_bias(true);
  ExpectError(Restore(saved_), code, "another network than \"n\"");
  network_.mutable_layers(1)->mutable_dense()->clear_no_bias();
  trained_ = 6;
  ExpectError(Restore(saved_), code, "it is of 7 training samples; this run has 6");
  trained_ = 7;
  validated_ = 0;
  ExpectError(Restore(saved_), code, "it is of 2 validation samples; this run has 0");
  validated_ = 2;
  // These don't change what is computed.
  request_.set_model("other");
  request_.set_request_id("x");
  request_.set_priority(7);
  EXPECT_TRUE(Restore(saved_).ok());
}

TEST_F(CheckpointTest, RefusesAPlaceThatTheRunDoesNotHave) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  struct Bad {
    const char* words;
    void (*set)(v1::TrainerState&);
  };
  ASSERT_TRUE(RestoreState(state_).ok());
  for (const Bad& bad : std::initializer_list<Bad>{
           {"seen: got -3; want whole batches of 3, at most 7",
            [](v1::TrainerState& s) { s.set_seen(-3); }},
           {"seen: got 4", [](v1::TrainerState& s) { s.set_seen(4); }},
           {"seen: got 9", [](v1::TrainerState& s) { s.set_seen(9); }},
           {"seen: got 9223372036854775807", [](v1::TrainerState& s) { s.set_seen(INT64_MAX); }},
           {"steps: got 5; want 4", [](v1::TrainerState& s) { s.set_steps(5); }},
           {"steps: got 4; want 6", [](v1::TrainerState& s) { s.set_seen(7); }},
           {"correct: got 4; want 0 to 3", [](v1::TrainerState& s) { s.set_correct(4); }},
           {"correct: got -1", [](v1::TrainerState& s) { s.set_correct(-1); }},
           {"loss_sum: got nan", [](v1::TrainerState& s) { s.set_loss_sum(kNan); }},
           {"seconds: got -1", [](v1::TrainerState& s) { s.set_seconds(-1); }},
           {"training_seconds: got nan", [](v1::TrainerState& s) { s.set_training_seconds(kNan); }},
           {"history: got 4; want at most 3 epochs",
            [](v1::TrainerState& s) {
              for (int i = 0; i < 3; ++i) *s.add_history() = s.history(0);
            }},
           {"history[0].epoch: got 2; want 1",
            [](v1::TrainerState& s) { s.mutable_history(0)->set_epoch(2); }},
           {"history[0]: got inf",
            [](v1::TrainerState& s) { s.mutable_history(0)->set_loss(HUGE_VAL); }},
           {"history[0]: got no validation",
            [](v1::TrainerState& s) { s.mutable_history(0)->clear_val_loss(); }},
           {"history[0].seconds: got -1",
            [](v1::TrainerState& s) { s.mutable_history(0)->set_seconds(-1); }},
           {"validation.samples: got 3; want 2",
            [](v1::TrainerState& s) { s.mutable_validation()->set_samples(3); }},
           {"quantization.inputs[0]",
            [](v1::TrainerState& s) { s.mutable_quantization()->set_samples(3); }}}) {
    v1::TrainerState state = state_;
    bad.set(state);
    ExpectError(RestoreState(state), absl::StatusCode::kDataLoss, bad.words);
  }
}

TEST_F(CheckpointTest, RefusesWeightsAndMomentsThatAreNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int i = 0; i < 3; ++i) {
    std::string bytes = saved_;
    std::memcpy(bytes.data() + 16 + state_size_ + (10 * i + 7) * 4, &nan, 4);
    const char* const arrays[] = {"weights", "first_moment", "second_moment"};
    ExpectError(Restore(bytes), absl::StatusCode::kDataLoss,
                std::string(arrays[i]) + "[7]: got nan");
  }
}

// Of an early stopping that ends after one epoch more than the state has.
TEST_F(CheckpointTest, RefusesEpochsThatEarlyStoppingForbids) {
  request_.mutable_early_stopping()->set_min_delta(1000);
  ASSERT_TRUE(ResolveTraining(request_).ok());
  ASSERT_TRUE(ResolveEarlyStopping(request_, true).ok());
  *state_.mutable_request()->mutable_early_stopping() = request_.early_stopping();
  EXPECT_TRUE(RestoreState(state_).ok());
  const auto add_epoch = [&] {
    v1::EpochRecord record = state_.history(0);
    record.set_epoch(state_.history_size() + 1);
    *state_.add_history() = record;
    state_.set_steps(state_.steps() + 3);
  };
  add_epoch();
  const std::string want = "want 2 epochs, where early stopping ends the run";
  ExpectError(RestoreState(state_), absl::StatusCode::kDataLoss,
              "history: got 2 epochs and 3 samples; " + want);
  v1::TrainerState state = state_;
  state.set_seen(0);
  state.set_correct(0);
  state.set_steps(6);
  EXPECT_TRUE(RestoreState(state).ok());
  add_epoch();
  ExpectError(RestoreState(state_), absl::StatusCode::kDataLoss,
              "history: got 3 epochs and 3 samples; " + want);
  // The best weights are missing.
  request_.mutable_early_stopping()->set_restore_best(true);
  state.mutable_request()->mutable_early_stopping()->set_restore_best(true);
  ExpectError(RestoreState(state), absl::StatusCode::kDataLoss, "best_validation.samples: got 0");
  *state.mutable_best_validation() = state.validation();
  ExpectError(RestoreState(state), absl::StatusCode::kDataLoss,
              "got 120; want 160 bytes, which are 4 arrays of 10 floats");
}

TEST_F(CheckpointTest, SaysWhatTheSinkSays) {
  const std::unique_ptr<Trainer> trainer = New();
  for (int fails_at = 1; fails_at <= 4; ++fails_at) {
    int pieces = 0;
    EXPECT_EQ(trainer->Save([&](std::string_view) {
      return ++pieces == fails_at ? absl::UnavailableError("disk full") : absl::OkStatus();
    }),
              absl::UnavailableError("disk full"));
    EXPECT_EQ(pieces, fails_at);
  }
}

}  // namespace
}  // namespace convd
