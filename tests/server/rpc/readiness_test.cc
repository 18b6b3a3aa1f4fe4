#include "server/rpc/readiness.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/rpc/listening.h"

namespace convd {
namespace {

using grpc::health::v1::HealthCheckResponse;

class ReadinessTest : public ::testing::Test {
 protected:
  ReadinessTest() {
    Config config;
    config.grpc_address = "127.0.0.1:0";
    listening_ = *Listen(config, {});
    channel_ = grpc::CreateChannel(listening_.address, grpc::InsecureChannelCredentials());
    stub_ = grpc::health::v1::Health::NewStub(channel_);
  }
  ~ReadinessTest() override { ShutDown(listening_, absl::Now()); }

  grpc::HealthCheckServiceInterface& health() {
    return *listening_.server->GetHealthCheckService();
  }
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mu_);
    status_ = std::move(status);
  }
  absl::Status Status() {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  HealthCheckResponse::ServingStatus Ask(const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    EXPECT_TRUE(stub_->Check(&context, request, &response).ok());
    return response.status();
  }

  ListeningServer listening_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  ServingState state_;
  absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

TEST_F(ReadinessTest, ServicesFollowTheCheckAndTheServerAsAWholeDoesnt) {
  Readiness readiness(
      health(), state_, {"a", "b"}, [this] { return Status(); }, absl::InfiniteDuration());
  EXPECT_EQ(Ask("a"), HealthCheckResponse::SERVING);
  EXPECT_EQ(Ask("b"), HealthCheckResponse::SERVING);
  Fail(absl::ResourceExhaustedError("no room"));
  readiness.Check();
  EXPECT_EQ(Ask("a"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Ask("b"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Ask(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(state_.All()["b"], absl::ResourceExhaustedError("no room"));
  Fail(absl::OkStatus());
  readiness.Check();
  EXPECT_EQ(Ask("a"), HealthCheckResponse::SERVING);
}

TEST_F(ReadinessTest, WhatFailsFromTheStartIsNeverServed) {
  Fail(absl::ResourceExhaustedError("no room"));
  const Readiness readiness(
      health(), state_, {"a"}, [this] { return Status(); }, absl::InfiniteDuration());
  EXPECT_EQ(Ask("a"), HealthCheckResponse::NOT_SERVING);
}

TEST_F(ReadinessTest, ChecksAgainByItself) {
  const Readiness readiness(
      health(), state_, {"a"}, [this] { return Status(); }, absl::Milliseconds(1));
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("a");
  const auto watch = stub_->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  Fail(absl::ResourceExhaustedError("no room"));
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  context.TryCancel();
}

}  // namespace
}  // namespace convd
