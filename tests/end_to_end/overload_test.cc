// A server under more than it can do, for a minute each. Label "long".

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/load/grpc_target.h"
#include "client/load/load_run.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

constexpr int64_t kImages = 64;  // of a call under overload
constexpr int kCallsInFlight = 6000;
// Of server/predict/predict_queue.h's limits.
constexpr int64_t kMostWaitingImages = 262'144;
static_assert(kCallsInFlight * kImages > kMostWaitingImages);
constexpr int64_t kImageBytes = 28 * 28;

// A figure of /proc/PID/status, such as VmHWM in KiB.
int64_t Figure(pid_t pid, const std::string& name) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::atoll(line.c_str() + name.size() + 1);
  }
  return -1;
}

int64_t OpenFiles(pid_t pid) {
  int64_t files = 0;
  std::error_code gone;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"), gone)) {
    files += entry.path().empty() ? 0 : 1;
  }
  return files;
}

void Print(const char* what, const LoadResult& result) {
  std::printf(
      "%s: %.0f calls/s, p99 %.1f ms; %lld refused, p50 %.3f ms, p99 %.3f ms; %lld dropped\n", what,
      result.calls_per_second(), absl::ToDoubleMilliseconds(result.latency.Quantile(0.99)),
      static_cast<long long>(result.refusals.count()),
      absl::ToDoubleMilliseconds(result.refusals.Quantile(0.5)),
      absl::ToDoubleMilliseconds(result.refusals.Quantile(0.99)),
      static_cast<long long>(result.dropped));
  std::fflush(stdout);
}

class OverloadTest : public FashionServerTest {
 protected:
  pid_t pid() const { return server_->process().pid(); }

  v1::PredictRequest Request(int64_t first, int64_t images) const {
    v1::PredictRequest request;
    request.mutable_model()->set_name("m");
    *request.mutable_images() = data_.test.Raw(first, images);
    return request;
  }
  std::unique_ptr<LoadTarget> Target(int slots, int64_t images) const {
    GrpcLoad load;
    load.address = server_->address();
    load.method = "/convd.v1.Predictor/Predict";
    for (int64_t first = 0; first + images <= data_.test.count(); first += images) {
      load.requests.push_back(Request(first, images).SerializeAsString());
    }
    load.connections = 8;
    load.slots = slots;
    load.options.timeout = absl::InfiniteDuration();
    auto target = ConnectGrpcTarget(load);
    EXPECT_TRUE(target.ok()) << target.status();
    return target.ok() ? *std::move(target) : nullptr;
  }
  // Some million multiplications an image, so that a load costs less than what it asks for.
  void TrainSlowModel() {
    v1::TrainRequest request = SmallTraining("m", 1);
    v1::Network& network = *request.mutable_network();
    network.mutable_input()->set_height(28);
    network.mutable_input()->set_width(28);
    network.mutable_input()->set_channels(1);
    for (int i = 0; i < 4; ++i) {
      v1::Conv2D& conv = *network.add_layers()->mutable_conv();
      conv.set_filters(32);
      conv.add_kernel(3);
      conv.add_kernel(3);
      conv.set_padding(v1::PADDING_SAME);
      conv.set_activation(v1::ACTIVATION_RELU);
    }
    network.add_layers()->mutable_flatten();
    v1::Dense& dense = *network.add_layers()->mutable_dense();
    dense.set_units(10);
    dense.set_activation(v1::ACTIVATION_SOFTMAX);
    TrainToTheEnd(request);
  }
};

TEST_F(OverloadTest, TenTimesWhatItCanDoIsServedOrRefusedWithinBoundedMemory) {
  TrainSlowModel();
  const auto target = Target(kCallsInFlight, kImages);
  ASSERT_NE(target, nullptr);
  const absl::Notification never;
  const LoadResult alone = RunLoad({.in_flight = 8, .measured = absl::Seconds(3)}, *target, never);
  Print("closed loop", alone);
  ASSERT_TRUE(alone.errors.empty()) << alone.first_error;
  const auto expected = client_->Predict(Request(0, kImages));
  ASSERT_STATUS_OK(expected);
  const int64_t before = Figure(pid(), "VmHWM");

  // One caller among the many looks at its answers.
  std::atomic<bool> over = false;
  int64_t right = 0, refused = 0;
  std::thread caller([&] {
    while (!over) {
      const auto answer = client_->Predict(Request(0, kImages));
      if (answer.ok()) {
        ASSERT_EQ(answer->SerializeAsString(), expected->SerializeAsString());
        ++right;
      } else {
        ASSERT_TRUE(absl::IsResourceExhausted(answer.status())) << answer.status();
        ++refused;
      }
    }
  });
  const LoadResult result = RunLoad({.in_flight = kCallsInFlight,
                                     .rate = 10 * alone.calls_per_second(),
                                     .warm_up = absl::ZeroDuration(),
                                     .measured = absl::Seconds(60),
                                     .grace = absl::Minutes(5)},
                                    *target, never);
  over = true;
  caller.join();
  Print("ten times that", result);
  const int64_t after = Figure(pid(), "VmHWM");
  std::printf("peak of memory %lld MB, before %lld MB; one caller: %lld right, %lld refused\n",
              static_cast<long long>(after >> 10), static_cast<long long>(before >> 10),
              static_cast<long long>(right), static_cast<long long>(refused));
  EXPECT_GT(result.latency.count(), 0);
  EXPECT_GT(result.refusals.count(), 0);
  for (const auto& [code, count] : result.errors) {
    EXPECT_EQ(code, absl::StatusCode::kResourceExhausted) << count << ": " << result.first_error;
  }
  // What may wait, once as pixels and once more as gRPC has it, and what calls take besides.
  EXPECT_LT(after - before, (2 * kMostWaitingImages * kImageBytes >> 10) + (256 << 10));
  const auto later = client_->Predict(Request(0, kImages));
  ASSERT_STATUS_OK(later);
  EXPECT_EQ(later->SerializeAsString(), expected->SerializeAsString());
}

