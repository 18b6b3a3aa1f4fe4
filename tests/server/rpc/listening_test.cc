#include "server/rpc/listening.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "convd/v1/models.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/auth/tls_files.h"
#include "tests/core/time/hand_clock.h"
#include "tests/server/auth/test_certificates.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// Answers GetModel when the test lets it; ListModels at once.
class HeldModels final : public v1::Models::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*, v1::Model* model) override {
    if (const Refusal refusal(context); refusal) return refusal;
    model->mutable_card()->set_job_id("the answer");
    held_ = context->DefaultReactor();
    accepted_.Notify();
    return held_;
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse*) override {
    if (const Refusal refusal(context); refusal) return refusal;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  void AwaitAccepted() { accepted_.WaitForNotification(); }
  void Answer() { held_->Finish(grpc::Status::OK); }

 private:
  grpc::ServerUnaryReactor* held_ = nullptr;
  absl::Notification accepted_;
};

// A connection that speaks HTTP/2 by hand (RFC 9113), as far as frames without streams go.
class Http2Connection {
 public:
  static constexpr uint8_t kSettings = 4, kPing = 6, kGoAway = 7, kAck = 1;
  struct Frame {
    uint8_t type = 0;
    uint8_t flags = 0;
    std::string payload;
  };

  explicit Http2Connection(const std::string& address)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const timeval patience = {static_cast<time_t>(absl::ToInt64Seconds(kPatience)), 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    SendFrame(kSettings, 0, "");
  }
  ~Http2Connection() { close(fd_); }

  void SendFrame(uint8_t type, uint8_t flags, const std::string& payload) {
    std::string frame = {0,
                         0,
                         static_cast<char>(payload.size()),
                         static_cast<char>(type),
                         static_cast<char>(flags),
                         0,
                         0,
                         0,
                         0};
    Send(frame + payload);
  }
  // The next of type kPing or kGoAway; nothing where the server closes the connection. Fails the
  // test where it says nothing for kPatience.
  std::optional<Frame> Next() {
    for (;;) {
      const std::string header = Read(9);
      if (header.size() < 9) return std::nullopt;
      const auto byte = [&](int i) { return static_cast<uint8_t>(header[i]); };
      Frame frame{byte(3), byte(4), Read(byte(0) << 16 | byte(1) << 8 | byte(2))};
      if (frame.type == kPing || frame.type == kGoAway) return frame;
      if (frame.type == kSettings && frame.flags == 0) SendFrame(kSettings, kAck, "");
    }
  }

 private:
  void Send(const std::string& bytes) {
    (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);  // what went wrong is read
  }
  std::string Read(size_t size) {
    std::string bytes;
    while (bytes.size() < size) {
      char buffer[4096];
      const ssize_t n = recv(fd_, buffer, std::min(sizeof buffer, size - bytes.size()), 0);
      EXPECT_FALSE(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) << "the server is silent";
      if (n <= 0) return bytes;
      bytes.append(buffer, static_cast<size_t>(n));
    }
    return bytes;
  }

  const int fd_;
};

class ListeningTest : public ::testing::Test {
 protected:
  ListeningTest() { Start({}); }

  // In the place of the one that listened before.
  void Start(const KeepalivePolicy& keepalive) {
    if (listening_.server != nullptr) ShutDown(listening_, absl::Now());
    Config config;
    config.grpc_address = "127.0.0.1:0";
    auto listening = Listen(config, {&models_}, {.keepalive = keepalive});
    EXPECT_TRUE(listening.ok()) << listening.status();
    if (listening.ok()) listening_ = *std::move(listening);
  }

  // Each on a connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(listening_.address, grpc::InsecureChannelCredentials(),
                                     arguments);
  }
  static grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    return v1::Models::NewStub(channel)->ListModels(&context, {}, &response);
  }

  HeldModels models_;
  ListeningServer listening_;
};

