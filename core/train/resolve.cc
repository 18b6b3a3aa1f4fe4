#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/dnn/gather.h"
#include "core/dnn/precision.h"
#include "core/status/status_macros.h"
#include "core/train/trainer.h"

// ResolveTraining: what a request's training figures may be, and what stands for those it leaves
// out.

namespace convd {
namespace {

constexpr int64_t kMostBatch = 1 << 20;
constexpr int64_t kMostEpochs = 100000;
constexpr int64_t kMostPatience = 100000;
constexpr int64_t kMostPriority = 100;
constexpr int64_t kMostSeconds = int64_t{10} * 365 * 24 * 60 * 60;

absl::Status Within(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", value, "; want ", least, " to ", most));
}

// A rate in [0, 1).
absl::Status Rate(const char* field, double value) {
  if (value >= 0 && value < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", value, "; want 0 or more, and less than 1"));
}

// Finite as the float that the kernels compute with, and above zero.
absl::Status Positive(const char* field, double value) {
  const float rounded = static_cast<float>(value);
  if (std::isfinite(rounded) && rounded > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", value,
                   "; want a number above 0 that 32-bit floating point holds (1e-38 to 3e38)"));
}

absl::Status ResolveAdam(v1::Adam& adam) {
  if (!adam.has_learning_rate()) adam.set_learning_rate(0.001);
  if (!adam.has_beta_1()) adam.set_beta_1(0.9);
  if (!adam.has_beta_2()) adam.set_beta_2(0.999);
  if (!adam.has_epsilon()) adam.set_epsilon(1e-7);
  CONVD_RETURN_IF_ERROR(Positive("optimizer.adam.learning_rate", adam.learning_rate()));
  CONVD_RETURN_IF_ERROR(Rate("optimizer.adam.beta_1", adam.beta_1()));
  CONVD_RETURN_IF_ERROR(Rate("optimizer.adam.beta_2", adam.beta_2()));
  return Positive("optimizer.adam.epsilon", adam.epsilon());
}

absl::Status ResolveSgd(v1::Sgd& sgd) {
  if (!sgd.has_learning_rate()) sgd.set_learning_rate(0.01);
  if (!sgd.has_momentum()) sgd.set_momentum(0);
  CONVD_RETURN_IF_ERROR(Positive("optimizer.sgd.learning_rate", sgd.learning_rate()));
  CONVD_RETURN_IF_ERROR(Rate("optimizer.sgd.momentum", sgd.momentum()));
  if (sgd.nesterov() && sgd.momentum() == 0) {
    return absl::InvalidArgumentError(
        "optimizer.sgd.nesterov: got true with momentum 0; want a momentum above 0");
  }
  return absl::OkStatus();
}

// Both are f32 where they aren't given, on every CPU: the same request gives the same accuracies
// wherever it runs, and f32 is the faster of the two where that was measured.
absl::Status ResolvePrecisions(v1::TrainRequest& request) {
  if (request.precision() == v1::PRECISION_UNSPECIFIED) request.set_precision(v1::PRECISION_F32);
  if (request.serving_precision() == v1::PRECISION_UNSPECIFIED) {
    request.set_serving_precision(v1::PRECISION_F32);
  }
  if (request.precision() == v1::PRECISION_INT8) {
    return absl::InvalidArgumentError(
        "precision: got int8, which is for serving: want precision f32 or bf16, and "
        "serving_precision int8");
  }
  if (request.precision() != v1::PRECISION_F32 && request.precision() != v1::PRECISION_BF16) {
    return absl::InvalidArgumentError(absl::StrCat("precision: got ",
                                                   static_cast<int>(request.precision()),
                                                   "; want PRECISION_F32 or PRECISION_BF16"));
  }
  CONVD_RETURN_IF_ERROR(CheckPrecision("precision", request.precision()));
  return CheckPrecision("serving_precision", request.serving_precision());
}

absl::Status ResolveEarlyStoppingFigures(v1::EarlyStopping& stopping) {
  if (!stopping.has_patience()) stopping.set_patience(0);
  if (!stopping.has_min_delta()) stopping.set_min_delta(0);
  if (!stopping.has_restore_best()) stopping.set_restore_best(false);
  if (!v1::EarlyStopping::Monitor_IsValid(stopping.monitor())) {
    return absl::InvalidArgumentError(
        absl::StrCat("early_stopping.monitor: got ", static_cast<int>(stopping.monitor()),
                     "; want VAL_LOSS, VAL_ACCURACY, LOSS or ACCURACY"));
  }
  CONVD_RETURN_IF_ERROR(Within("early_stopping.patience", stopping.patience(), 0, kMostPatience));
  if (std::isfinite(stopping.min_delta()) && stopping.min_delta() >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("early_stopping.min_delta: got ",
                                                 stopping.min_delta(),
                                                 "; want a finite number, at least 0"));
}

absl::Status CheckMaxRuntime(const google::protobuf::Duration& runtime) {
  const int64_t seconds = runtime.seconds(), nanos = runtime.nanos();
  if (nanos < 0 || nanos > 999'999'999) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_runtime.nanos: got ", nanos, "; want 0 to 999999999"));
  }
  if (seconds >= 1 && seconds <= kMostSeconds && !(seconds == kMostSeconds && nanos > 0))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("max_runtime: got ", seconds, " seconds and ",
                                                 nanos, " nanoseconds; want 1 second to 10 years (",
                                                 kMostSeconds, " seconds)"));
}

}  // namespace