TEST_F(OverloadTest, AFloodOfPredictionsLeavesAJobItsShare) {
  TrainToTheEnd(SmallTraining("m", 1));
  const std::string job = StartEndlessJob("endless").id();
  WaitUntilAtWork(job);
  const auto steps = [&] {
    const auto now = client_->GetJob(job);
    EXPECT_TRUE(now.ok()) << now.status();
    const v1::Progress& progress = now->progress();
    return (progress.epoch() - 1) * progress.steps() + progress.step();
  };
  const absl::Notification never;
  int64_t begun = steps();
  never.WaitForNotificationWithTimeout(absl::Seconds(10));
  const double alone = static_cast<double>(steps() - begun) / 10;

  const auto target = Target(256, 1);
  ASSERT_NE(target, nullptr);
  begun = steps();
  const LoadResult result =
      RunLoad({.in_flight = 256, .measured = absl::Seconds(60)}, *target, never);
  const double under = static_cast<double>(steps() - begun) / 61;
  Print("beside a job", result);
  std::printf("the job: %.1f steps/s alone, %.1f under the flood; peak of memory %lld MB\n", alone,
              under, static_cast<long long>(Figure(pid(), "VmHWM") >> 10));
  EXPECT_TRUE(result.errors.empty()) << result.first_error;
  EXPECT_GT(result.latency.count(), 0);
  // Its share is a tenth of the workers' time, and the load takes some of the same cores.
  EXPECT_GT(under, 0.02 * alone);
  EXPECT_LT(Figure(pid(), "VmHWM"), 1 << 20);
  ASSERT_STATUS_OK(client_->CancelJob(job));
}

// What a server has of the machine.
struct Held {
  int64_t threads = 0, files = 0, memory_kib = 0;

  static Held By(pid_t pid) {
    return {Figure(pid, "Threads"), OpenFiles(pid), Figure(pid, "VmRSS")};
  }
};

class ConnectionsTest : public ::testing::Test {
 protected:
  static constexpr int kConnections = 1000, kRounds = 10;

  void SetUp() override {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 16'384);
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 4096) GTEST_SKIP() << "only " << files.rlim_cur << " files may be open";
    server_ = ServerProcess::Start(folder_ / "state");
    ASSERT_NE(server_, nullptr);
  }
  // `round` makes so many connections, uses each, and leaves.
  void ExpectAllIsGivenBack(const std::function<void()>& round) {
    const pid_t pid = server_->process().pid();
    const Held start = Held::By(pid);
    // Of those that left the server learns a moment later.
    const auto settled = [&] {
      const absl::Time patience = absl::Now() + kPatience;
      Held held = Held::By(pid);
      while (held.files > start.files + kSlack && absl::Now() < patience) {
        std::this_thread::yield();
        held = Held::By(pid);
      }
      return held;
    };
    round();
    const Held first = settled();
    for (int i = 1; i < kRounds && !HasFatalFailure(); ++i) round();
    const Held last = settled();
    std::printf("threads %lld, %lld, %lld; files %lld, %lld, %lld; memory %lld, %lld, %lld KiB\n",
                static_cast<long long>(start.threads), static_cast<long long>(first.threads),
                static_cast<long long>(last.threads), static_cast<long long>(start.files),
                static_cast<long long>(first.files), static_cast<long long>(last.files),
                static_cast<long long>(start.memory_kib), static_cast<long long>(first.memory_kib),
                static_cast<long long>(last.memory_kib));
    EXPECT_LE(last.files, start.files + kSlack);
    // gRPC's own threads come and go.
    EXPECT_LE(last.threads, first.threads + 8);
    EXPECT_LT(last.memory_kib, first.memory_kib + (16 << 10));
  }

  static constexpr int64_t kSlack = 8;  // of what the server opens for itself by the way
  const TempFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(ConnectionsTest, AThousandOverHttpComeAndGoTenTimes) {
  const std::string address = server_->http_address();
  ExpectAllIsGivenBack([&] {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
    std::vector<int> sockets;
    for (int i = 0; i < kConnections; ++i) {
      sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ASSERT_EQ(connect(sockets.back(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
      const std::string ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
      ASSERT_EQ(send(sockets.back(), ask.data(), ask.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(ask.size()));
    }
    for (const int fd : sockets) {
      char answer[16] = {};
      const ssize_t got = recv(fd, answer, sizeof answer - 1, 0);
      const std::string status(answer);
      // Those of the round before may not all be gone; of many more than fit the answer is a reset.
      EXPECT_TRUE(got <= 0 || status.find(" 200") != status.npos ||
                  status.find(" 503") != status.npos)
          << status;
      close(fd);
    }
  });
}

TEST_F(ConnectionsTest, AThousandOverGrpcComeAndGoTenTimes) {
  ExpectAllIsGivenBack([&] {
    std::vector<std::shared_ptr<grpc::Channel>> channels;
    for (int i = 0; i < kConnections; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      channels.push_back(grpc::CreateCustomChannel(server_->address(),
                                                   grpc::InsecureChannelCredentials(), arguments));
      channels.back()->GetState(/*try_to_connect=*/true);
    }
    for (const auto& channel : channels) {
      ASSERT_TRUE(channel->WaitForConnected(absl::ToChronoTime(absl::Now() + kPatience)));
    }
  });
}

}  // namespace
}  // namespace convd
