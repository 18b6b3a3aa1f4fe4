#include "server/rpc/inference_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/rpc/fake_models.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Models of 2 x 3 x 1 images and four classes; an image's class is the sum of its elements modulo
// four, with a probability of 0.4, and those that follow it in a circle have 0.3, 0.2 and 0.1.
class InferenceServiceTest : public ::testing::Test {
 protected:
  void Start(const PredictLimits& limits = {}) {
    queue_ = std::make_unique<PredictQueue>(*executor_, limits);
    predictor_ = std::make_unique<Predictor>(*models_.repository, *queue_);
    service_ = std::make_unique<InferenceService>(*models_.repository, *predictor_, "1.2.3");
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = inference::GRPCInferenceService::NewStub(server_->channel());
  }

  // `images` of the classes 0, 1, 2, ... in a circle, raw.
  static inference::ModelInferRequest Request(int images) {
    inference::ModelInferRequest request;
    request.set_model_name("m");
    request.set_id("id 1");
    auto& input = *request.add_inputs();
    input.set_name("images");
    input.set_datatype("UINT8");
    for (const int64_t size : {images, 2, 3, 1}) input.add_shape(size);
    std::string& pixels = *request.add_raw_input_contents();
    for (int i = 0; i < images; ++i) pixels += std::string(5, '\0') + static_cast<char>(i % 4);
    return request;
  }
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (inference::GRPCInferenceService::Stub::*method)(
                        grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    return (stub_.get()->*method)(&context, request, &response);
  }
  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse& response) {
    return Call(&inference::GRPCInferenceService::Stub::ModelInfer, request, response);
  }

  FakeModels models_;
  std::unique_ptr<Executor> executor_ = NewThreadedExecutor(2);
  std::unique_ptr<PredictQueue> queue_;
  std::unique_ptr<Predictor> predictor_;
  std::unique_ptr<InferenceService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

using Stub = inference::GRPCInferenceService::Stub;

