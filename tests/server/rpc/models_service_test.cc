#include "server/rpc/models_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/dnn/precision.h"
#include "core/exec/executor.h"
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
  std::unique_ptr<Executor> executor_ = NewThreadedExecutor(1);
  ModelsService service_{*models_.repository, *executor_};
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
  EXPECT_FALSE(listed.card().has_quantization());
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
  EXPECT_TRUE(model.card().has_quantization());
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

// Runs a worker's tasks on the caller's thread; notes each one's lane and how many cuts it had.
class RecordingExecutor : public Executor {
 public:
  int workers() const override { return 1; }
  void Submit(Lane, absl::AnyInvocable<void()>) override { ADD_FAILURE(); }
  void ForEachInStages(Lane lane, absl::FunctionRef<int64_t()> next_stage,
                       absl::FunctionRef<void(int64_t)> body) override {
    lanes.push_back(lane);
    cuts.push_back(0);
    for (int64_t count = next_stage(); count > 0; count = next_stage()) {
      for (int64_t i = 0; i < count; ++i) body(i);
    }
  }
  void Cut() override {
    ++cuts.back();
    if (on_cut) on_cut();
  }

  std::function<void()> on_cut;  // set before the first call
  // Read after the call; one runs at a time.
  std::vector<Lane> lanes;
  std::vector<int> cuts;
};

// Goes on by a tenth of a second each time that it is asked, so that few runs are made; or stands
// still, so that as many are as ever.
class SteppingClock : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch(); }
  absl::Duration Monotonic() const override {
    return absl::Milliseconds(milliseconds_ += stands_still ? 0 : 100);
  }

  bool stands_still = false;  // set before the first call

 private:
  mutable std::atomic<int64_t> milliseconds_{0};
};

class ExplainModelTest : public ::testing::Test {
 protected:
  void Start(const ExplainLimits& limits = {}) {
    service_ = std::make_unique<ModelsService>(*models_.repository, executor_, limits, clock_);
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = v1::Models::NewStub(server_->channel());
  }
  grpc::Status Explain(const v1::ExplainModelRequest& request,
                       v1::ExplainModelResponse* response = nullptr) {
    grpc::ClientContext context;
    // Where one waits that should be refused, it fails and doesn't hang.
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    v1::ExplainModelResponse unused;
    return stub_->ExplainModel(&context, request, response != nullptr ? response : &unused);
  }
  static v1::ExplainModelRequest Request(int64_t batch_size = 0) {
    v1::ExplainModelRequest request;
    request.mutable_model()->set_name("m");
    request.set_batch_size(batch_size);
    return request;
  }
  grpc::Status List() {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    return stub_->ListModels(&context, {}, &response);
  }

  FakeModels models_;
  RecordingExecutor executor_;
  SteppingClock clock_;
  std::unique_ptr<ModelsService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<v1::Models::Stub> stub_;
};

