#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/client/fake_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::JobEvent JobIn(v1::JobState state, std::vector<int64_t> history = {}) {
  v1::JobEvent event;
  event.mutable_job()->set_id("j");
  event.mutable_job()->set_state(state);
  for (const int64_t epoch : history) event.mutable_job()->add_history()->set_epoch(epoch);
  return event;
}

v1::JobEvent Epoch(int64_t epoch) {
  v1::JobEvent event;
  event.mutable_epoch()->set_epoch(epoch);
  return event;
}

ClientOptions QuickOptions() {
  ClientOptions options;
  options.first_pause = absl::Milliseconds(1);
  options.longest_pause = absl::Milliseconds(2);
  options.reconnect_timeout = absl::Seconds(20);
  return options;
}

std::unique_ptr<Client> ConnectTo(const FakeServer& server,
                                  const ClientOptions& options = QuickOptions()) {
  auto client = Client::Connect(server.address, options);
  EXPECT_TRUE(client.ok()) << client.status();
  return client.ok() ? *std::move(client) : nullptr;
}

std::string TempFile(const std::string& name, const std::string& data) {
  const std::string path = ::testing::TempDir() + "/client_test_" + name;
  std::ofstream(path, std::ios::binary) << data;
  return path;
}

const grpc::Status kLost(grpc::StatusCode::UNAVAILABLE, "Socket closed");

TEST(ClientTest, WatchGoesOnAcrossLostConnectionsWithEachEpochOnce) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING), Epoch(1), Epoch(2)}, kLost});
  server.jobs.AddWatch({{}, kLost});
  // A server that sends more again than was asked for doesn't make a watcher see it twice.
  server.jobs.AddWatch(
      {{JobIn(v1::JOB_STATE_RUNNING, {1, 2, 3}), Epoch(1), Epoch(2), Epoch(3)}, kLost});
  // Epoch 4 was written while nobody watched, and the job has ended since.
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_SUCCEEDED, {1, 2, 3, 4})}, grpc::Status::OK});
  std::vector<int64_t> epochs;
  std::vector<v1::JobState> states;
  const auto job = ConnectTo(server)->Watch("j", [&](const v1::JobEvent& event) {
    if (event.has_epoch()) epochs.push_back(event.epoch().epoch());
    if (event.has_job()) states.push_back(event.job().state());
  });
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->history_size(), 4);
  EXPECT_THAT(epochs, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(states, ElementsAre(v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED));
  EXPECT_THAT(server.jobs.after_epochs(), ElementsAre(0, 2, 2, 3));
}

// Its server ended twice: the first time the watch came back while the job waited, the second time
// when it ran again already. An epoch that was not kept is trained, and sent, again.
TEST(ClientTest, WatchGoesOnWithAJobThatOutlivedItsServer) {
  FakeServer server;
  const auto attempt = [](v1::JobState state, int32_t attempts, std::vector<int64_t> history = {}) {
    v1::JobEvent event = JobIn(state, std::move(history));
    event.mutable_job()->set_attempts(attempts);
    return event;
  };
  server.jobs.AddWatch({{attempt(v1::JOB_STATE_RUNNING, 1), Epoch(1), Epoch(2)}, kLost});
  server.jobs.AddWatch({{attempt(v1::JOB_STATE_QUEUED, 1, {1}),
                         attempt(v1::JOB_STATE_RUNNING, 2, {1}), Epoch(2), Epoch(3)},
                        kLost});
  server.jobs.AddWatch({{attempt(v1::JOB_STATE_RUNNING, 3, {1, 2, 3}), Epoch(4),
                         attempt(v1::JOB_STATE_SUCCEEDED, 3, {1, 2, 3, 4})},
                        grpc::Status::OK});
  std::vector<std::string> seen;
  const auto job = ConnectTo(server)->Watch(
      "j",
      [&](const v1::JobEvent& event) {
        seen.push_back(event.has_epoch() ? absl::StrCat("epoch ", event.epoch().epoch())
                                         : absl::StrCat(v1::JobState_Name(event.job().state()), " ",
                                                        event.job().attempts()));
      },
      nullptr, 0, [&] { seen.push_back("lost"); });
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(seen, ElementsAre("JOB_STATE_RUNNING 1", "epoch 1", "epoch 2", "lost",
                                "JOB_STATE_QUEUED 1", "JOB_STATE_RUNNING 2", "epoch 3", "lost",
                                "JOB_STATE_RUNNING 3", "epoch 4", "JOB_STATE_SUCCEEDED 3"));
  EXPECT_THAT(server.jobs.after_epochs(), ElementsAre(0, 2, 3));
}

