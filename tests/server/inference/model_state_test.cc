#include "server/inference/model_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/rpc/fake_models.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ModelVersion Version(const std::string& name, int64_t number = 0) {
  v1::ModelVersion version;
  version.set_name(name);
  version.set_version(number);
  return version;
}

TEST(ModelStateTest, TellsOfTheServer) {
  inference::ServerMetadataResponse response;
  FillServerMetadata("1.2.3", response);
  EXPECT_EQ(response.name(), "convd");
  EXPECT_EQ(response.version(), "1.2.3");
  EXPECT_THAT(response.extensions(), ElementsAre("classification", "model_repository",
                                                 "model_repository(unload_dependents)"));
}

TEST(ModelStateTest, TellsOfAModelsTensors) {
  FakeModels models;
  models.Publish("m");
  models.Publish("m");
  models.Publish("other");
  inference::ModelMetadataResponse response;
  const absl::Status status = FillModelMetadata(*models.repository, Version("m", 1), response);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.name(), "m");
  EXPECT_THAT(response.versions(), ElementsAre("1", "2"));
  EXPECT_EQ(response.platform(), "convd_onnx");
  ASSERT_EQ(response.inputs_size(), 1);
  EXPECT_EQ(response.inputs(0).name(), "images");
  EXPECT_EQ(response.inputs(0).datatype(), "UINT8");
  EXPECT_THAT(response.inputs(0).shape(), ElementsAre(-1, 2, 3, 1));
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "probabilities");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(-1, 4));
  inference::ModelMetadataResponse none;
  EXPECT_TRUE(absl::IsNotFound(FillModelMetadata(*models.repository, Version("m", 3), none)));
}

TEST(ModelStateTest, ReadyIsWhatWouldBeAnswered) {
  FakeModels models;
  models.Publish("m");
  models.Publish("torn");
  models.fs.Bytes("/state/models/torn/1/model.onnx")[10] ^= 1;
  EXPECT_FALSE(models.repository->Load(Version("torn"), v1::PRECISION_UNSPECIFIED).ok());
  EXPECT_TRUE(CheckReady(*models.repository, Version("m")).ok());
  EXPECT_TRUE(absl::IsNotFound(CheckReady(*models.repository, Version("m", 2))));
  EXPECT_TRUE(absl::IsNotFound(CheckReady(*models.repository, Version("none"))));
  EXPECT_TRUE(absl::IsDataLoss(CheckReady(*models.repository, Version("torn"))));
  const auto lacks = [](std::string_view field, v1::Precision) {
    return absl::FailedPreconditionError(std::string(field) + ": the CPU lacks it");
  };
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckReady(*models.repository, Version("m"), lacks)));
}

TEST(ModelStateTest, IndexesEveryVersion) {
  FakeModels models;
  models.Publish("m");
  models.Publish("m");
  models.Publish("torn");
  models.fs.Bytes("/state/models/torn/1/model.onnx")[10] ^= 1;
  EXPECT_FALSE(models.repository->Load(Version("torn"), v1::PRECISION_UNSPECIFIED).ok());
  ASSERT_TRUE(models.repository->Load(Version("m"), v1::PRECISION_UNSPECIFIED).ok());
  inference::RepositoryIndexResponse all;
  inference::RepositoryIndexRequest request;
  absl::Status status = FillRepositoryIndex(*models.repository, request, 1000, all);
  ASSERT_TRUE(status.ok()) << status;
  const auto text = [](const auto& entry) {
    return entry.name() + "/" + entry.version() + " " + entry.state() + " " + entry.reason();
  };
  ASSERT_EQ(all.models_size(), 3);
  EXPECT_EQ(text(all.models(0)), "m/2 READY ");
  EXPECT_EQ(text(all.models(1)), "m/1 READY not in memory; the first request loads it");
  EXPECT_THAT(text(all.models(2)), HasSubstr("torn/1 UNAVAILABLE "));
  EXPECT_THAT(all.models(2).reason(), HasSubstr("model.onnx"));

  inference::RepositoryIndexResponse ready;
  request.set_ready(true);
  status = FillRepositoryIndex(*models.repository, request, 1000, ready);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ready.models_size(), 2);

  inference::RepositoryIndexResponse too_long;
  status = FillRepositoryIndex(*models.repository, request, 40, too_long);
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  request.set_repository_name("elsewhere");
  status = FillRepositoryIndex(*models.repository, request, 1000, too_long);
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
}

TEST(ModelStateTest, LoadsAndUnloadsByName) {
  FakeModels models;
  models.Publish("m");
  models.Publish("m");
  const auto in_memory = [&](int64_t number) {
    return models.repository->FindLoaded(Version("m", number), v1::PRECISION_UNSPECIFIED) !=
           nullptr;
  };
  inference::RepositoryModelLoadRequest load;
  load.set_model_name("m");
  ASSERT_TRUE(LoadNamedModel(*models.repository, load).ok());
  EXPECT_TRUE(in_memory(2));
  EXPECT_FALSE(in_memory(1));
  inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("m");
  (*unload.mutable_parameters())["unload_dependents"].set_bool_param(true);
  ASSERT_TRUE(UnloadNamedModel(*models.repository, unload).ok());
  EXPECT_FALSE(in_memory(2));

  (*load.mutable_parameters())["file:1/model.onnx"].set_bytes_param("...");
  (*load.mutable_parameters())["config"].set_string_param("{}");
  absl::Status status = LoadNamedModel(*models.repository, load);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "parameters: got \"config\", which this server doesn't know; want none");
  EXPECT_FALSE(in_memory(2));
  unload.set_model_name("none");
  EXPECT_TRUE(absl::IsNotFound(UnloadNamedModel(*models.repository, unload)));
  unload.set_model_name("m@2");
  status = UnloadNamedModel(*models.repository, unload);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("model_name: got \"m@2\""));
}

}  // namespace
}  // namespace convd
