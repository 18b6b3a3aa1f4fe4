#include "server/server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    char name[] = "/tmp/convd-server-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    config_.grpc_address = "127.0.0.1:0";
    config_.http_address = "127.0.0.1:0";
    config_.state_dir = dir_ + "/a/state";
    config_.cpus = 1;
  }
  ~ServerTest() override { std::filesystem::remove_all(dir_); }

  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static grpc::health::v1::HealthCheckResponse::ServingStatus Health(
      const std::string& address, const std::string& service = "") {
    const auto stub = grpc::health::v1::Health::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    const grpc::Status status = stub->Check(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.status();
  }

  std::string dir_;
  Config config_;
};

TEST_F(ServerTest, ServesOnAFreePortAndSaysWhereInItsStateFolder) {
  auto server = Server::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = (*server)->grpc_address();
  EXPECT_THAT(address, ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(Read(config_.state_dir + "/addresses"),
            "grpc " + address + "\nhttp " + (*server)->http_address() + "\n");
  EXPECT_EQ(Health(address), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(Health(address, "convd.v1.Jobs"), grpc::health::v1::HealthCheckResponse::SERVING);

  const auto jobs =
      v1::Jobs::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ListJobsResponse list;
  EXPECT_TRUE(jobs->ListJobs(&context, {}, &list).ok());

  (*server)->Stop(absl::Now() + absl::Seconds(5));
  EXPECT_FALSE(std::filesystem::exists(config_.state_dir + "/addresses"));
  grpc::ClientContext late;
  EXPECT_EQ(jobs->ListJobs(&late, {}, &list).error_code(), grpc::StatusCode::UNAVAILABLE);
}

// The request and the answer of gRPC's reflection by hand, as its stub isn't installed with it.
TEST_F(ServerTest, TellsItsServicesByReflection) {
  auto server = Server::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  grpc::GenericStub stub(
      grpc::CreateChannel((*server)->grpc_address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(next());
  // Field 7, list_services: "".
  const grpc::Slice request(std::string("\x3a\0", 2));
  call->WriteLast(grpc::ByteBuffer(&request, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(next());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  ASSERT_TRUE(next());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(answer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  for (const char* service :
       {"convd.v1.Jobs", "convd.v1.Datasets", "convd.v1.Models", "convd.v1.Evaluator",
        "convd.v1.Predictor", "inference.GRPCInferenceService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(text, HasSubstr(service));
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(next());
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(ServerTest, AStateFolderHasOneServerAtATime) {
  auto first = Server::Start(config_);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Server::Start(config_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--state"));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(std::to_string(getpid())));
  EXPECT_TRUE(std::filesystem::exists(config_.state_dir + "/addresses"));
  first->reset();
  EXPECT_TRUE(Server::Start(config_).ok());
}

TEST_F(ServerTest, TwoServersWithFoldersOfTheirOwnLiveSideBySide) {
  auto first = Server::Start(config_);
  config_.state_dir = dir_ + "/b";
  auto second = Server::Start(config_);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE((*first)->grpc_address(), (*second)->grpc_address());
}

TEST_F(ServerTest, APortInUseIsAnErrorThatNamesIt) {
  auto first = Server::Start(config_);
  ASSERT_TRUE(first.ok()) << first.status();
  config_.state_dir = dir_ + "/b";
  config_.grpc_address = (*first)->grpc_address();
  const auto second = Server::Start(config_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()),
              ::testing::AllOf(HasSubstr("--grpc-address"), HasSubstr(config_.grpc_address),
                               HasSubstr("in use"), HasSubstr("another program")));
  EXPECT_FALSE(std::filesystem::exists(config_.state_dir + "/addresses"));
}

TEST_F(ServerTest, WhatCannotBeAStateFolderIsAnErrorThatNamesIt) {
  std::ofstream(dir_ + "/file") << "x";
  for (const std::string& state : {dir_ + "/file", dir_ + "/file/below", std::string("/proc/x")}) {
    config_.state_dir = state;
    const auto server = Server::Start(config_);
    ASSERT_FALSE(server.ok()) << state;
    EXPECT_NE(server.status().code(), absl::StatusCode::kInvalidArgument) << server.status();
    EXPECT_THAT(std::string(server.status().message()), HasSubstr("--state"));
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(state.substr(0, 5)));
  }
}

TEST_F(ServerTest, FlagsThatCannotBeRightHereAreUsageErrors) {
  config_.data_dirs = {dir_ + "/nowhere"};
  EXPECT_EQ(Server::Start(config_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Server::Start(config_).status().message()),
              ::testing::AllOf(HasSubstr("--data-dir"), HasSubstr("nowhere")));
  config_.data_dirs.clear();
  config_.grpc_address = "no-such-host.invalid:0";
  const absl::Status unknown = Server::Start(config_).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("no-such-host.invalid"));
}

TEST_F(ServerTest, AnAddressFileLeftByACrashIsReplaced) {
  std::filesystem::create_directories(config_.state_dir);
  std::ofstream(config_.state_dir + "/addresses") << "grpc 127.0.0.1:1\n";
  auto server = Server::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Read(config_.state_dir + "/addresses"),
            "grpc " + (*server)->grpc_address() + "\nhttp " + (*server)->http_address() + "\n");
}

// As on a full disk: models can be served all the same.
TEST_F(ServerTest, ServesWhereItsAddressFileCannotBeWritten) {
  std::filesystem::create_directories(config_.state_dir + "/addresses.tmp");
  auto server = Server::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_FALSE(std::filesystem::exists(config_.state_dir + "/addresses"));
  EXPECT_EQ(Health((*server)->grpc_address()), grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST_F(ServerTest, BeyondItsLimitItTakesNoJobsOrDatasetsAndServesWhatItHas) {
  using Response = grpc::health::v1::HealthCheckResponse;
  std::filesystem::create_directories(config_.state_dir);
  const std::string large = config_.state_dir + "/large";
  std::ofstream(large) << std::string(20 << 20, 'x');
  config_.max_state_bytes = 20 << 20;
  auto server = Server::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = (*server)->grpc_address();
  EXPECT_EQ(Health(address), Response::SERVING);
  EXPECT_EQ(Health(address, "convd.v1.Predictor"), Response::SERVING);
  EXPECT_EQ(Health(address, "inference.GRPCInferenceService"), Response::SERVING);
  EXPECT_EQ(Health(address, "convd.v1.Jobs"), Response::NOT_SERVING);

  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto datasets = v1::Datasets::NewStub(channel);
  grpc::ClientContext upload_context;
  v1::Dataset dataset;
  const auto upload = datasets->UploadDataset(&upload_context, &dataset);
  v1::UploadDatasetRequest header;
  header.mutable_header()->set_name("digits");
  upload->Write(header);
  upload->WritesDone();
  const grpc::Status refused = upload->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("--max-state-bytes allows 20.0 MiB"));

  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("convd.v1.Datasets");
  const auto health = grpc::health::v1::Health::NewStub(channel);
  const auto watch = health->Watch(&context, request);
  Response response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::NOT_SERVING);
  std::filesystem::remove(large);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::SERVING);
  context.TryCancel();
}

TEST_F(ServerTest, AnAddressOfAnotherMachineIsToldAsSuch) {
  config_.grpc_address = "203.0.113.9:0";  // for documentation alone (RFC 5737)
  config_.insecure = true;
  const absl::Status status = Server::Start(config_).status();
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(HasSubstr("--grpc-address"), HasSubstr("203.0.113.9:0"),
                               HasSubstr("this machine has no such address"),
                               ::testing::Not(HasSubstr("another program"))));
}

}  // namespace
}  // namespace convd