TEST(ClientTest, WatchTellsOnceOfAServerThatIsTriedForSeveralTimes) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, kLost});
  server.jobs.AddWatch({{}, kLost});
  server.jobs.AddWatch({{}, kLost});
  server.jobs.AddWatch(
      {{JobIn(v1::JOB_STATE_PAUSED), JobIn(v1::JOB_STATE_CANCELLED)}, grpc::Status::OK});
  int lost = 0;
  std::vector<v1::JobState> states;
  const auto job = ConnectTo(server)->Watch(
      "j", [&](const v1::JobEvent& event) { states.push_back(event.job().state()); }, nullptr, 0,
      [&] { ++lost; });
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(lost, 1);
  EXPECT_THAT(states,
              ElementsAre(v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED));
}

TEST(ClientTest, WatchOfAnEndedJobBeginsWithTheJobToo) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_SUCCEEDED, {1, 2})}, grpc::Status::OK});
  std::vector<std::string> seen;
  const auto job = ConnectTo(server)->Watch("j", [&](const v1::JobEvent& event) {
    seen.push_back(event.has_job() ? "job" : std::to_string(event.epoch().epoch()));
  });
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(seen, ElementsAre("job", "1", "2", "job"));
}

TEST(ClientTest, WatchOfAnEndedJobWithNothingNewShowsItOnce) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_FAILED, {1})}, grpc::Status::OK});
  int events = 0;
  const auto job =
      ConnectTo(server)->Watch("j", [&](const v1::JobEvent&) { ++events; }, nullptr, 1);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(events, 1);
}

// gRPC's server would say UNIMPLEMENTED, and nothing else, of a message that it can't parse.
TEST(ClientTest, TextThatIsNotUtf8IsRefusedByItsFieldBeforeItIsSent) {
  FakeServer server;
  const auto client = ConnectTo(server);
  v1::TrainRequest request;
  request.set_model("m");
  request.mutable_network()->add_layers()->add_inputs("a");
  request.mutable_network()->mutable_layers(0)->add_inputs("\xfc");
  const absl::Status train = client->Train(request).status();
  EXPECT_EQ(train.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(train.message(), "network.layers[0].inputs[1]: got \"\\374\"; want UTF-8");
  EXPECT_EQ(client->Watch("\xff", [](const v1::JobEvent&) {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  v1::UploadHeader header;
  header.set_name("\xff");
  const absl::Status upload =
      client->UploadDataset(header, {{"a", TempFile("utf8", "x")}}).status();
  EXPECT_EQ(upload.message(), "name: got \"\\377\"; want UTF-8");
  header.set_name("u");
  EXPECT_EQ(client->UploadDataset(header, {{"\xff", TempFile("utf8", "x")}}).status().message(),
            "file: got \"\\377\"; want UTF-8");
}

TEST(ClientTest, WatchTreatsAStreamThatEndsBeforeTheJobAsLost) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_QUEUED)}, grpc::Status::OK});
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_CANCELLED)}, grpc::Status::OK});
  const auto job = ConnectTo(server)->Watch("j", [](const v1::JobEvent&) {});
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_CANCELLED);
}

TEST(ClientTest, WatchReturnsOtherErrorsAtOnce) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, kLost});
  server.jobs.AddWatch({{}, grpc::Status(grpc::StatusCode::NOT_FOUND, "no job \"j\"")});
  const auto job = ConnectTo(server)->Watch("j", [](const v1::JobEvent&) {});
  EXPECT_EQ(job.status(), absl::NotFoundError("no job \"j\""));
}