TEST_F(ExplainModelTest, ExplainsTheNewestAsItWasTrained) {
  Start();
  v1::TrainRequest trained;
  trained.set_batch_size(60);
  trained.set_micro_batch(7);
  models_.Publish("m");
  models_.Publish("m", trained);
  v1::ExplainModelResponse response;
  const grpc::Status status = Explain(Request(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model().name(), "m");
  EXPECT_EQ(response.model().version(), 2);
  const v1::Explanation& explanation = response.explanation();
  EXPECT_EQ(explanation.batch_size(), 60);
  EXPECT_EQ(explanation.train().images(), 7);
  EXPECT_EQ(explanation.train().most_workers(), 9);
  EXPECT_EQ(explanation.train().flop(), 7 * 2 * 2 * 6 * 4);  // forward, backward by weights
  EXPECT_EQ(explanation.predict().flop(), explanation.predict().images() * 2 * 6 * 4);
  EXPECT_THAT(executor_.lanes, ElementsAre(Lane::kEvaluate));
  EXPECT_GT(executor_.cuts.back(), 0);
}

TEST_F(ExplainModelTest, TakesAnotherBatch) {
  Start();
  v1::TrainRequest trained;
  trained.set_batch_size(60);
  trained.set_micro_batch(7);
  models_.Publish("m", trained);
  v1::ExplainModelResponse response;
  ASSERT_TRUE(Explain(Request(32), &response).ok());
  EXPECT_EQ(response.explanation().batch_size(), 32);
  EXPECT_EQ(response.explanation().train().images(), 2);
}

TEST_F(ExplainModelTest, TakesAThousandWhereTheCardSaysNothingThatATrainingHas) {
  Start();
  for (const int64_t batch : {int64_t{0}, int64_t{-5}, INT64_MAX}) {
    v1::TrainRequest trained;
    trained.set_batch_size(batch);
    models_.Publish("m", trained);
    v1::ExplainModelResponse response;
    ASSERT_TRUE(Explain(Request(), &response).ok());
    EXPECT_EQ(response.explanation().batch_size(), 1000);
  }
  v1::TrainRequest trained;
  trained.set_batch_size(8);
  trained.set_micro_batch(INT64_MAX);
  models_.Publish("m", trained);
  v1::ExplainModelResponse response;
  ASSERT_TRUE(Explain(Request(), &response).ok());
  EXPECT_EQ(response.explanation().train().images(), 1);
}

TEST_F(ExplainModelTest, TakesNoLargerMicroBatchThanAJobWould) {
  Start();
  v1::TrainRequest trained;
  trained.set_batch_size(1000);
  trained.set_micro_batch(1000);
  models_.Publish("m", trained);
  v1::ExplainModelResponse response;
  ASSERT_TRUE(Explain(Request(), &response).ok());
  EXPECT_EQ(response.explanation().train().images(), 64);
}

// A card may come from elsewhere: an augmentation that no training has counts as none.
TEST_F(ExplainModelTest, TakesWhateverAugmentationACardHas) {
  Start();
  for (const int shift : {0, 1, -1, 64, INT32_MIN, INT32_MAX}) {
    v1::TrainRequest trained;
    trained.mutable_augmentation()->set_horizontal_flip(true);
    trained.mutable_augmentation()->set_shift(shift);
    models_.Publish("m", trained);
    const grpc::Status status = Explain(Request());
    EXPECT_TRUE(status.ok()) << shift << ": " << status.error_message();
  }
}

// The tests run on CPUs with and without each precision.
TEST_F(ExplainModelTest, ExplainsEachPrecisionThatTheCpuHas) {
  Start();
  models_.Publish("m");
  for (const auto& [named, trained] : {std::pair{v1::PRECISION_F32, v1::PRECISION_F32},
                                       std::pair{v1::PRECISION_BF16, v1::PRECISION_BF16},
                                       std::pair{v1::PRECISION_INT8, v1::PRECISION_F32}}) {
    v1::ExplainModelRequest request = Request();
    request.set_precision(named);
    v1::ExplainModelResponse response;
    const grpc::Status status = Explain(request, &response);
    const absl::Status has = CheckPrecision("precision", named);
    EXPECT_EQ(status.error_code(), static_cast<grpc::StatusCode>(has.code()));
    EXPECT_EQ(status.error_message(), std::string(has.message()));
    if (!has.ok()) continue;
    EXPECT_EQ(response.explanation().train().precision(), trained);
    EXPECT_EQ(response.explanation().predict().precision(), named);
  }
  v1::ExplainModelRequest unknown = Request();
  unknown.set_precision(static_cast<v1::Precision>(9));
  EXPECT_EQ(Explain(unknown).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(ExplainModelTest, ExplainsWhatTheModelIsTrainedInAndServedAt) {
  Start();
  const bool bf16 = CheckPrecision("precision", v1::PRECISION_BF16).ok();
  v1::TrainRequest trained;
  trained.set_precision(v1::PRECISION_BF16);
  models_.Publish("m", trained);
  v1::ExplainModelResponse response;
  EXPECT_EQ(Explain(Request(), &response).error_code(),
            bf16 ? grpc::OK : grpc::FAILED_PRECONDITION);
  if (bf16) {
    EXPECT_EQ(response.explanation().train().precision(), v1::PRECISION_BF16);
    EXPECT_EQ(response.explanation().predict().precision(), v1::PRECISION_F32);
  }
  // Words that no training has.
  for (const int word : {3, 77, -1}) {
    trained.set_precision(static_cast<v1::Precision>(word));
    models_.Publish("m", trained);
    ASSERT_TRUE(Explain(Request(), &response).ok());
    EXPECT_EQ(response.explanation().train().precision(), v1::PRECISION_F32);
  }
  trained.set_serving_precision(static_cast<v1::Precision>(77));
  models_.Publish("m", trained);
  const grpc::Status status = Explain(Request());
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("is served at precision 77"));
}

TEST_F(ExplainModelTest, RefusesBatchesThatNoTrainingHas) {
  Start();
  models_.Publish("m");
  for (const int64_t batch : {int64_t{-1}, int64_t{1048577}, INT64_MIN, INT64_MAX}) {
    const grpc::Status status = Explain(Request(batch));
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(),
                HasSubstr(absl::StrCat("batch_size: got ", batch, "; want 1 to 1048576, or 0")));
  }
  EXPECT_THAT(executor_.lanes, ElementsAre());
}

TEST_F(ExplainModelTest, RefusesModelsThatAreNotThere) {
  Start();
  models_.Publish("m");
  v1::ExplainModelRequest none, version, negative, name;
  version.mutable_model()->set_name("m");
  version.mutable_model()->set_version(2);
  negative.mutable_model()->set_name("m");
  negative.mutable_model()->set_version(-1);
  name.mutable_model()->set_name("../m");
  EXPECT_EQ(Explain(none).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Explain(negative).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Explain(name).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Explain(version).error_code(), grpc::NOT_FOUND);
}

TEST_F(ExplainModelTest, RefusesNetworksThatTakeMoreMemoryThanAJobMay) {
  Start({.memory_bytes = 4096});
  models_.Publish("m");
  const grpc::Status status = Explain(Request());
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("model: running it takes about "));
}