TEST_F(InferenceServiceTest, TellsOfTheServer) {
  Start();
  inference::ServerLiveResponse live;
  ASSERT_TRUE(Call(&Stub::ServerLive, {}, live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerMetadataResponse metadata;
  ASSERT_TRUE(Call(&Stub::ServerMetadata, {}, metadata).ok());
  EXPECT_EQ(metadata.name(), "convd");
  EXPECT_EQ(metadata.version(), "1.2.3");
  for (const bool ready : {true, false}) {
    service_->SetReady(ready);
    inference::ServerReadyResponse response;
    ASSERT_TRUE(Call(&Stub::ServerReady, {}, response).ok());
    EXPECT_EQ(response.ready(), ready);
  }
}

TEST_F(InferenceServiceTest, AnswersFromTheVersionThatIsNamed) {
  models_.Publish("m");
  models_.Publish("m");
  ASSERT_TRUE(models_.repository->MoveLabel("m", "stable", 1).ok());
  Start();
  for (const auto& [named, meant] :
       {std::pair{"", "2"}, {"1", "1"}, {"stable", "1"}, {"latest", "2"}, {"2", "2"}}) {
    inference::ModelInferRequest request = Request(5);
    request.set_model_version(named);
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(request, response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model_name(), "m");
    EXPECT_EQ(response.model_version(), meant);
    EXPECT_EQ(response.id(), "id 1");
    EXPECT_THAT(response.outputs(0).shape(), ElementsAre(5, 4));
    EXPECT_EQ(response.raw_output_contents(0).size(), 5 * 4 * sizeof(float));
  }
}

TEST_F(InferenceServiceTest, ClassesAreThoseOfTheirImages) {
  models_.Publish("m");
  Start();
  inference::ModelInferRequest request = Request(3);
  for (const char value : request.raw_input_contents(0)) {
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(value);
  }
  request.mutable_inputs(0)->set_datatype("FP32");
  request.clear_raw_input_contents();
  auto& output = *request.add_outputs();
  output.set_name("probabilities");
  (*output.mutable_parameters())["classification"].set_int64_param(2);
  inference::ModelInferResponse response;
  const grpc::Status status = Infer(request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(response.outputs(0).contents().bytes_contents(),
              ElementsAre("0.400000:0:c0", "0.300000:1:c1", "0.400000:1:c1", "0.300000:2:c2",
                          "0.400000:2:c2", "0.300000:3:c3"));
}

TEST_F(InferenceServiceTest, GivesEachErrorItsCode) {
  models_.Publish("m");
  models_.Publish("torn");
  models_.fs.Bytes("/state/models/torn/1/model.onnx")[10] ^= 1;
  PredictLimits limits;
  limits.max_images = 8;
  limits.max_response_bytes = 400;
  Start(limits);
  const auto expect = [&](const inference::ModelInferRequest& request, grpc::StatusCode code,
                          const std::string& says) {
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(request, response);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(says));
  };
  inference::ModelInferRequest request = Request(2);
  request.set_model_name("none");
  expect(request, grpc::NOT_FOUND, "none");
  request.set_model_name("torn");
  expect(request, grpc::DATA_LOSS, "model.onnx");
  request.set_model_name("../m");
  expect(request, grpc::INVALID_ARGUMENT, "model_name: got \"../m\"");
  request = Request(2);
  request.set_model_version("3");
  expect(request, grpc::NOT_FOUND, "3");
  request.set_model_version("unknown-label");
  expect(request, grpc::NOT_FOUND, "unknown-label");
  request.set_model_version("0");
  expect(request, grpc::INVALID_ARGUMENT, "model_version: got \"0\"");
  expect(Request(9), grpc::INVALID_ARGUMENT, "inputs[0].shape[0]: got 9 images; want 1 to 8");
  // The answer's own fields are 256 bytes at most, and 8 x 4 floats are 128; a longer id is not.
  request = Request(8);
  inference::ModelInferResponse response;
  EXPECT_TRUE(Infer(request, response).ok());
  request.set_id(std::string(20, 'i'));
  expect(request, grpc::INVALID_ARGUMENT, "this server sends at most 400");
  request = Request(1);
  request.mutable_inputs(0)->set_datatype("FP32");
  request.set_raw_input_contents(0, std::string("\0\0\xC0\x7F", 4) + std::string(20, '\0'));
  expect(request, grpc::INVALID_ARGUMENT, "inputs[0].data");
}

TEST_F(InferenceServiceTest, TellsOfModelsAndTheirRepository) {
  models_.Publish("m");
  Start();
  for (const auto& [name, version, ready] :
       {std::tuple{"m", "", true}, {"m", "1", true}, {"m", "2", false}, {"none", "", false}}) {
    inference::ModelReadyRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelReadyResponse response;
    ASSERT_TRUE(Call(&Stub::ModelReady, request, response).ok());
    EXPECT_EQ(response.ready(), ready) << name << version;
  }
  inference::ModelReadyRequest wrong;
  wrong.set_name("m");
  wrong.set_version("-1");
  inference::ModelReadyResponse not_ready;
  EXPECT_EQ(Call(&Stub::ModelReady, wrong, not_ready).error_code(), grpc::INVALID_ARGUMENT);

  inference::ModelMetadataRequest metadata_request;
  metadata_request.set_name("m");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(Call(&Stub::ModelMetadata, metadata_request, metadata).ok());
  EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, 2, 3, 1));
  metadata_request.set_version("5");
  EXPECT_EQ(Call(&Stub::ModelMetadata, metadata_request, metadata).error_code(), grpc::NOT_FOUND);

  const auto reason = [&] {
    inference::RepositoryIndexResponse index;
    EXPECT_TRUE(Call(&Stub::RepositoryIndex, {}, index).ok());
    EXPECT_EQ(index.models_size(), 1);
    return index.models(0).reason();
  };
  EXPECT_THAT(reason(), HasSubstr("not in memory"));
  inference::RepositoryModelLoadRequest load;
  load.set_model_name("m");
  inference::RepositoryModelLoadResponse loaded;
  ASSERT_TRUE(Call(&Stub::RepositoryModelLoad, load, loaded).ok());
  EXPECT_EQ(reason(), "");
  inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("m");
  inference::RepositoryModelUnloadResponse unloaded;
  ASSERT_TRUE(Call(&Stub::RepositoryModelUnload, unload, unloaded).ok());
  EXPECT_THAT(reason(), HasSubstr("not in memory"));
}

}  // namespace
}  // namespace convd
