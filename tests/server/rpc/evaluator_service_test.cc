#include "server/rpc/evaluator_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/server/predict/hex_bytes.h"
#include "tests/server/rpc/fake_models.h"
#include "tests/server/rpc/fake_registry.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EvaluatorServiceTest : public ::testing::Test {
 protected:
  void Start(const EvaluateLimits& limits = {}) {
    service_ =
        std::make_unique<EvaluatorService>(*models_.repository, registry_, *executor_, limits);
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = v1::Evaluator::NewStub(server_->channel());
  }
  static v1::EvaluateRequest OnDataset(const std::string& dataset, const std::string& split = "") {
    v1::EvaluateRequest request;
    request.mutable_model()->set_name("m");
    request.mutable_dataset()->set_name(dataset);
    request.mutable_dataset()->set_split(split);
    return request;
  }
  static v1::EvaluateRequest OnImages(const std::vector<int>& classes,
                                      const std::vector<int32_t>& labels) {
    v1::EvaluateRequest request;
    request.mutable_model()->set_name("m");
    *request.mutable_images()->mutable_images() = ImagesOf(classes);
    request.mutable_images()->mutable_labels()->Add(labels.begin(), labels.end());
    return request;
  }
  grpc::Status Evaluate(const v1::EvaluateRequest& request,
                        v1::EvaluateResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::EvaluateResponse unused;
    return stub_->Evaluate(&context, request, response != nullptr ? response : &unused);
  }
  void ExpectError(const v1::EvaluateRequest& request, grpc::StatusCode code,
                   const std::vector<std::string>& says) {
    const grpc::Status status = Evaluate(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    for (const std::string& s : says) EXPECT_THAT(status.error_message(), HasSubstr(s));
  }
  int Kept() {
    v1::ModelVersion id;
    id.set_name("m");
    return models_.repository->Get(id)->evaluations_size();
  }

  FakeModels models_;
  FakeRegistry registry_;
  std::unique_ptr<Executor> executor_ = NewThreadedExecutor(2);
  std::unique_ptr<EvaluatorService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<v1::Evaluator::Stub> stub_;
};