TEST(ClientTest, WatchGivesUpWhenTheServerStaysAway) {
  FakeServer server;
  ClientOptions options = QuickOptions();
  options.reconnect_timeout = absl::Milliseconds(50);
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, kLost});
  server.jobs.when_empty = kLost;
  const auto job = ConnectTo(server, options)->Watch("j", [](const v1::JobEvent&) {});
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(job.status().message()), HasSubstr(server.address));
}

TEST(ClientTest, CancellationEndsAWatch) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, grpc::Status::OK, true});
  Cancellation cancellation;
  const auto job = ConnectTo(server)->Watch(
      "j", [&](const v1::JobEvent&) { cancellation.Cancel(); }, &cancellation);
  EXPECT_EQ(job.status().code(), absl::StatusCode::kCancelled);
}

TEST(ClientTest, CancellationEndsThePauseBetweenTwoAttempts) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, kLost});
  ClientOptions options = QuickOptions();
  options.first_pause = options.longest_pause = absl::Hours(1);
  options.reconnect_timeout = absl::Hours(2);
  const std::unique_ptr<Client> client = ConnectTo(server, options);
  Cancellation cancellation;
  absl::Notification watching;
  std::thread canceller([&] {
    watching.WaitForNotification();
    cancellation.Cancel();
  });
  const auto job =
      client->Watch("j", [&](const v1::JobEvent&) { watching.Notify(); }, &cancellation);
  canceller.join();
  EXPECT_EQ(job.status().code(), absl::StatusCode::kCancelled);
}

