// How the server starts, and how it ends.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "absl/base/config.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

// What orchestrators wait before they kill.
constexpr absl::Duration kGrace = absl::Seconds(10);

TEST(StartTest, TwoServersStandBesideEachOther) {
  const TempFolder folder;
  const auto one = ServerProcess::Start(folder / "one");
  const auto two = ServerProcess::Start(folder / "two");
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  EXPECT_NE(one->address(), two->address());
  for (const ServerProcess* server : {one.get(), two.get()}) {
    const auto health = server->Connect()->CheckHealth();
    ASSERT_STATUS_OK(health);
    EXPECT_EQ(*health, Health::kServing);
  }
}

// An emulated processor of 2008.
TEST(StartTest, ACpuThatIsTooOldIsToldInASentence) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
  GTEST_SKIP() << "AddressSanitizer's memory layout doesn't fit the emulator's";
#endif
  const TempFolder folder;
  std::vector<std::string> arguments = ServerProcess::CommandLine(folder / "state");
  arguments.insert(arguments.begin(), {"/usr/bin/qemu-x86_64", "-cpu", "Nehalem"});
  const Finished finished = RunProgram(arguments);
  EXPECT_EQ(finished.code, 1) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("x86-64-v3"));
  EXPECT_FALSE(std::filesystem::exists(folder / "state"));
}

TEST(StartTest, AStateFolderHasOneServer) {
  const TempFolder folder;
  const auto server = ServerProcess::Start(folder / "state");
  ASSERT_NE(server, nullptr);
  const Finished second = RunProgram(ServerProcess::CommandLine(folder / "state"));
  EXPECT_GT(second.code, 0);
  EXPECT_LT(second.code, 126) << "a sentence, not a signal";
  EXPECT_THAT(second.err, HasSubstr(folder / "state"));
  const auto health = server->Connect()->CheckHealth();
  ASSERT_STATUS_OK(health);
  EXPECT_EQ(*health, Health::kServing);
}

TEST(StartTest, AKilledServersStateCanBeUsedAgain) {
  const TempFolder folder;
  {
    const auto server = ServerProcess::Start(folder / "state");
    ASSERT_NE(server, nullptr);
    server->process().Signal(SIGKILL);
    EXPECT_EQ(server->process().Wait(), 128 + SIGKILL);
  }
  EXPECT_NE(ServerProcess::Start(folder / "state"), nullptr);
}

TEST(StartTest, APortInUseIsNamed) {
  const TempFolder folder;
  const auto server = ServerProcess::Start(folder / "one");
  ASSERT_NE(server, nullptr);
  const Finished second =
      RunProgram({CONVD_BIN_DIR "/convd", "--state", folder / "two", "--http-address", "off",
                  "--grpc-address", server->address()});
  EXPECT_GT(second.code, 0);
  EXPECT_LT(second.code, 126);
  EXPECT_THAT(second.err, HasSubstr(server->address()));
}

TEST(StartTest, AStateFolderThatCannotBeWrittenIsNamed) {
  const TempFolder folder;
  WriteFile(folder / "file", "in the way");
  // Root may write anywhere, but not into /proc, nor into a file.
  for (const std::string& state : {std::string("/proc/convd-state"), folder / "file"}) {
    const Finished finished = RunProgram(ServerProcess::CommandLine(state));
    EXPECT_GT(finished.code, 0) << state;
    EXPECT_LT(finished.code, 126) << state;
    EXPECT_THAT(finished.err, HasSubstr(state));
  }
}

TEST(StartTest, OtherAddressesNeedInsecure) {
  const TempFolder folder;
  std::vector<std::string> arguments = {
      CONVD_BIN_DIR "/convd", "--state",  folder / "state", "--http-address", "off",
      "--grpc-address",       "0.0.0.0:0"};
  const Finished refused = RunProgram(arguments);
  EXPECT_GT(refused.code, 0);
  EXPECT_LT(refused.code, 126);
  EXPECT_THAT(refused.err, HasSubstr("--insecure"));
  arguments.push_back("--insecure");
  const auto allowed = Subprocess::Start(arguments);
  ASSERT_NE(allowed, nullptr);
  EXPECT_TRUE(allowed->WaitForLine([](const std::string&) { return true; }).has_value())
      << allowed->err();
}

TEST(StartTest, ATokenMadeByConvdLetsConvctlIn) {
  const TempFolder folder;
  const Finished made = RunProgram({CONVD_BIN_DIR "/convd", "token", "board", "--scopes", "read"});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.out.size(), 44u);
  // As `>token 2>>tokens` would.
  WriteFile(folder / "token", made.out);
  WriteFile(folder / "tokens", made.err);
  for (const char* name : {"token", "tokens"}) chmod((folder / name).c_str(), 0600);
  const auto server = ServerProcess::Start(folder / "state", {"--tokens", folder / "tokens"});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->Convctl({"health"}).code, 0);
  const Finished refused = server->Convctl({"models"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--token-file"));
  EXPECT_EQ(server->Convctl({"models", "--token-file", folder / "token"}).code, 0);
  EXPECT_THAT(server->Convctl({"cancel", "x", "--token-file", folder / "token"}).err,
              HasSubstr("needs the scope train"));
}

TEST(StopTest, SigtermEndsAnIdleServerWithZero) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const TempFolder folder;
    const auto server = ServerProcess::Start(folder / "state");
    ASSERT_NE(server, nullptr);
    const absl::Time begin = absl::Now();
    server->process().Signal(signal);
    EXPECT_EQ(server->process().Wait(), 0) << server->process().err();
    EXPECT_LT(absl::Now() - begin, kGrace);
  }
}

