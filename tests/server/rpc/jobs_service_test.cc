#include "server/rpc/jobs_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/jobs/transitions.h"
#include "tests/server/jobs/fake_datasets.h"
#include "tests/server/jobs/fake_training.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Status UntilCancelled(TrainingObserver& observer) {
  while (!observer.Cancelled()) std::this_thread::yield();
  return absl::CancelledError("at a cut");
}

class JobsServiceTest : public ::testing::Test {
 protected:
  JobsServiceTest() {
    datasets_.Put("digits", {SplitOf("train", 60, 2, 2, 2), SplitOf("test", 20, 2, 2, 2)}, 2);
    auto runner = JobRunner::Start(
        *store_, models_, FileSystem::Posix(), state_dir_.path(),
        [this](const v1::TrainRequest& request) { return ResolveJob(request, datasets_); },
        [this](const Graph&, const v1::TrainRequest&, TrainingData,
               absl::Span<const float>) -> absl::StatusOr<std::unique_ptr<Trainer>> {
          return std::make_unique<ScriptedTrainer>(
              [this](TrainingObserver& observer, std::vector<v1::EpochRecord>& history) {
                return script_(observer, history);
              });
        },
        Clock::Real(), JobRunnerOptions());
    EXPECT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    service_ = std::make_unique<JobsService>(*runner_, datasets_, models_);
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = v1::Jobs::NewStub(server_->channel());
  }

  static v1::TrainRequest Request() {
    v1::TrainRequest request;
    request.set_model("m");
    *request.mutable_network() = SmallNetwork();
    request.mutable_dataset()->set_name("digits");
    return request;
  }
  std::string Train() {
    grpc::ClientContext context;
    v1::Job job;
    const grpc::Status status = stub_->Train(&context, Request(), &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job.id();
  }
  grpc::Status Cancel(const std::string& id, v1::Job* job) {
    grpc::ClientContext context;
    v1::CancelJobRequest request;
    request.set_id(id);
    return stub_->CancelJob(&context, request, job);
  }
  grpc::Status List(int page_size, const std::string& token, v1::ListJobsResponse* response) {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    request.set_page_size(page_size);
    request.set_page_token(token);
    response->Clear();
    return stub_->ListJobs(&context, request, response);
  }
  // Everything that a watch brings, and how it ended.
  std::vector<v1::JobEvent> Watch(const std::string& id, grpc::Status* status,
                                  int64_t after_epoch = 0) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_after_epoch(after_epoch);
    const auto reader = stub_->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    for (v1::JobEvent event; reader->Read(&event);) events.push_back(event);
    *status = reader->Finish();
    return events;
  }

  // What every job does; set before the first.
  Script script_ = [](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    return UntilCancelled(observer);
  };
  const TestStateDir state_dir_;
  FakeDatasets datasets_;
  RecordingRepository models_;
  const std::unique_ptr<JobStore> store_ = *NewInMemoryJobStore();
  std::unique_ptr<JobRunner> runner_;
  std::unique_ptr<JobsService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<v1::Jobs::Stub> stub_;
};

TEST_F(JobsServiceTest, TrainAnswersAtOnceWithTheResolvedJob) {
  grpc::ClientContext context;
  v1::Job job;
  const grpc::Status status = stub_->Train(&context, Request(), &job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job.queue_position(), 1);
  EXPECT_EQ(job.request().batch_size(), 32);
  EXPECT_EQ(job.request().dataset().split(), "train");
  EXPECT_THAT(job.summary(), HasSubstr("Total params"));

  grpc::ClientContext get_context;
  v1::GetJobRequest get;
  get.set_id(job.id());
  v1::Job got;
  ASSERT_TRUE(stub_->GetJob(&get_context, get, &got).ok());
  EXPECT_EQ(got.id(), job.id());
}