absl::Status ResolveEarlyStopping(v1::TrainRequest& request, bool has_validation) {
  if (!request.has_early_stopping()) return absl::OkStatus();
  v1::EarlyStopping& stopping = *request.mutable_early_stopping();
  switch (stopping.monitor()) {
    case v1::EarlyStopping::VAL_LOSS:
    case v1::EarlyStopping::VAL_ACCURACY:
      if (has_validation) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat(
          "early_stopping.monitor: got ", v1::EarlyStopping::Monitor_Name(stopping.monitor()),
          ", and there is no validation set; want LOSS, ACCURACY, or a validation"));
    case v1::EarlyStopping::MONITOR_UNSPECIFIED:
      stopping.set_monitor(has_validation ? v1::EarlyStopping::VAL_LOSS : v1::EarlyStopping::LOSS);
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

absl::Status ResolveTraining(v1::TrainRequest& request) {
  if (request.optimizer().kind_case() == v1::Optimizer::KIND_NOT_SET)
    request.mutable_optimizer()->mutable_adam();
  if (request.optimizer().has_adam()) {
    CONVD_RETURN_IF_ERROR(ResolveAdam(*request.mutable_optimizer()->mutable_adam()));
  } else {
    CONVD_RETURN_IF_ERROR(ResolveSgd(*request.mutable_optimizer()->mutable_sgd()));
  }
  if (!request.has_batch_size()) request.set_batch_size(32);
  if (!request.has_epochs()) request.set_epochs(1);
  if (!request.has_seed()) request.set_seed(0);
  if (!request.has_shuffle()) request.set_shuffle(true);
  CONVD_RETURN_IF_ERROR(Within("batch_size", request.batch_size(), 1, kMostBatch));
  CONVD_RETURN_IF_ERROR(Within("epochs", request.epochs(), 1, kMostEpochs));
  CONVD_RETURN_IF_ERROR(Within("micro_batch", request.micro_batch(), 0, request.batch_size()));
  CONVD_RETURN_IF_ERROR(
      Within("augmentation.shift", request.mutable_augmentation()->shift(), 0, kMostShift));
  if (request.has_early_stopping())
    CONVD_RETURN_IF_ERROR(ResolveEarlyStoppingFigures(*request.mutable_early_stopping()));
  if (!request.has_priority()) request.set_priority(0);
  CONVD_RETURN_IF_ERROR(Within("priority", request.priority(), -kMostPriority, kMostPriority));
  if (request.has_max_runtime()) CONVD_RETURN_IF_ERROR(CheckMaxRuntime(request.max_runtime()));
  return ResolvePrecisions(request);
}

}  // namespace convd
