#include "server/rpc/listening.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "convd/v1/models.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace convd {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// Answers GetModel when the test lets it; ListModels at once.
class HeldModels final : public v1::Models::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*, v1::Model* model) override {
    model->mutable_card()->set_job_id("the answer");
    held_ = context->DefaultReactor();
    accepted_.Notify();
    return held_;
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  void AwaitAccepted() { accepted_.WaitForNotification(); }
  void Answer() { held_->Finish(grpc::Status::OK); }

 private:
  grpc::ServerUnaryReactor* held_ = nullptr;
  absl::Notification accepted_;
};

class ListeningTest : public ::testing::Test {
 protected:
  ListeningTest() {
    Config config;
    config.grpc_address = "127.0.0.1:0";
    auto listening = Listen(config, {&models_});
    EXPECT_TRUE(listening.ok()) << listening.status();
    if (listening.ok()) listening_ = *std::move(listening);
  }

  // Each on a connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(listening_.address, grpc::InsecureChannelCredentials(),
                                     arguments);
  }
  static grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    return v1::Models::NewStub(channel)->ListModels(&context, {}, &response);
  }

  HeldModels models_;
  ListeningServer listening_;
};

TEST_F(ListeningTest, ShutsDownAtOnceWhereNothingIsAsked) {
  const auto idle = Connect();
  ASSERT_TRUE(List(idle).ok());
  const absl::Time begin = absl::Now();
  ShutDown(listening_, begin + 2 * kPatience);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_EQ(List(idle).error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Its stream would stay open for ever.
TEST_F(ListeningTest, AWatchOfTheHealthDoesNotCount) {
  const auto channel = Connect();
  const auto health = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  const auto watch = health->Watch(&context, {});
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  const absl::Time begin = absl::Now();
  ShutDown(listening_, begin + 2 * kPatience);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_FALSE(watch->Finish().ok());
}

TEST_F(ListeningTest, AnswersWhatWasAcceptedBeforeItShutsDown) {
  const auto idle = Connect();
  ASSERT_TRUE(List(idle).ok());
  grpc::Status status;
  v1::Model model;
  std::thread call([&] {
    grpc::ClientContext context;
    status = v1::Models::NewStub(Connect())->GetModel(&context, {}, &model);
  });
  models_.AwaitAccepted();
  absl::Notification ended;
  std::thread shutdown([&] {
    ShutDown(listening_, absl::Now() + kPatience, absl::Milliseconds(50));
    ended.Notify();
  });
  // Refused from now on, and for longer than an idle connection is waited for.
  while (List(Connect()).ok()) {
  }
  EXPECT_FALSE(ended.WaitForNotificationWithTimeout(absl::Milliseconds(300)));
  models_.Answer();
  call.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.card().job_id(), "the answer");
  shutdown.join();
}

TEST_F(ListeningTest, CancelsAtTheDeadlineWhatIsNotAnswered) {
  grpc::Status status;
  std::thread call([&] {
    grpc::ClientContext context;
    v1::Model model;
    status = v1::Models::NewStub(Connect())->GetModel(&context, {}, &model);
  });
  models_.AwaitAccepted();
  std::thread shutdown([&] { ShutDown(listening_, absl::Now()); });
  call.join();
  EXPECT_FALSE(status.ok());
  models_.Answer();  // gRPC waits for the handler, whatever the deadline
  shutdown.join();
}

}  // namespace
}  // namespace convd
