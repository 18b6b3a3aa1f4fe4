// What a version is trained in and served at, from the request to the answers of two servers.

#include "core/dnn/precision.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <utility>
#include <vector>

#include "core/dnn/calibration.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// The tests run on CPUs with and without each precision; the servers compute with the same.
bool Has(v1::Precision precision) { return CheckPrecision("precision", precision).ok(); }

std::vector<v1::Precision> OfThisCpu() {
  std::vector<v1::Precision> precisions;
  for (const v1::Precision precision :
       {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8}) {
    if (Has(precision)) precisions.push_back(precision);
  }
  return precisions;
}

class PrecisionTest : public FashionServerTest {
 protected:
  // Version 1 of "fashion", served at int8, or at f32 where the CPU hasn't that.
  void TrainServedAtInt8() {
    v1::TrainRequest request = SmallTraining("fashion", 1);
    request.set_serving_precision(own_);
    const v1::Job job = TrainToTheEnd(request);
    EXPECT_EQ(job.request().precision(), v1::PRECISION_F32);
    EXPECT_EQ(job.request().serving_precision(), own_);
  }
  v1::PredictRequest ToPredict(v1::Precision precision) {
    v1::PredictRequest request;
    request.mutable_model()->set_name("fashion");
    *request.mutable_images() = data_.test.Raw(0, 5);
    request.set_precision(precision);
    return request;
  }
  static v1::EvaluateRequest ToEvaluate(v1::Precision precision) {
    v1::EvaluateRequest request;
    request.mutable_model()->set_name("fashion");
    request.mutable_dataset()->set_name("fashion");
    request.set_precision(precision);
    return request;
  }
  v1::Model Fashion() {
    v1::ModelVersion version;
    version.set_name("fashion");
    const auto model = client_->GetModel(version);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : v1::Model();
  }
  // Ends the server and starts another one on its state.
  void Restart(const std::vector<std::string>& flags) {
    client_.reset();
    server_->process().Signal(SIGTERM);
    ASSERT_EQ(server_->process().Wait(), 0);
    std::vector<std::string> all = {"--data-dir", data_dir()};
    all.insert(all.end(), flags.begin(), flags.end());
    server_ = ServerProcess::Start(state(), all);
    ASSERT_NE(server_, nullptr);
    client_ = server_->Connect();
    ASSERT_NE(client_, nullptr);
  }

  const v1::Precision own_ = Has(v1::PRECISION_INT8) ? v1::PRECISION_INT8 : v1::PRECISION_F32;
};

TEST_F(PrecisionTest, AVersionIsServedAtItsOwnAndAtEachThatIsAskedFor) {
  TrainServedAtInt8();
  const v1::ModelCard card = Fashion().card();
  EXPECT_EQ(card.request().serving_precision(), own_);
  EXPECT_EQ(card.quantization().samples(), kCalibrationImages);
  EXPECT_EQ(card.quantization().inputs_size(), 3);  // two convolutions and a dense layer
  std::vector<v1::Precision> served;
  for (const v1::ServedAccuracy& accuracy : card.served()) {
    served.push_back(accuracy.precision());
    EXPECT_EQ(accuracy.samples(), 500);
    EXPECT_GT(accuracy.accuracy(), 0.5);
    if (accuracy.precision() == own_) {
      EXPECT_EQ(accuracy.loss(), card.validation().loss());
      EXPECT_EQ(accuracy.accuracy(), card.validation().accuracy());
      EXPECT_EQ(accuracy.loss(), card.history(0).val_loss());
    }
  }
  EXPECT_THAT(served, ElementsAreArray(OfThisCpu()));

  std::vector<v1::Precision> evaluated;
  std::vector<v1::Precision> named = OfThisCpu();
  named.push_back(v1::PRECISION_UNSPECIFIED);
  for (const v1::Precision precision : named) {
    const v1::Precision meant = precision == v1::PRECISION_UNSPECIFIED ? own_ : precision;
    const auto predicted = client_->Predict(ToPredict(precision));
    ASSERT_STATUS_OK(predicted);
    EXPECT_EQ(predicted->precision(), meant);
    EXPECT_EQ(predicted->predictions_size(), 5);
    const auto evaluation = client_->Evaluate(ToEvaluate(precision));
    ASSERT_STATUS_OK(evaluation);
    EXPECT_EQ(evaluation->evaluation().precision(), meant);
    evaluated.push_back(meant);
    // Validation and Evaluate run the same plan on the same images.
    for (const v1::ServedAccuracy& accuracy : card.served()) {
      if (accuracy.precision() != meant) continue;
      EXPECT_EQ(evaluation->evaluation().metrics().loss(), accuracy.loss());
    }
  }
  for (const bool restart : {false, true}) {
    if (restart) {
      ASSERT_NO_FATAL_FAILURE(Restart({}));
    }
    std::vector<v1::Precision> kept;
    const v1::Model model = Fashion();
    for (const v1::Evaluation& evaluation : model.evaluations()) {
      kept.push_back(evaluation.precision());
    }
    EXPECT_THAT(kept, ElementsAreArray(evaluated));
  }
}