TEST(ClientTest, TimeoutEndsAWatchThatHangs) {
  FakeServer server;
  server.jobs.AddWatch({{JobIn(v1::JOB_STATE_RUNNING)}, grpc::Status::OK, true});
  ClientOptions options = QuickOptions();
  options.timeout = absl::Milliseconds(500);
  const auto job = ConnectTo(server, options)->Watch("j", [](const v1::JobEvent&) {});
  EXPECT_EQ(job.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(ClientTest, ListsAllPagesOrAsManyAsAskedFor) {
  FakeServer server;
  const std::unique_ptr<Client> client = ConnectTo(server);
  const auto all = client->ListJobs();
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(7));
  EXPECT_EQ(all->back().id(), "job-6");
  const auto three = client->ListJobs(3);
  ASSERT_TRUE(three.ok()) << three.status();
  ASSERT_THAT(*three, SizeIs(3));
  EXPECT_EQ(three->back().id(), "job-2");
}

TEST(ClientTest, AListThatTurnsInCirclesIsAnError) {
  FakeServer server;
  EXPECT_EQ(ConnectTo(server)->ListDatasets().status().code(), absl::StatusCode::kInternal);
}

TEST(ClientTest, ErrorsKeepTheServersCodeAndMessage) {
  FakeServer server;
  EXPECT_EQ(ConnectTo(server)->GetJob("x").status(), absl::NotFoundError("no job \"x\""));
}

TEST(ClientTest, PausesResumesAndChangesAJob) {
  FakeServer server;
  const std::unique_ptr<Client> client = ConnectTo(server);
  const auto paused = client->PauseJob("j");
  ASSERT_TRUE(paused.ok()) << paused.status();
  EXPECT_EQ(paused->id(), "j");
  EXPECT_EQ(paused->state(), v1::JOB_STATE_PAUSED);
  const auto resumed = client->ResumeJob("j");
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->id(), "j");
  EXPECT_EQ(resumed->state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(resumed->request().allow_different_bits());
  EXPECT_TRUE(client->ResumeJob("j", true)->request().allow_different_bits());
  v1::UpdateJobRequest update;
  update.set_id("j");
  EXPECT_EQ(client->UpdateJob(update)->priority(), 1000);
  update.set_priority(-5);
  const auto updated = client->UpdateJob(update);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->id(), "j");
  EXPECT_EQ(updated->priority(), -5);
  EXPECT_EQ(client->PauseJob("\xff").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ClientTest, ACallThatTheServerLacksIsExplained) {
  FakeServer server;
  const absl::Status status = ConnectTo(server)->CancelJob("x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("doesn't know this call"));
}

TEST(ClientTest, UploadsFilesInOrderInChunksOfAMebibyte) {
  FakeServer server;
  const std::string big(2'500'000, 'b');
  const std::vector<LocalFile> files = {{"big", TempFile("big", big)},
                                        {"empty", TempFile("empty", "")},
                                        {"exact", TempFile("exact", std::string(1 << 20, 'e'))}};
  v1::UploadHeader header;
  header.set_name("data");
  int64_t sent = 0, total = 0;
  UploadEvents events;
  events.on_progress = [&](int64_t s, int64_t t) {
    EXPECT_GE(s, sent);
    sent = s;
    total = t;
  };
  const auto dataset = ConnectTo(server)->UploadDataset(header, files, events);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "data");
  ASSERT_THAT(server.datasets.files, SizeIs(3));
  EXPECT_EQ(server.datasets.files[0], std::make_pair(std::string("big"), big));
  EXPECT_EQ(server.datasets.files[1], std::make_pair(std::string("empty"), std::string()));
  EXPECT_EQ(server.datasets.files[2].second.size(), size_t{1} << 20);
  EXPECT_EQ(server.datasets.largest_chunk, size_t{1} << 20);
  EXPECT_EQ(sent, 2'500'000 + (1 << 20));
  EXPECT_EQ(total, sent);
}

TEST(ClientTest, UploadSendsNothingWhereAFileIsMissing) {
  FakeServer server;
  v1::UploadHeader header;
  header.set_name("data");
  const std::string missing = ::testing::TempDir() + "/client_test_no_such_file";
  const auto dataset =
      ConnectTo(server)->UploadDataset(header, {{"a", TempFile("a", "a")}, {"missing", missing}});
  EXPECT_EQ(dataset.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(dataset.status().message()), HasSubstr(missing));
  EXPECT_EQ(server.datasets.header.name(), "");
}

TEST(ClientTest, UploadReturnsTheServersRefusal) {
  FakeServer server;
  server.datasets.refuse =
      grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "dataset \"data\" is there");
  const auto dataset = ConnectTo(server)->UploadDataset(
      v1::UploadHeader(), {{"big", TempFile("refused", std::string(20 << 20, 'x'))}});
  EXPECT_EQ(dataset.status(), absl::AlreadyExistsError("dataset \"data\" is there"));
}

TEST(ClientTest, ConnectSaysWhereNothingAnswers) {
  std::string address;
  {
    FakeServer server;
    address = server.address;
    server.Stop();
  }
  const auto client = Client::Connect(address);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr(address));
}

TEST(ClientTest, ConnectRefusesAWrongAddressWithoutTrying) {
  EXPECT_EQ(Client::Connect("localhost").status().code(), absl::StatusCode::kInvalidArgument);
}

// Takes connections and says nothing.
class SilentListener {
 public:
  SilentListener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd_, 8), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  ~SilentListener() { close(fd_); }
  const std::string& address() const { return address_; }

 private:
  const int fd_;
  std::string address_;
};

TEST(ClientTest, AServerThatDoesNotAnswerInTheTimeOfACallIsADeadline) {
  const SilentListener listener;
  ClientOptions options;
  options.timeout = absl::Milliseconds(300);
  const absl::Status status = Client::Connect(listener.address(), options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(HasSubstr(listener.address()), HasSubstr("300ms")));
}

TEST(ClientTest, AServerThatDoesNotAnswerInTheTimeToConnectIsUnreachable) {
  const SilentListener listener;
  ClientOptions options;
  options.connect_timeout = absl::Milliseconds(50);
  options.timeout = absl::Seconds(30);
  EXPECT_EQ(Client::Connect(listener.address(), options).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace convd
