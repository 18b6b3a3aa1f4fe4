// Jobs beside each other and beside predictions.

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

class JobsTest : public FashionServerTest {
 protected:
  // Watches to the end, for at most kPatience.
  v1::JobState EndOf(const std::string& id) {
    const auto job = client_->Watch(id, [](const v1::JobEvent&) {});
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->state() : v1::JOB_STATE_UNSPECIFIED;
  }
};

TEST_F(JobsTest, TwoServersTrainBesideEachOtherToTheSameBits) {
  const auto other = ServerProcess::Start(folder_ / "other", {"--data-dir", data_dir()});
  ASSERT_NE(other, nullptr);
  const auto client = other->Connect();
  ASSERT_NE(client, nullptr);
  v1::RegisterDatasetRequest request;
  request.set_name("fashion");
  request.set_path(data_dir());
  ASSERT_STATUS_OK(client->RegisterDataset(request));
  const auto there = client->Train(SmallTraining("fashion", 2));
  ASSERT_STATUS_OK(there);
  const v1::Job here = TrainToTheEnd(SmallTraining("fashion", 2));
  const auto ended = client->Watch(there->id(), [](const v1::JobEvent&) {});
  ASSERT_STATUS_OK(ended);
  ASSERT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->error().message();
  const std::string model = "/models/fashion/1/model.onnx";
  EXPECT_EQ(ReadFile(state() + model), ReadFile(folder_ / ("other" + model)));
  // Neither knows of the other's job.
  const auto jobs = client->ListJobs();
  ASSERT_STATUS_OK(jobs);
  EXPECT_EQ(jobs->size(), 1u);
  EXPECT_EQ(client->GetJob(here.id()).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobsTest, ARunningJobIsCancelledAndPublishesNothing) {
  const v1::Job job = StartEndlessJob("fashion");
  WaitUntilAtWork(job.id());
  ASSERT_STATUS_OK(client_->CancelJob(job.id()));
  EXPECT_EQ(EndOf(job.id()), v1::JOB_STATE_CANCELLED);
  const auto models = client_->ListModels();
  ASSERT_STATUS_OK(models);
  EXPECT_TRUE(models->empty());
  EXPECT_EQ(client_->CancelJob(job.id()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(JobsTest, AQueuedJobIsCancelledAtOnceAndTheOthersKeepTheirOrder) {
  const v1::Job running = StartEndlessJob("a");
  WaitUntilAtWork(running.id());
  const v1::Job first = StartEndlessJob("b");
  const auto second = client_->Train(SmallTraining("c", 1));
  ASSERT_STATUS_OK(second);
  const auto waiting = client_->GetJob(second->id());
  ASSERT_STATUS_OK(waiting);
  EXPECT_EQ(waiting->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(waiting->queue_position(), 2);

  const auto cancelled = client_->CancelJob(first.id());
  ASSERT_STATUS_OK(cancelled);
  EXPECT_EQ(cancelled->state(), v1::JOB_STATE_CANCELLED);
  const auto next = client_->GetJob(second->id());
  ASSERT_STATUS_OK(next);
  EXPECT_EQ(next->queue_position(), 1);

  // Once its turn comes the last one runs to its end.
  ASSERT_STATUS_OK(client_->CancelJob(running.id()));
  EXPECT_EQ(EndOf(second->id()), v1::JOB_STATE_SUCCEEDED);

  const auto jobs = client_->ListJobs();
  ASSERT_STATUS_OK(jobs);
  std::vector<std::string> ids;
  for (const v1::Job& job : *jobs) ids.push_back(job.id());
  EXPECT_THAT(ids, ElementsAre(second->id(), first.id(), running.id()));
}

TEST_F(JobsTest, AWatcherWhoComesLateSeesTheEpochsItAsksFor) {
  const v1::Job job = TrainToTheEnd(SmallTraining("fashion", 3));
  for (const int64_t after : {0, 2, 3}) {
    std::vector<int64_t> epochs;
    const auto watched = client_->Watch(
        job.id(),
        [&](const v1::JobEvent& event) {
          if (event.has_epoch()) epochs.push_back(event.epoch().epoch());
        },
        nullptr, after);
    ASSERT_STATUS_OK(watched);
    ASSERT_EQ(static_cast<int64_t>(epochs.size()), 3 - after);
    for (size_t i = 0; i < epochs.size(); ++i) {
      EXPECT_EQ(epochs[i], after + 1 + static_cast<int64_t>(i));
    }
  }
}

TEST_F(JobsTest, EightClientsPredictWhileAJobTrains) {
  TrainToTheEnd(SmallTraining("fashion", 1));
  constexpr int kImages = 20;
  v1::PredictRequest request;
  request.mutable_model()->set_name("fashion");
  request.set_probabilities(true);
  std::vector<std::string> expected;
  for (int i = 0; i < kImages; ++i) {
    *request.mutable_images() = data_.test.Raw(i, 1);
    const auto response = client_->Predict(request);
    ASSERT_STATUS_OK(response);
    expected.push_back(response->SerializeAsString());
  }
  const v1::Job job = StartEndlessJob("other");
  WaitUntilAtWork(job.id());

  std::atomic<int> same = 0;
  std::vector<std::thread> threads;
  for (int c = 0; c < 8; ++c) {
    threads.emplace_back([&, c] {
      const std::unique_ptr<Client> client = server_->Connect();
      if (client == nullptr) return;
      for (int i = 0; i < kImages; ++i) {
        const int image = (i + c) % kImages;
        v1::PredictRequest own;
        own.mutable_model()->set_name("fashion");
        own.set_probabilities(true);
        *own.mutable_images() = data_.test.Raw(image, 1);
        const auto response = client->Predict(own);
        if (!response.ok()) {
          ADD_FAILURE() << response.status();
        } else if (response->SerializeAsString() == expected[image]) {
          ++same;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, 8 * kImages);
  const auto still = client_->GetJob(job.id());
  ASSERT_STATUS_OK(still);
  EXPECT_EQ(still->state(), v1::JOB_STATE_RUNNING);
  ASSERT_STATUS_OK(client_->CancelJob(job.id()));
  EXPECT_EQ(EndOf(job.id()), v1::JOB_STATE_CANCELLED);
}

}  // namespace
}  // namespace convd
