#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public ::testing::Test {
 protected:
  std::unique_ptr<Metrics> metrics_ = Metrics::New({{"convd", "1.2"}});
};

TEST_F(MetricsTest, CallsAreCountedByMethodCodeAndTheModelsThatThereAre) {
  metrics_->SetIsModel([](absl::string_view name) { return name == "digits"; });
  RpcMetrics& rpc = metrics_->rpc();
  for (int i = 0; i < 3; ++i) {
    rpc.Finished("a/B", absl::StatusCode::kOk, "digits", absl::Milliseconds(3));
  }
  rpc.Finished("a/B", absl::StatusCode::kNotFound, "digits", absl::Milliseconds(3));
  for (int i = 0; i < 10'000; ++i) {
    rpc.Finished("a/B", absl::StatusCode::kOk, absl::StrCat("made-up-", i), absl::ZeroDuration());
  }
  const std::string text = metrics_->Text();
  EXPECT_THAT(text, HasSubstr("# TYPE convd_requests_total counter\n"));
  const std::string digits = "{code=\"OK\",method=\"a/B\",model=\"digits\"";
  EXPECT_THAT(text, HasSubstr("convd_requests_total" + digits + "} 3\n"));
  EXPECT_THAT(text, HasSubstr("convd_request_duration_seconds_count" + digits + "} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("convd_request_duration_seconds_bucket" + digits + ",le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text,
              HasSubstr("convd_request_duration_seconds_bucket" + digits + ",le=\"0.005\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("{code=\"NOT_FOUND\",method=\"a/B\",model=\"digits\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("{code=\"OK\",method=\"a/B\",model=\"\"} 10000\n"));
  EXPECT_THAT(text, Not(HasSubstr("made-up")));
}

TEST_F(MetricsTest, ModelsBeyondItsLimitShareASet) {
  metrics_->SetIsModel([](absl::string_view) { return true; });
  for (int i = 0; i < 5000; ++i) {
    metrics_->rpc().Finished("m", absl::StatusCode::kOk, absl::StrCat("model-", i),
                             absl::ZeroDuration());
  }
  EXPECT_THAT(metrics_->Text(),
              HasSubstr("convd_requests_total{code=\"OK\",method=\"m\",model=\"\"} 904\n"));
}

TEST_F(MetricsTest, PredictionsAreObservedByStage) {
  PredictObserver& predict = metrics_->predict();
  LoadedModel model;
  model.precision = v1::PRECISION_INT8;
  predict.Decoded(5, absl::Milliseconds(1));
  predict.Received(absl::Milliseconds(5));
  predict.Waited(absl::Milliseconds(20));
  predict.Computed(model, 5, absl::Milliseconds(2));
  predict.Encoded(absl::Milliseconds(1));
  const std::string text = metrics_->Text();
  EXPECT_THAT(text, HasSubstr("convd_predict_images_total{precision=\"int8\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("convd_predict_images_total{precision=\"f32\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("convd_predict_batch_images_bucket{le=\"4\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("convd_predict_batch_images_bucket{le=\"8\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("convd_predict_stage_seconds_sum{stage=\"queue\"} 0.02\n"));
  EXPECT_THAT(text, HasSubstr("convd_predict_stage_seconds_sum{stage=\"receive\"} 0.005\n"));
}

TEST_F(MetricsTest, FiguresAreThoseOfTheScrape) {
  ServerFigures figures;
  metrics_->SetFigures([&figures] { return figures; });
  EXPECT_THAT(metrics_->Text(), HasSubstr("convd_build_info{convd=\"1.2\"} 1\n"));
  figures.jobs["queued"] = 7;
  figures.running.push_back({"j-1", "a\"b", 2, 500.5, 0.25});
  figures.lanes.push_back({"train", 10, 1, 0.5});
  figures.paused_seconds = 1.5;
  figures.serving[""] = false;
  const std::string text = metrics_->Text();
  EXPECT_THAT(text, HasSubstr("convd_jobs{state=\"queued\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("convd_job_loss{job=\"j-1\",model=\"a\\\"b\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("convd_job_images_per_second{job=\"j-1\",model=\"a\\\"b\"} 500.5\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE convd_executor_wait_seconds_total counter\n"
                              "convd_executor_wait_seconds_total{lane=\"train\"} 0.5\n"));
  EXPECT_THAT(text, HasSubstr("convd_executor_paused_seconds_total 1.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nconvd_cpu_throttled_seconds_total")));  // no quota
  EXPECT_THAT(text, HasSubstr("convd_serving{service=\"\"} 0\n"));
  figures.throttled_seconds = 0.25;
  EXPECT_THAT(metrics_->Text(), HasSubstr("\nconvd_cpu_throttled_seconds_total 0.25\n"));
  figures.running.clear();
  EXPECT_THAT(metrics_->Text(), Not(HasSubstr("j-1")));
}

}  // namespace
}  // namespace convd