TEST_F(EvaluatorServiceTest, EvaluatesOnTheTestSplitAndKeepsTheFigures) {
  models_.Publish("m");
  models_.Publish("m");
  registry_.Add("d", "train", {0}, {1});
  registry_.Add("d", "test", {0, 1, 2, 3, 0}, {0, 1, 2, 0, 1});
  Start();
  v1::EvaluateResponse response;
  const grpc::Status status = Evaluate(OnDataset("d"), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::Evaluation& evaluation = response.evaluation();
  EXPECT_EQ(evaluation.model().version(), 2);
  EXPECT_EQ(evaluation.dataset().name(), "d");
  EXPECT_EQ(evaluation.dataset().split(), "test");
  EXPECT_EQ(evaluation.data_sha256(), "sha of d");
  EXPECT_EQ(evaluation.metrics().samples(), 5);
  EXPECT_DOUBLE_EQ(evaluation.metrics().accuracy(), 0.6);
  EXPECT_EQ(evaluation.metrics().classes(3).label(), "c3");
  EXPECT_GT(evaluation.time().seconds(), 0);
  EXPECT_EQ(response.probabilities_size(), 0);
  v1::ModelVersion newest;
  newest.set_name("m");
  const v1::Model model = *models_.repository->Get(newest);
  ASSERT_EQ(model.evaluations_size(), 1);
  EXPECT_EQ(model.evaluations(0).SerializeAsString(), evaluation.SerializeAsString());
}

TEST_F(EvaluatorServiceTest, SaysAndKeepsWhatItComputedIn) {
  v1::TrainRequest trained;
  trained.set_serving_precision(v1::PRECISION_INT8);
  models_.Publish("m", trained);
  registry_.Add("d", "test", {0, 1}, {0, 1});
  Start();
  v1::EvaluateRequest request = OnDataset("d");
  std::vector<v1::Precision> said;
  for (const v1::Precision named :
       {v1::PRECISION_UNSPECIFIED, v1::PRECISION_F32, v1::PRECISION_BF16}) {
    request.set_precision(named);
    v1::EvaluateResponse response;
    const grpc::Status status = Evaluate(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    said.push_back(response.evaluation().precision());
  }
  EXPECT_THAT(said, ElementsAre(v1::PRECISION_INT8, v1::PRECISION_F32, v1::PRECISION_BF16));
  v1::ModelVersion newest;
  newest.set_name("m");
  const v1::Model model = *models_.repository->Get(newest);
  ASSERT_EQ(model.evaluations_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(model.evaluations(i).precision(), said[i]);

  request.set_precision(static_cast<v1::Precision>(9));
  ExpectError(request, grpc::INVALID_ARGUMENT, {"precision: got 9"});
  EXPECT_EQ(Kept(), 3);
}

TEST_F(EvaluatorServiceTest, RefusesAPrecisionThatIsNotThere) {
  v1::TrainRequest trained;
  trained.set_serving_precision(v1::PRECISION_INT8);
  models_.Publish("m", trained);
  models_.precisions = {v1::PRECISION_F32};
  registry_.Add("d", "test", {0, 1}, {0, 1});
  Start();
  v1::EvaluateRequest request = OnDataset("d");
  ExpectError(request, grpc::FAILED_PRECONDITION, {"is served at int8, which this CPU lacks"});
  request.set_precision(v1::PRECISION_BF16);
  ExpectError(request, grpc::FAILED_PRECONDITION, {"precision: the CPU lacks it"});
  EXPECT_EQ(Kept(), 0);
  request.set_precision(v1::PRECISION_F32);
  EXPECT_TRUE(Evaluate(request).ok());
}

TEST_F(EvaluatorServiceTest, ChoosesTheSplit) {
  models_.Publish("m");
  registry_.Add("one", "all", {0, 1}, {0, 1});
  registry_.Add("two", "train", {0, 1}, {0, 1});
  registry_.Add("two", "holdout", {0, 1, 2}, {0, 1, 0});
  Start();
  v1::EvaluateResponse response;
  ASSERT_TRUE(Evaluate(OnDataset("one"), &response).ok());
  EXPECT_EQ(response.evaluation().dataset().split(), "all");
  ASSERT_TRUE(Evaluate(OnDataset("two", "holdout"), &response).ok());
  EXPECT_EQ(response.evaluation().metrics().samples(), 3);
  ExpectError(OnDataset("two"), grpc::NOT_FOUND, {"dataset.split", "\"train\", \"holdout\""});
  ExpectError(OnDataset("two", "test"), grpc::NOT_FOUND, {"\"train\", \"holdout\"", "\"test\""});
}

TEST_F(EvaluatorServiceTest, EvaluatesImagesThatAreSentAlong) {
  models_.Publish("m");
  Start();
  v1::EvaluateRequest request = OnImages({3, 1, 2}, {3, 1, 0});
  request.set_probabilities(true);
  v1::EvaluateResponse response;
  const grpc::Status status = Evaluate(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.evaluation().has_dataset());
  // By Python's hashlib, of what dataset_folder.h says of a dataset's hash.
  EXPECT_EQ(response.evaluation().data_sha256(),
            "c64dfb0f75d9df070c888647b85ea2cb89fb368302fac5c3a4aecc3fa7fc29d9");
  EXPECT_NEAR(response.evaluation().metrics().accuracy(), 2.0 / 3, 1e-12);
  EXPECT_THAT(response.probabilities(),
              ElementsAre(0.3f, 0.2f, 0.1f, 0.4f, 0.1f, 0.4f, 0.3f, 0.2f, 0.2f, 0.1f, 0.4f, 0.3f));
  EXPECT_EQ(Kept(), 1);
}

TEST_F(EvaluatorServiceTest, EvaluatesPngAndJpegFiles) {
  // Made with Python's Pillow, 2 high and 3 wide: 0, 50, 100, 150, 200, 255, whose sum is 3 modulo
  // 4, and 77 everywhere: 2.
  const std::string png = HexBytes(
      "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c6000000104944415478da63"
      "643032629876e23f00068702c305b5bc230000000049454e44ae426082");
  const std::string jpeg = HexBytes(
      "ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202"
      "02020504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a"
      "0affc0000b080002000301011100ffc40014000100000000000000000000000000000008ffc4001410010000"
      "0000000000000000000000000000ffda0008010100003f0019bfffd9");
  models_.Publish("m");
  Start();
  v1::EvaluateRequest request;
  request.mutable_model()->set_name("m");
  v1::LabelledImages& images = *request.mutable_images();
  for (int i = 0; i < 50; ++i) {  // several tasks' worth
    images.mutable_images()->mutable_encoded()->add_files(i % 5 == 0 ? jpeg : png);
    images.add_labels(i % 5 == 0 ? 2 : 3);
  }
  v1::EvaluateResponse response;
  const grpc::Status status = Evaluate(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.evaluation().metrics().samples(), 50);
  EXPECT_EQ(response.evaluation().metrics().accuracy(), 1);
  // Of the decoded pixels, again by hashlib.
  EXPECT_EQ(response.evaluation().data_sha256(),
            "3e7888af130d998303fce65a62971a812b7166b0ae5f8d32d8425fa2acc840d0");

  // 255, 205, 155, 105, 55, 0, whose sum is 3 as well, and 178 everywhere: 0.
  images.mutable_images()->mutable_encoded()->set_invert(true);
  for (int i = 0; i < 50; i += 5) images.set_labels(i, 0);
  ASSERT_TRUE(Evaluate(request, &response).ok());
  EXPECT_EQ(response.evaluation().metrics().accuracy(), 1);
  images.mutable_images()->mutable_encoded()->set_files(47, "no image");
  images.mutable_images()->mutable_encoded()->mutable_files(40)->resize(60);
  ExpectError(request, grpc::INVALID_ARGUMENT, {"images.encoded.files[40]"});
  EXPECT_EQ(Kept(), 2);
}

TEST_F(EvaluatorServiceTest, HoldsNoMoreDecodedImagesThanItsLimit) {
  models_.Publish("m");
  EvaluateLimits limits;
  limits.max_image_bytes = 12;
  Start(limits);
  EXPECT_TRUE(Evaluate(OnImages({0, 1}, {0, 1})).ok());
  ExpectError(OnImages({0, 1, 2}, {0, 1, 2}), grpc::INVALID_ARGUMENT, {"18 bytes", "at most 12"});
}

TEST_F(EvaluatorServiceTest, MeasuresOnTheTailOfASplitAlone) {
  models_.Publish("m");
  // The model answers with an image's last pixel: wrong on the first three, right on the last two.
  registry_.Add("d", "all", {0, 1, 2, 3, 1}, {1, 2, 3, 3, 1});
  Start();
  const auto accuracy = [&](int64_t tail, int64_t samples) {
    v1::EvaluateRequest request = OnDataset("d");
    request.mutable_dataset()->set_tail(tail);
    v1::EvaluateResponse response;
    const grpc::Status status = Evaluate(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.evaluation().dataset().tail(), tail);
    EXPECT_EQ(response.evaluation().metrics().samples(), samples);
    return response.evaluation().metrics().accuracy();
  };
  EXPECT_DOUBLE_EQ(accuracy(2, 2), 1);
  EXPECT_DOUBLE_EQ(accuracy(4, 4), 0.5);
  EXPECT_DOUBLE_EQ(accuracy(5, 5), 0.4);
  EXPECT_DOUBLE_EQ(accuracy(0, 5), 0.4);
  for (const int64_t tail : {int64_t{-1}, int64_t{6}, int64_t{1} << 62}) {
    v1::EvaluateRequest request = OnDataset("d");
    request.mutable_dataset()->set_tail(tail);
    ExpectError(request, grpc::INVALID_ARGUMENT,
                {"dataset.tail: got " + std::to_string(tail), "\"d/all\" has 5"});
  }
}

TEST_F(EvaluatorServiceTest, RefusesWhatDoesNotFitAndKeepsNothing) {
  models_.Publish("m");
  registry_.Add("tall", "test", {0}, {0}, 3, 3);
  registry_.Add("ten", "test", {0, 0, 0}, {0, 9, 1});
  registry_.Add("negative", "test", {0}, {-1});
  registry_.Add("unlabelled", "test", {0}, {});
  registry_.Add("empty", "test", {}, {});
  Start();
  ExpectError(OnDataset("tall"), grpc::INVALID_ARGUMENT, {"3x3x1", "2x3x1"});
  ExpectError(OnDataset("ten"), grpc::INVALID_ARGUMENT, {"label of image 1 is 9", "4 classes"});
  ExpectError(OnDataset("negative"), grpc::INVALID_ARGUMENT, {"label of image 0 is -1"});
  ExpectError(OnDataset("unlabelled"), grpc::INVALID_ARGUMENT, {"0 labels for 1 images"});
  ExpectError(OnDataset("empty"), grpc::INVALID_ARGUMENT, {"no images"});
  ExpectError(OnDataset("unknown"), grpc::NOT_FOUND, {"\"unknown\""});
  ExpectError(OnDataset("../d"), grpc::INVALID_ARGUMENT, {"dataset.name"});
  ExpectError(OnDataset("tall", "a/b"), grpc::INVALID_ARGUMENT, {"dataset.split"});
  ExpectError(OnImages({0, 1}, {0}), grpc::INVALID_ARGUMENT,
              {"images.labels: got 1 labels for 2 images"});
  ExpectError(OnImages({0}, {4}), grpc::INVALID_ARGUMENT,
              {"images.labels: the label of image 0 is 4", "0 to 3"});
  ExpectError(OnImages({}, {}), grpc::INVALID_ARGUMENT, {"got 0 images"});
  v1::EvaluateRequest request = OnImages({0}, {0});
  request.mutable_images()->mutable_images()->mutable_uint8()->set_channels(3);
  ExpectError(request, grpc::INVALID_ARGUMENT, {"2x3x3", "2x3x1"});
  request = OnImages({0}, {0});
  request.mutable_model()->set_name("other");
  ExpectError(request, grpc::NOT_FOUND, {"\"other\""});
  request.mutable_model()->set_name("");
  ExpectError(request, grpc::INVALID_ARGUMENT, {"model.name"});
  request.mutable_model()->set_name("m");
  request.clear_data();
  ExpectError(request, grpc::INVALID_ARGUMENT, {"dataset or images"});
  EXPECT_EQ(Kept(), 0);
}

TEST_F(EvaluatorServiceTest, SendsOnlyAsManyProbabilitiesAsFitAnAnswer) {
  models_.Publish("m");
  EvaluateLimits limits;
  limits.max_response_bytes = 20'000;
  Start(limits);
  int answered = 0, refused = 0;
  for (int count = 100; count <= 2000; count += 100) {
    v1::EvaluateRequest request =
        OnImages(std::vector<int>(count, 1), std::vector<int32_t>(count, 1));
    EXPECT_TRUE(Evaluate(request).ok());
    request.set_probabilities(true);
    v1::EvaluateResponse response;
    const grpc::Status status = Evaluate(request, &response);
    if (status.ok()) {
      ++answered;
      EXPECT_EQ(response.probabilities_size(), count * 4);
      EXPECT_LE(response.ByteSizeLong(), 20'000u);
    } else {
      ++refused;
      EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
      EXPECT_THAT(status.error_message(),
                  AllOf(HasSubstr(absl::StrCat(count, " samples")), HasSubstr("20000 bytes"),
                        HasSubstr("--max-message-mb")));
    }
  }
  EXPECT_GT(answered, 5);
  EXPECT_GT(refused, 5);
}

// In these two the model computes until it is told to stop.
TEST_F(EvaluatorServiceTest, StopsAtTheDeadlineAndKeepsNothing) {
  models_.until_cancelled = true;
  models_.Publish("m");
  registry_.Add("d", "test", std::vector<int>(200, 1), std::vector<int32_t>(200, 1));
  Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  v1::EvaluateResponse response;
  EXPECT_EQ(stub_->Evaluate(&context, OnDataset("d"), &response).error_code(),
            grpc::DEADLINE_EXCEEDED);
  server_->Shutdown();
  EXPECT_EQ(Kept(), 0);
}

TEST_F(EvaluatorServiceTest, StopsWhenTheCallerGoesAway) {
  absl::Notification inside;
  models_.on_infer =
      [&, first = std::make_shared<std::atomic<bool>>(true)](absl::Span<const ImagePixels>) {
        if (first->exchange(false)) inside.Notify();
        return absl::OkStatus();
      };
  models_.until_cancelled = true;
  models_.Publish("m");
  registry_.Add("d", "test", std::vector<int>(200, 1), std::vector<int32_t>(200, 1));
  Start();
  grpc::ClientContext context;
  v1::EvaluateResponse response;
  std::thread client([&] {
    EXPECT_EQ(stub_->Evaluate(&context, OnDataset("d"), &response).error_code(), grpc::CANCELLED);
  });
  inside.WaitForNotification();
  context.TryCancel();
  client.join();
  server_->Shutdown();
  EXPECT_EQ(Kept(), 0);
}

TEST_F(EvaluatorServiceTest, RefusesMoreAtOnceThanItHasPlacesFor) {
  absl::Notification inside, go;
  models_.on_infer =
      [&, first = std::make_shared<std::atomic<bool>>(true)](absl::Span<const ImagePixels>) {
        if (first->exchange(false)) inside.Notify();
        go.WaitForNotification();
        return absl::OkStatus();
      };
  models_.Publish("m");
  EvaluateLimits limits;
  limits.at_once = 1;
  limits.waiting = 0;
  Start(limits);
  std::thread first([&] { EXPECT_TRUE(Evaluate(OnImages({0}, {0})).ok()); });
  inside.WaitForNotification();
  ExpectError(OnImages({0}, {0}), grpc::RESOURCE_EXHAUSTED, {"try again"});
  go.Notify();
  first.join();
}

TEST_F(EvaluatorServiceTest, SaysThatTheFiguresCouldNotBeKept) {
  models_.Publish("m");
  Start();
  ASSERT_TRUE(Evaluate(OnImages({0}, {0})).ok());  // so that the model is loaded
  models_.fs.FailAt(1, /*ever_after=*/true);
  ExpectError(OnImages({0}, {0}), grpc::INTERNAL, {"could not be kept"});
  models_.fs.FailAt(0);
  EXPECT_EQ(Kept(), 1);
}

}  // namespace
}  // namespace convd