TEST_F(ExplainModelTest, RefusesMoreThanMayWait) {
  absl::Notification at_cut, go_on;
  executor_.on_cut = [&] {
    if (!at_cut.HasBeenNotified()) at_cut.Notify();
    go_on.WaitForNotification();
  };
  Start({.waiting = 0});
  models_.Publish("m");
  grpc::Status first;
  std::thread caller([&] { first = Explain(Request()); });
  at_cut.WaitForNotification();
  const grpc::Status second = Explain(Request());
  go_on.Notify();
  caller.join();
  EXPECT_TRUE(first.ok()) << first.error_message();
  EXPECT_EQ(second.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.error_message(), HasSubstr("0 wait already"));
}

TEST_F(ExplainModelTest, StopsAtACutWhenTheCallerHasGone) {
  grpc::ClientContext context;
  // What the connection carries comes in order: each answer is another occasion for the server to
  // have heard of the cancellation before.
  executor_.on_cut = [&] {
    if (executor_.cuts.size() > 1) return;
    context.TryCancel();
    EXPECT_TRUE(List().ok());
  };
  clock_.stands_still = true;
  Start();
  models_.Publish("m");
  v1::ExplainModelResponse response;
  EXPECT_EQ(stub_->ExplainModel(&context, Request(), &response).error_code(), grpc::CANCELLED);
  // Runs when the first has ended, and to its own end.
  ASSERT_TRUE(Explain(Request()).ok());
  EXPECT_GT(executor_.cuts[1], 500);
  EXPECT_LT(executor_.cuts[0], executor_.cuts[1] / 2);
}

}  // namespace
}  // namespace convd
