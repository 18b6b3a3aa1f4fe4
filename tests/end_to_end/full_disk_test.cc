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

// The disk is the server's state folder.
class FullDiskTest : public FashionServerTest {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(state());
    // Seen by this process and those that it starts, and gone with them.
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", state().c_str(), "tmpfs", 0, "size=96m") != 0) {
      GTEST_SKIP() << "no disk can be mounted here: " << strerror(errno);
    }
    mounted_ = true;
    FashionServerTest::SetUp();
  }
  void TearDown() override {
    server_ = nullptr;
    if (mounted_) umount2(state().c_str(), MNT_DETACH);
  }

  // Until nothing more fits.
  void Fill() {
    std::ofstream file(state() + "/filler", std::ios::binary | std::ios::app);
    const std::string piece(4096, 'x');
    while (file.write(piece.data(), static_cast<std::streamsize>(piece.size())) && file.flush()) {
    }
    EXPECT_EQ(std::filesystem::space(state()).available, 0u);
  }
  void MakeRoom() { std::filesystem::remove(state() + "/filler"); }
  absl::Status Predict() {
    v1::PredictRequest request;
    request.mutable_model()->set_name("there");
    *request.mutable_images() = data_.test.Raw(0, 1);
    return client_->Predict(request).status();
  }

  bool mounted_ = false;
};

TEST_F(FullDiskTest, AServerThatWasKilledStartsAgainAndItsJobsWaitForRoom) {
  const v1::Job there = TrainToTheEnd(SmallTraining("there", 1));
  const v1::Job running = StartEndlessJob("endless");
  WaitUntilAtWork(running.id());
  // Else the job would meet the full disk first, and fail.
  server_->process().Signal(SIGSTOP);
  Fill();
  server_->process().Signal(SIGKILL);
  server_->process().Wait();

  server_ = ServerProcess::Start(state(), {"--data-dir", data_dir()});
  ASSERT_NE(server_, nullptr);
  client_ = server_->Connect();
  Fill();
  ASSERT_STATUS_OK(Predict());
  EXPECT_EQ(client_->GetJob(running.id())->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(client_->GetJob(there.id())->state(), v1::JOB_STATE_SUCCEEDED);
  const absl::Status refused = client_->Train(SmallTraining("new", 1)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("disk has 0.0 MiB free"));
  EXPECT_EQ(*client_->CheckHealth("convd.v1.Jobs"), Health::kNotServing);
  EXPECT_EQ(*client_->CheckHealth(), Health::kServing);

  MakeRoom();
  WaitUntilAtWork(running.id());
}

TEST_F(FullDiskTest, TheJobThatMeetsItFailsAndNothingElse) {
  TrainToTheEnd(SmallTraining("there", 1));
  const v1::Job unlucky = StartEndlessJob("unlucky");
  const auto waiting = client_->Train(SmallTraining("waiting", 1));
  ASSERT_STATUS_OK(waiting);
  absl::Notification filled;
  absl::StatusOr<v1::Job> end;
  std::thread watch([&] {
    end = client_->Watch(unlucky.id(), [&](const v1::JobEvent& event) {
      if (!event.has_epoch() || filled.HasBeenNotified()) return;
      Fill();
      filled.Notify();
    });
  });
  filled.WaitForNotification();
  // Its end may have to wait for room to be written down in.
  const absl::Time late = absl::Now() + kPatience;
  while (absl::Now() < late && client_->GetJob(unlucky.id())->state() == v1::JOB_STATE_RUNNING &&
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
