#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "core/dnn/precision.h"
#include "core/train/trainer.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

TEST(ResolveTraining, FillsInKerasDefaults) {
  v1::TrainRequest request;
  ASSERT_TRUE(ResolveTraining(request).ok());
  EXPECT_EQ(request.batch_size(), 32);
  EXPECT_EQ(request.epochs(), 1);
  EXPECT_TRUE(request.has_seed());
  EXPECT_EQ(request.seed(), 0u);
  EXPECT_TRUE(request.shuffle());
  // Whatever the CPU has.
  EXPECT_EQ(request.precision(), v1::PRECISION_F32);
  EXPECT_EQ(request.serving_precision(), v1::PRECISION_F32);
  EXPECT_TRUE(request.has_augmentation());
  EXPECT_FALSE(request.augmentation().horizontal_flip());
  EXPECT_EQ(request.augmentation().shift(), 0);
  EXPECT_FALSE(request.has_early_stopping());
  EXPECT_FALSE(request.has_max_runtime());
  EXPECT_TRUE(request.has_priority());
  EXPECT_EQ(request.priority(), 0);
  EXPECT_EQ(request.optimizer().adam().learning_rate(), 0.001);
  EXPECT_EQ(request.optimizer().adam().beta_1(), 0.9);
  EXPECT_EQ(request.optimizer().adam().beta_2(), 0.999);
  EXPECT_EQ(request.optimizer().adam().epsilon(), 1e-7);
}

TEST(ResolveTraining, KeepsWhatIsGiven) {
  v1::TrainRequest request;
  request.mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
  request.mutable_optimizer()->mutable_sgd()->set_nesterov(true);
  request.set_shuffle(false);
  request.set_batch_size(7);
  request.mutable_augmentation()->set_horizontal_flip(true);
  request.mutable_augmentation()->set_shift(64);
  request.set_priority(-100);
  request.mutable_max_runtime()->set_seconds(1);
  request.mutable_max_runtime()->set_nanos(999'999'999);
  ASSERT_TRUE(ResolveTraining(request).ok());
  EXPECT_EQ(request.priority(), -100);
  EXPECT_EQ(request.max_runtime().nanos(), 999'999'999);
  EXPECT_TRUE(request.augmentation().horizontal_flip());
  EXPECT_EQ(request.augmentation().shift(), 64);
  EXPECT_EQ(request.optimizer().sgd().learning_rate(), 0.01);
  EXPECT_EQ(request.optimizer().sgd().momentum(), 0.9);
  EXPECT_FALSE(request.shuffle());
  EXPECT_EQ(request.batch_size(), 7);
}

TEST(ResolveTraining, FillsInEarlyStoppingWhereThereIsOne) {
  v1::TrainRequest request;
  request.mutable_early_stopping();
  ASSERT_TRUE(ResolveTraining(request).ok());
  EXPECT_TRUE(request.early_stopping().has_patience());
  EXPECT_EQ(request.early_stopping().patience(), 0);
  EXPECT_TRUE(request.early_stopping().has_min_delta());
  EXPECT_EQ(request.early_stopping().min_delta(), 0);
  EXPECT_TRUE(request.early_stopping().has_restore_best());
  EXPECT_FALSE(request.early_stopping().restore_best());
  EXPECT_EQ(request.early_stopping().monitor(), v1::EarlyStopping::MONITOR_UNSPECIFIED);

  v1::TrainRequest validated = request;
  ASSERT_TRUE(ResolveEarlyStopping(validated, true).ok());
  EXPECT_EQ(validated.early_stopping().monitor(), v1::EarlyStopping::VAL_LOSS);
  ASSERT_TRUE(ResolveEarlyStopping(request, false).ok());
  EXPECT_EQ(request.early_stopping().monitor(), v1::EarlyStopping::LOSS);
  v1::TrainRequest none;
  ASSERT_TRUE(ResolveEarlyStopping(none, true).ok());
  EXPECT_FALSE(none.has_early_stopping());
}

