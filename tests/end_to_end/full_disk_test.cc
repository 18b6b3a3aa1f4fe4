// A server whose disk others fill. On a small disk of its own, where this process may make one.

#include <errno.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(disk());
    // Seen by this process and those that it starts, and gone with them.
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", disk().c_str(), "tmpfs", 0, "size=96m") != 0) {
      GTEST_SKIP() << "no disk can be mounted here: " << strerror(errno);
    }
    mounted_ = true;
    const SmallFashion data = ReadSmallFashion();
    std::filesystem::create_directories(folder_ / "data");
    WriteIdxFiles(data, folder_ / "data");
    image_ = data.test.Raw(0, 1);
    server_ = Start();
    ASSERT_NE(server_, nullptr);
    client_ = server_->Connect();
    v1::RegisterDatasetRequest registration;
    registration.set_name("fashion");
    registration.set_path(folder_ / "data");
    ASSERT_STATUS_OK(client_->RegisterDataset(registration));
  }
  void TearDown() override {
    server_ = nullptr;
    if (mounted_) umount2(disk().c_str(), MNT_DETACH);
  }

  std::string disk() const { return folder_ / "disk"; }
  std::unique_ptr<ServerProcess> Start() {
    return ServerProcess::Start(disk() + "/state", {"--data-dir", folder_ / "data"});
  }
  // Until nothing more fits.
  void Fill() {
    std::ofstream file(disk() + "/filler", std::ios::binary | std::ios::app);
    const std::string piece(4096, 'x');
    while (file.write(piece.data(), static_cast<std::streamsize>(piece.size())) && file.flush()) {
    }
    EXPECT_EQ(std::filesystem::space(disk()).available, 0u);
  }
  void MakeRoom() { std::filesystem::remove(disk() + "/filler"); }
  absl::Status Predict() {
    v1::PredictRequest request;
    request.mutable_model()->set_name("there");
    *request.mutable_images() = image_;
    return client_->Predict(request).status();
  }

  const TempFolder folder_;
  v1::Images image_;
  bool mounted_ = false;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(FullDiskTest, AServerThatWasKilledStartsAgainAndItsJobsWaitForRoom) {
  const auto there = client_->Train(SmallTraining("there", 1));
  ASSERT_STATUS_OK(there);
  ASSERT_STATUS_OK(client_->Watch(there->id(), [](const v1::JobEvent&) {}));
  const auto running = client_->Train(SmallTraining("endless", 100'000));
  ASSERT_STATUS_OK(running);
  Cancellation cancellation;
  client_
      ->Watch(
          running->id(),
          [&](const v1::JobEvent& event) {
            if (event.has_epoch()) cancellation.Cancel();
          },
          &cancellation)
      .status()
      .IgnoreError();
  // Else the job would meet the full disk first, and fail.
  server_->process().Signal(SIGSTOP);
  Fill();
  server_->process().Signal(SIGKILL);
  server_->process().Wait();

  server_ = Start();
  ASSERT_NE(server_, nullptr);
  client_ = server_->Connect();
  Fill();
  ASSERT_STATUS_OK(Predict());
  EXPECT_EQ(client_->GetJob(running->id())->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(client_->GetJob(there->id())->state(), v1::JOB_STATE_SUCCEEDED);
  const absl::Status refused = client_->Train(SmallTraining("new", 1)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("disk has 0.0 MiB free"));
  EXPECT_EQ(*client_->CheckHealth("convd.v1.Jobs"), Health::kNotServing);
  EXPECT_EQ(*client_->CheckHealth(), Health::kServing);

  MakeRoom();
  bool ran = false;
  Cancellation enough;
  client_
      ->Watch(
          running->id(),
          [&](const v1::JobEvent& event) {
            ran = ran || (event.has_job() && event.job().state() == v1::JOB_STATE_RUNNING);
            if (ran) enough.Cancel();
          },
          &enough)
      .status()
      .IgnoreError();
  EXPECT_TRUE(ran);
}

TEST_F(FullDiskTest, TheJobThatMeetsItFailsAndNothingElse) {
  const auto there = client_->Train(SmallTraining("there", 1));
  ASSERT_STATUS_OK(there);
  ASSERT_STATUS_OK(client_->Watch(there->id(), [](const v1::JobEvent&) {}));
  const auto unlucky = client_->Train(SmallTraining("unlucky", 100'000));
  ASSERT_STATUS_OK(unlucky);
  const auto waiting = client_->Train(SmallTraining("waiting", 1));
  ASSERT_STATUS_OK(waiting);
  absl::Notification filled;
  absl::StatusOr<v1::Job> end;
  std::thread watch([&] {
    end = client_->Watch(unlucky->id(), [&](const v1::JobEvent& event) {
      if (!event.has_epoch() || filled.HasBeenNotified()) return;
      Fill();
      filled.Notify();
    });
  });
  filled.WaitForNotification();
  // Its end may have to wait for room to be written down in.
  const absl::Time late = absl::Now() + kPatience;
  while (absl::Now() < late && client_->GetJob(unlucky->id())->state() == v1::JOB_STATE_RUNNING &&
         !absl::StrContains(server_->process().err(), "can't be kept yet")) {
    ASSERT_STATUS_OK(Predict());
  }
  MakeRoom();
  watch.join();
  ASSERT_STATUS_OK(end);
  EXPECT_EQ(end->state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(end->error().code(), static_cast<int>(absl::StatusCode::kResourceExhausted))
      << end->error().message();
  const auto next = client_->Watch(waiting->id(), [](const v1::JobEvent&) {});
  ASSERT_STATUS_OK(next);
  EXPECT_EQ(next->state(), v1::JOB_STATE_SUCCEEDED);
}

}  // namespace
}  // namespace convd