TEST_F(PrecisionTest, AServerWithoutInt8SaysSoAndAnswersInF32) {
  if (own_ != v1::PRECISION_INT8) GTEST_SKIP() << "this CPU has no int8";
  TrainServedAtInt8();
  ASSERT_NO_FATAL_FAILURE(Restart({"--isa", "avx2"}));
  const auto expect_refused = [](const absl::Status& status, const std::string& says) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  };
  const std::string why =
      "got int8, which needs AVX512-VNNI; this server computes with avx2; want f32";
  const std::string own =
      "model \"fashion\" version 1 is served at int8, which this CPU lacks: "
      "serving_precision: " +
      why + "; a request may ask for precision f32";
  for (int i = 0; i < 2; ++i) {
    expect_refused(client_->Predict(ToPredict(v1::PRECISION_UNSPECIFIED)).status(), own);
    expect_refused(client_->Evaluate(ToEvaluate(v1::PRECISION_UNSPECIFIED)).status(), own);
    expect_refused(client_->Predict(ToPredict(v1::PRECISION_INT8)).status(), "precision: " + why);
    expect_refused(client_->Evaluate(ToEvaluate(v1::PRECISION_INT8)).status(), "precision: " + why);
    const auto predicted = client_->Predict(ToPredict(v1::PRECISION_F32));
    ASSERT_STATUS_OK(predicted);
    EXPECT_EQ(predicted->precision(), v1::PRECISION_F32);
    const auto evaluation = client_->Evaluate(ToEvaluate(v1::PRECISION_F32));
    ASSERT_STATUS_OK(evaluation);
    EXPECT_EQ(evaluation->evaluation().precision(), v1::PRECISION_F32);
  }
  EXPECT_EQ(Fashion().card().model().version(), 1) << "it isn't damaged";

  v1::TrainRequest request = SmallTraining("fashion", 1);
  request.set_serving_precision(v1::PRECISION_INT8);
  expect_refused(client_->Train(request).status(), "serving_precision: " + why);
  request.clear_serving_precision();
  request.set_precision(v1::PRECISION_BF16);
  expect_refused(client_->Train(request).status(), "precision: got bf16, which needs AVX512-BF16");

  // What is trained here can be served at int8 where the CPU has it.
  request.clear_precision();
  TrainToTheEnd(request);
  EXPECT_EQ(Fashion().card().served_size(), 1);
  ASSERT_NO_FATAL_FAILURE(Restart({}));
  const auto predicted = client_->Predict(ToPredict(v1::PRECISION_INT8));
  ASSERT_STATUS_OK(predicted);
  EXPECT_EQ(predicted->model().version(), 2);
  EXPECT_EQ(predicted->precision(), v1::PRECISION_INT8);
}

TEST_F(PrecisionTest, WhatIsNoPrecisionIsNamed) {
  TrainServedAtInt8();
  const auto expect_invalid = [](const absl::Status& status, const std::string& says) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  };
  for (const int word : {77, -1}) {
    const v1::Precision precision = static_cast<v1::Precision>(word);
    const std::string got = "precision: got " + std::to_string(word);
    expect_invalid(client_->Predict(ToPredict(precision)).status(), got);
    expect_invalid(client_->Evaluate(ToEvaluate(precision)).status(), got);
    v1::TrainRequest request = SmallTraining("fashion", 1);
    request.set_precision(precision);
    expect_invalid(client_->Train(request).status(), got);
    request.clear_precision();
    request.set_serving_precision(precision);
    expect_invalid(client_->Train(request).status(), "serving_" + got);
  }
  v1::TrainRequest request = SmallTraining("fashion", 1);
  request.set_precision(v1::PRECISION_INT8);
  expect_invalid(client_->Train(request).status(), "int8, which is for serving");
}

TEST_F(PrecisionTest, ConvctlNamesAndShowsThem) {
  const bool bf16 = Has(v1::PRECISION_BF16);
  const std::string own = bf16 ? "bf16" : "f32";
  const auto expect = [this](int code, std::vector<std::string> arguments) {
    Finished finished = server_->Convctl(std::move(arguments));
    EXPECT_EQ(finished.code, code) << finished.out << finished.err;
    return finished;
  };
  expect(0, {"train", "--model", "fashion", "--preset", "keras-mnist", "--dataset", "fashion",
             "--batch-size", "100", "--precision", "f32", "--serving-precision", own, "--follow"});
  const std::string shown = expect(0, {"models", "show", "fashion"}).out;
  EXPECT_THAT(shown, ContainsRegex("\nTrained in +f32\nServed at +" + own + "\n"));
  EXPECT_THAT(shown,
              ContainsRegex("\nSERVED AT +SAMPLES +LOSS +ACCURACY\nf32 +500 +[0-9.]+ +0\\."));
  const auto evaluate = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"evaluate", "fashion", "--dataset", "fashion"});
    return expect(0, std::move(more)).out;
  };
  EXPECT_THAT(evaluate({}), HasSubstr("fashion@1 on fashion/test at " + own + ", "));
  EXPECT_THAT(evaluate({"--precision", "f32"}), HasSubstr("fashion@1 on fashion/test at f32, "));
  EXPECT_THAT(expect(0, {"explain", "fashion"}).out, HasSubstr("\nPREDICT in " + own + ", "));
  EXPECT_THAT(expect(0, {"explain", "fashion", "--precision", "f32"}).out,
              HasSubstr("\nPREDICT in f32, "));
  const std::string images = data_dir() + "/t10k-images-idx3-ubyte";
  EXPECT_THAT(expect(0, {"predict", "fashion", "--images", images, "--index", "0", "--precision",
                         "f32", "--json"})
                  .out,
              HasSubstr("PRECISION_F32"));
  EXPECT_THAT(
      expect(2, {"predict", "fashion", "--images", images, "--index", "0", "--precision", "fp8"})
          .err,
      HasSubstr("got \"fp8\"; want one of f32, bf16, int8"));
}

}  // namespace
}  // namespace convd