TEST(ResolveTraining, MonitorsAValidationOnlyWhereThereIsOne) {
  for (const auto monitor : {v1::EarlyStopping::VAL_LOSS, v1::EarlyStopping::VAL_ACCURACY,
                             v1::EarlyStopping::LOSS, v1::EarlyStopping::ACCURACY}) {
    v1::TrainRequest request;
    request.mutable_early_stopping()->set_monitor(monitor);
    EXPECT_TRUE(ResolveEarlyStopping(request, true).ok());
    EXPECT_EQ(request.early_stopping().monitor(), monitor);
    const absl::Status status = ResolveEarlyStopping(request, false);
    EXPECT_EQ(request.early_stopping().monitor(), monitor);
    if (monitor == v1::EarlyStopping::LOSS || monitor == v1::EarlyStopping::ACCURACY) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("early_stopping.monitor: got VAL_"));
  }
}

struct BadCase {
  const char* field;
  void (*set)(v1::TrainRequest&);
};

TEST(ResolveTraining, RefusesByField) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const BadCase& bad : std::initializer_list<BadCase>{
           {"batch_size", [](v1::TrainRequest& r) { r.set_batch_size(0); }},
           {"batch_size", [](v1::TrainRequest& r) { r.set_batch_size(-5); }},
           {"batch_size", [](v1::TrainRequest& r) { r.set_batch_size(int64_t{1} << 40); }},
           {"epochs", [](v1::TrainRequest& r) { r.set_epochs(0); }},
           {"micro_batch", [](v1::TrainRequest& r) { r.set_micro_batch(-1); }},
           {"early_stopping.monitor: got 5; want VAL_LOSS",
            [](v1::TrainRequest& r) {
              r.mutable_early_stopping()->set_monitor(static_cast<v1::EarlyStopping::Monitor>(5));
            }},
           {"early_stopping.patience: got -1; want 0 to 100000",
            [](v1::TrainRequest& r) { r.mutable_early_stopping()->set_patience(-1); }},
           {"early_stopping.patience: got 100001; want 0 to 100000",
            [](v1::TrainRequest& r) { r.mutable_early_stopping()->set_patience(100001); }},
           {"early_stopping.min_delta: got -0.5; want a finite number, at least 0",
            [](v1::TrainRequest& r) { r.mutable_early_stopping()->set_min_delta(-0.5); }},
           {"early_stopping.min_delta: got nan",
            [](v1::TrainRequest& r) { r.mutable_early_stopping()->set_min_delta(kNan); }},
           {"early_stopping.min_delta: got inf",
            [](v1::TrainRequest& r) {
              r.mutable_early_stopping()->set_min_delta(std::numeric_limits<double>::infinity());
            }},
           {"priority: got -101; want -100 to 100",
            [](v1::TrainRequest& r) { r.set_priority(-101); }},
           {"priority: got 101; want -100 to 100",
            [](v1::TrainRequest& r) { r.set_priority(101); }},
           {"max_runtime: got 0 seconds and 0 nanoseconds; want 1 second to 10 years",
            [](v1::TrainRequest& r) { r.mutable_max_runtime(); }},
           {"max_runtime: got 0 seconds and 999999999 nanoseconds",
            [](v1::TrainRequest& r) { r.mutable_max_runtime()->set_nanos(999'999'999); }},
           {"max_runtime: got -1 seconds",
            [](v1::TrainRequest& r) { r.mutable_max_runtime()->set_seconds(-1); }},
           {"max_runtime: got 315360001 seconds",
            [](v1::TrainRequest& r) { r.mutable_max_runtime()->set_seconds(315'360'001); }},
           {"max_runtime: got 315360000 seconds and 1 nanoseconds",
            [](v1::TrainRequest& r) {
              r.mutable_max_runtime()->set_seconds(315'360'000);
              r.mutable_max_runtime()->set_nanos(1);
            }},
           {"max_runtime.nanos: got -1; want 0 to 999999999",
            [](v1::TrainRequest& r) {
              r.mutable_max_runtime()->set_seconds(5);
              r.mutable_max_runtime()->set_nanos(-1);
            }},
           {"max_runtime.nanos: got 1000000000",
            [](v1::TrainRequest& r) {
              r.mutable_max_runtime()->set_seconds(5);
              r.mutable_max_runtime()->set_nanos(1'000'000'000);
            }},
           {"micro_batch", [](v1::TrainRequest& r) { r.set_micro_batch(33); }},
           {"augmentation.shift: got -1; want 0 to 64",
            [](v1::TrainRequest& r) { r.mutable_augmentation()->set_shift(-1); }},
           {"augmentation.shift: got 65; want 0 to 64",
            [](v1::TrainRequest& r) { r.mutable_augmentation()->set_shift(65); }},
           {"augmentation.shift: got 2147483647; want 0 to 64",
            [](v1::TrainRequest& r) { r.mutable_augmentation()->set_shift(INT32_MAX); }},
           {"augmentation.shift: got -2147483648; want 0 to 64",
            [](v1::TrainRequest& r) { r.mutable_augmentation()->set_shift(INT32_MIN); }},
           {"optimizer.adam.learning_rate",
            [](v1::TrainRequest& r) {
              r.mutable_optimizer()->mutable_adam()->set_learning_rate(-0.1);
            }},
           {"optimizer.adam.learning_rate",
            [](v1::TrainRequest&
                   r) { r.mutable_optimizer()->mutable_adam()->set_learning_rate(0); }},
           {"optimizer.adam.learning_rate",
            [](v1::TrainRequest&
                   r) { r.mutable_optimizer()->mutable_adam()->set_learning_rate(kNan); }},
           {"optimizer.adam.learning_rate",
            [](v1::TrainRequest&
                   r) { r.mutable_optimizer()->mutable_adam()->set_learning_rate(1e300); }},
           {"optimizer.adam.beta_1",
            [](v1::TrainRequest& r) { r.mutable_optimizer()->mutable_adam()->set_beta_1(1); }},
           {"optimizer.adam.beta_2",
            [](v1::TrainRequest& r) { r.mutable_optimizer()->mutable_adam()->set_beta_2(kNan); }},
           {"optimizer.adam.epsilon",
            [](v1::TrainRequest& r) { r.mutable_optimizer()->mutable_adam()->set_epsilon(0); }},
           {"optimizer.sgd.learning_rate",
            [](v1::TrainRequest&
                   r) { r.mutable_optimizer()->mutable_sgd()->set_learning_rate(-1); }},
           {"optimizer.sgd.momentum",
            [](v1::TrainRequest& r) { r.mutable_optimizer()->mutable_sgd()->set_momentum(1.5); }},
           {"optimizer.sgd.nesterov",
            [](v1::TrainRequest& r) { r.mutable_optimizer()->mutable_sgd()->set_nesterov(true); }},
           {"precision",
            [](v1::TrainRequest& r) { r.set_precision(static_cast<v1::Precision>(9)); }},
           {"precision: got -1",
            [](v1::TrainRequest& r) { r.set_precision(static_cast<v1::Precision>(-1)); }},
           {"serving_precision: got 9",
            [](v1::TrainRequest& r) { r.set_serving_precision(static_cast<v1::Precision>(9)); }},
           {"precision: got int8, which is for serving: want precision f32 or bf16, and "
            "serving_precision int8",
            [](v1::TrainRequest& r) { r.set_precision(v1::PRECISION_INT8); }}}) {
    v1::TrainRequest request;
    bad.set(request);
    const absl::Status status = ResolveTraining(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.field;
    EXPECT_THAT(status.message(), HasSubstr(bad.field));
  }
}

// The tests run on CPUs with and without each precision.
TEST(ResolveTraining, TakesThePrecisionsThatTheCpuHas) {
  for (const v1::Precision precision :
       {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8}) {
    v1::TrainRequest request;
    request.set_serving_precision(precision);
    EXPECT_EQ(ResolveTraining(request), CheckPrecision("serving_precision", precision));
    EXPECT_EQ(request.serving_precision(), precision);
    EXPECT_EQ(request.precision(), v1::PRECISION_F32);
    if (precision == v1::PRECISION_INT8) continue;
    request.clear_serving_precision();
    request.set_precision(precision);
    const absl::Status trained = ResolveTraining(request);
    EXPECT_EQ(trained, CheckPrecision("precision", precision));
    EXPECT_TRUE(trained.ok() || absl::IsFailedPrecondition(trained)) << trained;
    EXPECT_EQ(request.precision(), precision);
    EXPECT_EQ(request.serving_precision(), v1::PRECISION_F32);
  }
}

}  // namespace
}  // namespace convd