TEST_F(ListeningTest, ShutsDownAtOnceWhereNothingIsAsked) {
  const auto idle = Connect();
  ASSERT_TRUE(List(idle).ok());
  // gRPC waits 20 s for this one's answer to its ping: a synchronous client's comes when it looks.
  Http2Connection silent(listening_.address);
  silent.SendFrame(Http2Connection::kPing, 0, "12345678");
  ASSERT_TRUE(silent.Next().has_value());
  const absl::Time begin = absl::Now();
  ShutDown(listening_, begin + 2 * kPatience);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_EQ(List(idle).error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Its stream would stay open for ever.
TEST_F(ListeningTest, AWatchOfTheHealthDoesNotCount) {
  const auto channel = Connect();
  const auto health = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  const auto watch = health->Watch(&context, {});
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  const absl::Time begin = absl::Now();
  ShutDown(listening_, begin + 2 * kPatience);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_FALSE(watch->Finish().ok());
}

TEST_F(ListeningTest, AnswersWhatWasAcceptedBeforeItShutsDown) {
  const auto idle = Connect();
  ASSERT_TRUE(List(idle).ok());
  grpc::Status status;
  v1::Model model;
  std::thread call([&] {
    grpc::ClientContext context;
    status = v1::Models::NewStub(Connect())->GetModel(&context, {}, &model);
  });
  models_.AwaitAccepted();
  absl::Notification ended;
  std::thread shutdown([&] {
    ShutDown(listening_, absl::Now() + kPatience, absl::Milliseconds(50));
    ended.Notify();
  });
  // Refused from now on, and for longer than an idle connection is waited for.
  while (List(Connect()).ok()) {
  }
  EXPECT_FALSE(ended.WaitForNotificationWithTimeout(absl::Milliseconds(300)));
  models_.Answer();
  call.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.card().job_id(), "the answer");
  shutdown.join();
}

TEST_F(ListeningTest, CancelsAtTheDeadlineWhatIsNotAnswered) {
  grpc::Status status;
  std::thread call([&] {
    grpc::ClientContext context;
    v1::Model model;
    status = v1::Models::NewStub(Connect())->GetModel(&context, {}, &model);
  });
  models_.AwaitAccepted();
  std::thread shutdown([&] { ShutDown(listening_, absl::Now()); });
  call.join();
  EXPECT_FALSE(status.ok());
  models_.Answer();  // gRPC waits for the handler, whatever the deadline
  shutdown.join();
}

TEST_F(ListeningTest, LetsGoOfAClientThatAnswersNoPing) {
  KeepalivePolicy policy;
  policy.interval = policy.timeout = absl::Milliseconds(50);
  Start(policy);
  Http2Connection connection(listening_.address);
  bool pinged = false;
  while (const auto frame = connection.Next()) pinged |= frame->type == Http2Connection::kPing;
  EXPECT_TRUE(pinged);
}

// Also where nothing else is sent; gRPC's clients stop after two then, unless told otherwise.
TEST_F(ListeningTest, GoesOnPingingAClientThatAnswers) {
  KeepalivePolicy policy;
  policy.interval = absl::Milliseconds(50);
  Start(policy);
  Http2Connection connection(listening_.address);
  for (int pings = 0; pings < 4;) {
    const auto frame = connection.Next();
    ASSERT_TRUE(frame.has_value());
    ASSERT_EQ(frame->type, Http2Connection::kPing);
    if (frame->flags == Http2Connection::kAck) continue;
    ++pings;
    connection.SendFrame(Http2Connection::kPing, Http2Connection::kAck, frame->payload);
  }
}

// The interval alone decides, also while there is no call.
TEST_F(ListeningTest, ClientsMayPingAsOftenAsThePolicySays) {
  EXPECT_GE(ClientOptions().keepalive_interval, 2 * KeepalivePolicy().min_client_interval);
  for (const absl::Duration interval : {absl::ZeroDuration(), absl::Hours(1)}) {
    KeepalivePolicy policy;
    policy.min_client_interval = interval;
    Start(policy);
    Http2Connection connection(listening_.address);
    int answered = 0;
    bool let_go = false;
    while (answered < 10 && !let_go) {
      connection.SendFrame(Http2Connection::kPing, 0, "12345678");
      const auto frame = connection.Next();
      ASSERT_TRUE(frame.has_value());
      let_go = frame->type == Http2Connection::kGoAway;
      answered += frame->type == Http2Connection::kPing;
      if (let_go) {
        EXPECT_THAT(frame->payload, ::testing::HasSubstr("too_many_pings"));
      }
    }
    EXPECT_EQ(let_go, interval > absl::ZeroDuration());
  }
}

// Tells of the first message about a handshake.
class HandshakeSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  spdlog::level::level_enum Level() const {
    logged_.WaitForNotification();
    return level_;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const absl::string_view text(message.payload.data(), message.payload.size());
    if (logged_.HasBeenNotified() || !absl::StrContains(text, "andshake")) return;
    level_ = message.level;
    logged_.Notify();
  }
  void flush_() override {}

  spdlog::level::level_enum level_ = spdlog::level::off;
  absl::Notification logged_;
};

TEST_F(ListeningTest, WhoeverFailsAtTlsFillsNoLog) {
  MemoryFileSystem fs;
  HandClock clock;
  const PemPair pair = TestAuthority().Issue("convd");
  ASSERT_TRUE(WriteFileAtomically(fs, "/cert", pair.certificate).ok());
  ASSERT_TRUE(WriteFileAtomically(fs, "/key", pair.key).ok());
  const auto files = TlsFiles::Open(fs, clock, {"/cert", "/key", ""});
  ASSERT_TRUE(files.ok()) << files.status();
  ShutDown(listening_, absl::Now());
  Config config;
  config.grpc_address = "127.0.0.1:0";
  auto listening = Listen(config, {&models_}, {.tls = files->get()});
  ASSERT_TRUE(listening.ok()) << listening.status();
  listening_ = *std::move(listening);

  const auto sink = std::make_shared<HandshakeSink>();
  const auto logger = std::make_shared<spdlog::logger>("test", sink);
  logger->set_level(spdlog::level::trace);
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(logger);
  const Http2Connection without_tls(listening_.address);
  EXPECT_EQ(sink->Level(), spdlog::level::debug);
  ShutDown(listening_, absl::Now());
  listening_ = {};  // before what it asks goes
  spdlog::set_default_logger(before);
}

}  // namespace
}  // namespace convd