// A client that has a connection and no call looks at neither, and must not hold up the end.
TEST(StopTest, AnIdleConnectionDoesNotHoldUpTheEnd) {
  const TempFolder folder;
  const auto server = ServerProcess::Start(folder / "state", {"--drain-seconds", "100"});
  ASSERT_NE(server, nullptr);
  const auto client = server->Connect();
  ASSERT_NE(client, nullptr);
  ASSERT_STATUS_OK(client->ListJobs());
  const absl::Time begin = absl::Now();
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(), 0) << server->process().err();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
}

class BusyStopTest : public FashionServerTest {
 protected:
  // An upload that was begun keeps the server from ending until it is told that it is over.
  void BeginUpload() {
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    upload_ = v1::Datasets::NewStub(channel_)->UploadDataset(&upload_context_, &uploaded_);
    v1::UploadDatasetRequest part;
    part.mutable_header()->set_name("kept");
    ASSERT_TRUE(upload_->Write(part));
  }

  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext upload_context_;
  v1::Dataset uploaded_;
  std::unique_ptr<grpc::ClientWriter<v1::UploadDatasetRequest>> upload_;
};

TEST_F(BusyStopTest, AStoppingServerIsNotReadyAndTakesNothingNew) {
  const v1::Job job = StartEndlessJob("fashion");
  WaitUntilAtWork(job.id());
  BeginUpload();
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext health_context;
  grpc::health::v1::HealthCheckRequest request;
  const auto watch = health->Watch(&health_context, request);
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);

  server_->process().Signal(SIGTERM);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  // Old connections and new ones.
  absl::Status refused = client_->Train(SmallTraining("new", 1)).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  ClientOptions at_once;
  at_once.reconnect_timeout = absl::ZeroDuration();
  const absl::Time end = absl::Now() + kPatience;
  do {
    const auto late = Client::Connect(server_->address(), at_once);
    refused = late.ok() ? (*late)->ListModels("").status() : late.status();
  } while (refused.ok() && absl::Now() < end);  // the listener closes a moment later
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;

  upload_->WritesDone();
  EXPECT_EQ(upload_->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);  // it has no files
  EXPECT_EQ(server_->process().Wait(), 0) << server_->process().err();
}

TEST_F(BusyStopTest, ASecondSignalEndsTheServerAtOnceAndNothingIsLost) {
  const v1::Job job = StartEndlessJob("fashion");
  WaitUntilAtWork(job.id());
  BeginUpload();
  server_->process().Signal(SIGTERM);
  ASSERT_TRUE(server_->process().WaitForError("stopping, within"));
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().Wait(), 128 + SIGTERM);

  server_ = ServerProcess::Start(state(), {"--data-dir", data_dir()});
  ASSERT_NE(server_, nullptr);
  client_ = server_->Connect();
  WaitUntilAtWork(job.id());
  EXPECT_EQ(client_->GetJob(job.id())->attempts(), 2);
}

TEST_F(BusyStopTest, SigtermEndsATrainingServerWithOpenWatchesInTime) {
  const v1::Job job = StartEndlessJob("fashion");
  WaitUntilAtWork(job.id());
  ClientOptions options;
  options.reconnect_timeout = absl::ZeroDuration();
  auto watcher = Client::Connect(server_->address(), options);
  ASSERT_STATUS_OK(watcher);
  absl::Notification watching;
  absl::Status end;
  v1::Job last;
  std::thread thread([&] {
    end = (*watcher)
              ->Watch(job.id(),
                      [&](const v1::JobEvent& event) {
                        if (event.has_job()) last = event.job();
                        if (!watching.HasBeenNotified()) watching.Notify();
                      })
              .status();
    if (!watching.HasBeenNotified()) watching.Notify();
  });
  watching.WaitForNotification();
  const absl::Time begin = absl::Now();
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().Wait(), 0) << server_->process().err();
  EXPECT_LT(absl::Now() - begin, kGrace);
  thread.join();
  // Either the job came to its cut in time and the stream told its end, or it was cut off and says
  // so.
  if (end.ok()) {
    EXPECT_THAT(last.state(), ::testing::AnyOf(v1::JOB_STATE_CANCELLED, v1::JOB_STATE_FAILED));
  } else {
    EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable) << end;
  }
}

}  // namespace
}  // namespace convd
