#include "tests/end_to_end/fashion_server.h"

#include <filesystem>

namespace convd {

void FashionServerTest::SetUp() {
  std::filesystem::create_directories(data_dir());
  data_ = ReadSmallFashion();
  WriteIdxFiles(data_, data_dir());
  server_ = ServerProcess::Start(state(), {"--data-dir", data_dir()});
  ASSERT_NE(server_, nullptr);
  client_ = server_->Connect();
  ASSERT_NE(client_, nullptr);
  v1::RegisterDatasetRequest request;
  request.set_name("fashion");
  request.set_path(data_dir());
  ASSERT_STATUS_OK(client_->RegisterDataset(request));
}

v1::Job FashionServerTest::TrainToTheEnd(const v1::TrainRequest& request) {
  const auto submitted = client_->Train(request);
  if (!submitted.ok()) {
    ADD_FAILURE() << submitted.status();
    return {};
  }
  const auto job = client_->Watch(submitted->id(), [](const v1::JobEvent&) {});
  if (!job.ok()) {
    ADD_FAILURE() << job.status();
    return {};
  }
  EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->error().message();
  return *job;
}

v1::Job FashionServerTest::StartEndlessJob(const std::string& model) {
  const auto job = client_->Train(SmallTraining(model, 100'000));
  if (!job.ok()) {
    ADD_FAILURE() << job.status();
    return {};
  }
  return *job;
}

void FashionServerTest::WaitUntilAtWork(const std::string& id) {
  Cancellation enough;
  bool at_work = false;
  const auto job = client_->Watch(
      id,
      [&](const v1::JobEvent& event) {
        if (event.has_progress() && event.progress().step() > 0) at_work = true;
        if (at_work) enough.Cancel();
      },
      &enough);
  EXPECT_TRUE(at_work) << job.status();
}

}  // namespace convd
