#include "server/auth/method_scopes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "convd/v1/datasets.pb.h"
#include "convd/v1/evaluator.pb.h"
#include "convd/v1/jobs.pb.h"
#include "convd/v1/models.pb.h"
#include "convd/v1/predictor.pb.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Services() {
  // Descriptors are registered by what is linked; a message of each file is named so that it is.
  v1::Job job;
  v1::Dataset dataset;
  v1::Model model;
  v1::EvaluateRequest evaluate;
  v1::PredictRequest predict;
  inference::ServerLiveRequest live;
  return {"convd.v1.Datasets", "convd.v1.Evaluator", "convd.v1.Jobs",
          "convd.v1.Models",   "convd.v1.Predictor", "inference.GRPCInferenceService"};
}

TEST(MethodScopesTest, EveryMethodOfTheServicesIsThereAndNoOther) {
  EXPECT_EQ(CheckMethodScopes(Services()), absl::OkStatus());
  std::vector<std::string> fewer = Services();
  fewer.pop_back();
  EXPECT_THAT(CheckMethodScopes(fewer).message(),
              HasSubstr("/inference.GRPCInferenceService/ModelInfer, which no service has"));
  std::vector<std::string> more = Services();
  more.push_back("convd.v1.Unheard");
  EXPECT_THAT(CheckMethodScopes(more).message(), HasSubstr("the service convd.v1.Unheard"));
}

TEST(MethodScopesTest, TheDocumentationHasTheSameTable) {
  std::ifstream file(CONVD_SOURCE_DIR "/docs/security.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const MethodScope& method : MethodScopes()) {
    std::string name(absl::StripPrefix(method.method, "/convd.v1."));
    name = std::string(absl::StripPrefix(name, "/inference."));
    std::replace(name.begin(), name.end(), '/', '.');
    EXPECT_THAT(text.str(), HasSubstr(absl::StrCat("\n| `", name, "` | ", ToString(method.scope),
                                                   " | ", method.audited ? "yes" : "", " |\n")));
  }
}

TEST(MethodScopesTest, AnUnknownServicesMethodsHaveNoScope) {
  EXPECT_EQ(FindMethodScope("/convd.v1.Jobs/Tra"), nullptr);
  EXPECT_EQ(FindMethodScope(""), nullptr);
  for (const MethodScope& method : MethodScopes()) {
    EXPECT_EQ(FindMethodScope(method.method), &method);
    const bool probe = method.method == "/inference.GRPCInferenceService/ServerLive" ||
                       method.method == "/inference.GRPCInferenceService/ServerReady";
    EXPECT_EQ(method.scope == Scope::kNone, probe) << method.method;
  }
}

}  // namespace
}  // namespace convd
