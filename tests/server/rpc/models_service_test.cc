#include "server/rpc/models_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/rpc/fake_models.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelsServiceTest : public ::testing::Test {
 protected:
  grpc::Status List(const v1::ListModelsRequest& request, v1::ListModelsResponse& response) {
    grpc::ClientContext context;
    return stub_->ListModels(&context, request, &response);
  }
  static std::vector<std::string> Names(const v1::ListModelsResponse& response) {
    std::vector<std::string> names;
    for (const v1::Model& model : response.models()) {
      names.push_back(
          absl::StrCat(model.card().model().name(), "/", model.card().model().version()));
    }
    return names;
  }

  FakeModels models_;
  ModelsService service_{*models_.repository};
  LoopbackServer server_{service_};
  std::unique_ptr<v1::Models::Stub> stub_ = v1::Models::NewStub(server_.channel());
};

TEST_F(ModelsServiceTest, ListsNoneWhereThereAreNone) {
  v1::ListModelsResponse response;
  ASSERT_TRUE(List({}, response).ok());
  EXPECT_EQ(response.models_size(), 0);
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(ModelsServiceTest, ListsByPages) {
  for (const char* name : {"b", "a", "b", "c", "b"}) models_.Publish(name);
  v1::ListModelsRequest request;
  request.set_page_size(2);
  v1::ListModelsResponse response;
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("a/1", "b/3"));
  // Published between two pages: nothing comes twice, nothing is left out.
  models_.Publish("b");
  models_.Publish("a");
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("b/2", "b/1"));
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("c/1"));
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(ModelsServiceTest, ListsOneName) {
  for (const char* name : {"b", "a", "b"}) models_.Publish(name);
  v1::ListModelsRequest request;
  request.set_name("b");
  v1::ListModelsResponse response;
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("b/2", "b/1"));
}

TEST_F(ModelsServiceTest, LeavesTheDetailsToGetModel) {
  models_.Publish("m");
  v1::Evaluation evaluation;
  evaluation.mutable_model()->set_name("m");
  evaluation.mutable_model()->set_version(1);
  evaluation.mutable_metrics()->set_accuracy(0.75);
  evaluation.mutable_metrics()->add_confusion(3);
  ASSERT_TRUE(models_.repository->AddEvaluation(evaluation).ok());
  v1::ListModelsResponse response;
  ASSERT_TRUE(List({}, response).ok());
  const v1::Model& listed = response.models(0);
  EXPECT_EQ(listed.summary(), "");
  EXPECT_EQ(listed.card().history_size(), 0);
  EXPECT_EQ(listed.card().labels_size(), 4);
  EXPECT_EQ(listed.card().validation().accuracy(), 0.5);
  EXPECT_EQ(listed.card().validation().confusion_size(), 0);
  EXPECT_EQ(listed.evaluations(0).metrics().accuracy(), 0.75);
  EXPECT_EQ(listed.evaluations(0).metrics().confusion_size(), 0);
  EXPECT_EQ(listed.path(), "/state/models/m/1");

  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.mutable_model()->set_name("m");
  v1::Model model;
  ASSERT_TRUE(stub_->GetModel(&context, request, &model).ok());
  EXPECT_THAT(model.summary(), HasSubstr("28"));  // 6 * 4 + 4 parameters
  EXPECT_EQ(model.card().history_size(), 1);
  EXPECT_EQ(model.card().validation().confusion_size(), 1);
  EXPECT_EQ(model.evaluations(0).metrics().confusion(0), 3);
  EXPECT_GT(model.size_bytes(), 0);
}

TEST_F(ModelsServiceTest, KeepsAPageToAboutAMegabyte) {
  for (int i = 0; i < 3; ++i) models_.Publish("m");
  v1::Evaluation evaluation;
  evaluation.mutable_model()->set_name("m");
  evaluation.set_data_sha256(std::string(600'000, 'x'));
  for (int64_t version : {1, 2, 3}) {
    evaluation.mutable_model()->set_version(version);
    ASSERT_TRUE(models_.repository->AddEvaluation(evaluation).ok());
  }
  v1::ListModelsRequest request;
  for (const char* want : {"m/3", "m/2", "m/1"}) {
    v1::ListModelsResponse response;
    ASSERT_TRUE(List(request, response).ok());
    EXPECT_THAT(Names(response), ElementsAre(want));
    request.set_page_token(response.next_page_token());
  }
  EXPECT_EQ(request.page_token(), "");
}

TEST_F(ModelsServiceTest, RefusesWhatNoPageCanBe) {
  models_.Publish("m");
  v1::ListModelsRequest negative, token, long_token, name;
  negative.set_page_size(-1);
  token.set_page_token("bm90aGluZw");  // "nothing"
  long_token.set_page_token(std::string(100'000, 'A'));
  name.set_name("../m");
  for (const v1::ListModelsRequest& request : {negative, token, long_token, name}) {
    v1::ListModelsResponse response;
    EXPECT_EQ(List(request, response).error_code(), grpc::INVALID_ARGUMENT)
        << request.ShortDebugString().substr(0, 100);
  }
  // More than the most is taken for the most.
  v1::ListModelsRequest many;
  many.set_page_size(1'000'000);
  v1::ListModelsResponse response;
  EXPECT_TRUE(List(many, response).ok());
}

TEST_F(ModelsServiceTest, SaysWhichModelIsMissing) {
  models_.Publish("m");
  const struct {
    const char* name;
    int64_t version;
    grpc::StatusCode code;
  } cases[] = {{"other", 0, grpc::NOT_FOUND},
               {"m", 2, grpc::NOT_FOUND},
               {"m", -2, grpc::INVALID_ARGUMENT},
               {"m/1", 0, grpc::INVALID_ARGUMENT},
               {"", 0, grpc::INVALID_ARGUMENT}};
  for (const auto& c : cases) {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.mutable_model()->set_name(c.name);
    request.mutable_model()->set_version(c.version);
    v1::Model model;
    EXPECT_EQ(stub_->GetModel(&context, request, &model).error_code(), c.code) << c.name;
  }
}

}  // namespace
}  // namespace convd