TEST_F(JobsServiceTest, ABadRequestIsRefusedByFieldAndQueuesNothing) {
  v1::TrainRequest request = Request();
  request.mutable_dataset()->set_name("nowhere");
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = stub_->Train(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("dataset.name"));
  grpc::ClientContext empty_context;
  EXPECT_EQ(stub_->Train(&empty_context, v1::TrainRequest(), &job).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListJobsResponse list;
  ASSERT_TRUE(List(0, "", &list).ok());
  EXPECT_THAT(list.jobs(), IsEmpty());
}

// What the job needed is looked at once: a client that asks again must not be told that it is gone.
TEST_F(JobsServiceTest, ARepeatedRequestIsRecognizedWhateverBecameOfItsDataset) {
  v1::TrainRequest request = Request();
  request.set_request_id("retry");
  const auto train = [&](const v1::TrainRequest& sent, v1::Job* job) {
    grpc::ClientContext context;
    return stub_->Train(&context, sent, job);
  };
  v1::Job first;
  ASSERT_TRUE(train(request, &first).ok());
  v1::Job again;

  // Other data under the same name, of which the defaults would be others.
  datasets_.Put("digits", {SplitOf("train", 1000, 2, 2, 2)}, 2);
  grpc::Status status = train(request, &again);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(again.id(), first.id());

  ASSERT_TRUE(datasets_.Delete("digits").ok());
  status = train(request, &again);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(again.id(), first.id());
  EXPECT_EQ(again.request().dataset().split(), "train");

  // Another request is none, and is told that its id is taken, whether it can be checked or not.
  v1::TrainRequest other = request;
  other.set_epochs(7);
  EXPECT_EQ(train(other, &again).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  datasets_.Put("digits", {SplitOf("train", 60, 2, 2, 2), SplitOf("test", 20, 2, 2, 2)}, 2);
  status = train(other, &again);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_THAT(status.error_message(), HasSubstr(first.id()));
  // Spelling out a default makes none.
  v1::TrainRequest spelt = request;
  spelt.set_batch_size(32);
  ASSERT_TRUE(train(spelt, &again).ok());
  EXPECT_EQ(again.id(), first.id());
}

TEST_F(JobsServiceTest, WatchShowsEveryEpochAndEndsWithTheWholeJob) {
  script_ = [](TrainingObserver& observer, std::vector<v1::EpochRecord>& history) {
    for (int e = 1; e <= 300; ++e) {
      observer.OnProgress(ProgressAt(e, 1));
      history.push_back(Epoch(e));
      observer.OnEpoch(history.back());
    }
    return absl::OkStatus();
  };
  const std::string id = Train();
  grpc::Status status;
  const std::vector<v1::JobEvent> events = Watch(id, &status);
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(events.front().has_job());
  EXPECT_EQ(events.back().job().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(events.back().job().history_size(), 300);
  int64_t last = 0;
  for (const v1::JobEvent& event : events) {
    if (!event.has_epoch()) continue;
    EXPECT_EQ(event.epoch().epoch(), last + 1);
    last = event.epoch().epoch();
  }
  if (events.size() > 1) {
    EXPECT_EQ(last, 300);
  }
}

TEST_F(JobsServiceTest, WatchesOfWhatIsNotThereAreRefused) {
  grpc::Status status;
  EXPECT_THAT(Watch("j-20260131-000000-000", &status), IsEmpty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(Watch("nonsense", &status), IsEmpty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Watch(Train(), &status, -1), IsEmpty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("after_epoch"));
}

TEST_F(JobsServiceTest, AWatcherThatGoesAwayLeavesTheJobAndTheServerAlone) {
  const std::string id = Train();
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    const auto reader = stub_->WatchJob(&context, request);
    v1::JobEvent event;
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  v1::Job job;
  ASSERT_TRUE(Cancel(id, &job).ok());
  grpc::Status status;
  EXPECT_EQ(Watch(id, &status).back().job().state(), v1::JOB_STATE_CANCELLED);
}

// A client that reads nothing holds its own stream up, and neither the job nor other watchers.
TEST_F(JobsServiceTest, AWatcherThatDoesNotReadHoldsNobodyUp) {
  absl::Notification watched;
  script_ = [&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    watched.WaitForNotification();
    for (int e = 1; e <= 20'000; ++e) observer.OnEpoch(Epoch(e));
    return absl::OkStatus();
  };
  const std::string id = Train();
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_id(id);
  const auto stuck = stub_->WatchJob(&context, request);
  v1::JobEvent event;
  ASSERT_TRUE(stuck->Read(&event));
  watched.Notify();
  grpc::Status status;
  EXPECT_EQ(Watch(id, &status).back().job().state(), v1::JOB_STATE_SUCCEEDED);
  // And when it reads at last, all of it is there.
  int64_t last = 0;
  while (stuck->Read(&event)) {
    if (!event.has_epoch()) continue;
    EXPECT_EQ(event.epoch().epoch(), last + 1);
    last = event.epoch().epoch();
  }
  EXPECT_TRUE(stuck->Finish().ok());
  EXPECT_EQ(last, 20'000);
  EXPECT_EQ(event.job().history_size(), 20'000);
}

TEST_F(JobsServiceTest, ListsInPagesNewestFirst) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Train());
  v1::ListJobsResponse page;
  ASSERT_TRUE(List(2, "", &page).ok());
  ASSERT_EQ(page.jobs_size(), 2);
  EXPECT_EQ(page.jobs(0).id(), ids[4]);
  EXPECT_EQ(page.jobs(1).id(), ids[3]);
  EXPECT_THAT(page.jobs(0).summary(), IsEmpty());
  // A job that comes meanwhile moves nothing.
  Train();
  const std::string second = page.next_page_token();
  ASSERT_TRUE(List(2, second, &page).ok());
  ASSERT_EQ(page.jobs_size(), 2);
  EXPECT_EQ(page.jobs(0).id(), ids[2]);
  const std::string third = page.next_page_token();
  ASSERT_TRUE(List(2, third, &page).ok());
  ASSERT_EQ(page.jobs_size(), 1);
  EXPECT_EQ(page.jobs(0).id(), ids[0]);
  EXPECT_THAT(page.next_page_token(), IsEmpty());
  // Exactly a page full is the last page.
  ASSERT_TRUE(List(6, "", &page).ok());
  EXPECT_EQ(page.jobs_size(), 6);
  EXPECT_THAT(page.next_page_token(), IsEmpty());
}

TEST_F(JobsServiceTest, PagesThatAreNoneAreRefused) {
  v1::ListJobsResponse page;
  for (const std::string& token :
       {std::string("garbage"), std::string("Li4vLi4"), std::string(100'000, 'A'),
        std::string("%00"), std::string("ai0yMDI2MDEzMS0yMzU5NTktMDQ=x")}) {
    const grpc::Status status = List(0, token, &page);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << token.substr(0, 40);
    EXPECT_THAT(status.error_message(), HasSubstr("page_token"));
  }
  const grpc::Status negative = List(-1, "", &page);
  EXPECT_EQ(negative.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(negative.error_message(), HasSubstr("page_size"));
}

TEST_F(JobsServiceTest, CancelSpeaksForEachState) {
  const std::string running = Train();
  const std::string queued = Train();
  v1::Job job;
  ASSERT_TRUE(Cancel(queued, &job).ok());
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(Cancel(queued, &job).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(Cancel(running, &job).ok());
  grpc::Status status;
  EXPECT_EQ(Watch(running, &status).back().job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(Cancel("j-20260131-000000-000", &job).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Cancel("", &job).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

// grpc#39114: Shutdown never returned with an open stream.
TEST_F(JobsServiceTest, StoppingEndsStreamsAndLetsTheServerShutDown) {
  const std::string running = Train();
  const std::string queued = Train();
  grpc::Status running_status;
  grpc::Status queued_status;
  absl::Notification watching;
  std::vector<v1::JobEvent> events;
  std::thread running_watch([&] { events = Watch(running, &running_status); });
  std::thread queued_watch([&] {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(queued);
    const auto reader = stub_->WatchJob(&context, request);
    v1::JobEvent event;
    EXPECT_TRUE(reader->Read(&event));
    watching.Notify();
    while (reader->Read(&event)) {
    }
    queued_status = reader->Finish();
  });
  watching.WaitForNotification();
  runner_->Stop();
  EXPECT_TRUE(runner_->AwaitIdle(absl::InfiniteDuration()));
  runner_->EndWatches();
  queued_watch.join();
  running_watch.join();
  EXPECT_EQ(queued_status.error_code(), grpc::StatusCode::UNAVAILABLE);
  // It may have come too late to be shown the end; then it was told to come back.
  if (running_status.ok()) {
    EXPECT_EQ(events.back().job().state(), v1::JOB_STATE_FAILED);
    EXPECT_THAT(events.back().job().error().message(), HasSubstr("server stopping"));
  } else {
    EXPECT_EQ(running_status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  v1::Job job;
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Train(&context, Request(), &job).error_code(), grpc::StatusCode::UNAVAILABLE);
  server_->Shutdown();
}

}  // namespace
}  // namespace convd
