#include "server/http/http_server.h"

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "core/status/status_macros.h"
#include "server/http/error_response.h"
#include "server/http/http_connection.h"
#include "server/listening_socket.h"

namespace convd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Error = boost::system::error_code;

constexpr size_t kReadBytes = size_t{64} << 10;
// Connections that are told that there are too many; of more the answer is a reset.
constexpr int kRefusedConnections = 64;
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

class Server;

// The way from a responder to a server that may be gone.
struct Gate {
  absl::Mutex mu;
  Server* server ABSL_GUARDED_BY(mu) = nullptr;
};

class PendingAnswer final : public Responder {
 public:
  PendingAnswer(std::shared_ptr<Gate> gate, uint64_t connection, std::shared_ptr<HttpCall> call)
      : gate_(std::move(gate)), connection_(connection), call_(std::move(call)) {}
  ~PendingAnswer() override {
    Respond(ErrorResponse(absl::InternalError("the request was dropped without an answer")));
  }
  void Respond(HttpResponse response) override;
  void NameRequest(std::string id) override { call_->request_id = std::move(id); }
  absl::Status StillWanted() const override {
    if (call_->unwanted.load(std::memory_order_acquire)) {
      if (!call_->why.ok()) return call_->why;
      return absl::CancelledError("the client has hung up, or the server is stopping");
    }
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Gate> gate_;
  const uint64_t connection_;
  const std::shared_ptr<HttpCall> call_;
  std::atomic<bool> answered_{false};
};

class Server final : public HttpServer, private HttpConnection::Host {
 public:
  Server(const HttpServerOptions& options, HttpAdmit admit, ListeningSocket socket);
  ~Server() override { Stop(absl::Now()); }

  const std::string& address() const override { return address_; }
  void Drain() override {
    asio::post(io_, [this] { draining_ = true; });
  }
  void Stop(absl::Time deadline) override;

  // From any thread.
  void PostAnswer(uint64_t connection, std::shared_ptr<HttpCall> call, HttpResponse response) {
    asio::post(
        io_, [this, connection, call = std::move(call), response = std::move(response)]() mutable {
          if (call->handed_on) {
            --traffic_.handed_on;
            if (!call->urgent) --traffic_.waiting;
            traffic_.body_bytes -= call->body_bytes;
          }
          const auto found = connections_.find(connection);
          if (found != connections_.end()) {
            const std::shared_ptr<HttpConnection> alive = found->second;
            alive->Answer(call.get(), std::move(response));
          }
          EndIfDrained();
        });
  }

 private:
  // HttpConnection::Host; the rest is of the I/O thread.
  const HttpServerOptions& options() const override { return options_; }
  HttpTraffic& traffic() override { return traffic_; }
  absl::Span<char> scratch() override { return absl::MakeSpan(scratch_); }
  bool draining() const override { return draining_; }
  HttpGoOn Admit(uint64_t connection, const HttpRequest& request,
                 std::shared_ptr<HttpCall> call) override {
    return admit_(request, std::make_shared<PendingAnswer>(gate_, connection, std::move(call)));
  }
  void MakeRoom(uint64_t connection, int64_t answer_bytes) override;
  void Forget(uint64_t connection) override { connections_.erase(connection); }
  void EndIfDrained() override {
    if (stopping_ && traffic_.handed_on == 0 && traffic_.writing == 0 &&
        !drained_.HasBeenNotified()) {
      drained_.Notify();
    }
  }
  void Accept();
  void Open(tcp::socket socket);

  const HttpServerOptions options_;
  const HttpAdmit admit_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::string address_;
  asio::io_context io_;
  tcp::acceptor acceptor_{io_};
  asio::steady_timer accept_pause_{io_};
  std::vector<char> scratch_ = std::vector<char>(kReadBytes);
  std::unordered_map<uint64_t, std::shared_ptr<HttpConnection>> connections_;
  uint64_t next_id_ = 1;
  HttpTraffic traffic_;
  bool draining_ = false;
  bool stopping_ = false;
  absl::Notification drained_;
  std::thread thread_;  // last
};

void PendingAnswer::Respond(HttpResponse response) {
  if (answered_.exchange(true)) return;
  absl::MutexLock lock(&gate_->mu);
  if (gate_->server != nullptr) gate_->server->PostAnswer(connection_, call_, std::move(response));
}

Server::Server(const HttpServerOptions& options, HttpAdmit admit, ListeningSocket socket)
    : options_(options), admit_(std::move(admit)), address_(socket.address()) {
  {
    absl::MutexLock lock(&gate_->mu);
    gate_->server = this;
  }
  acceptor_.assign(socket.is_ipv6() ? tcp::v6() : tcp::v4(), socket.Release());
  asio::post(io_, [this] { Accept(); });
  thread_ = std::thread([this] { io_.run(); });
}

void Server::Accept() {
  acceptor_.async_accept([this](const Error& error, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (error) {
      // No file descriptor is left, most likely. What listens stays readable, so not at once again.
      accept_pause_.expires_after(absl::ToChronoNanoseconds(kAcceptPause));
      accept_pause_.async_wait([this](const Error&) {
        if (acceptor_.is_open()) Accept();
      });
      return;
    }
    Open(std::move(socket));
    Accept();
  });
}

void Server::Open(tcp::socket socket) {
  const int open = static_cast<int>(connections_.size());
  if (open >= options_.max_connections + kRefusedConnections) return;
  std::unique_ptr<TlsSession> tls;
  if (options_.tls) {
    // The session keeps its context.
    const std::shared_ptr<SSL_CTX> context = options_.tls();
    tls = TlsSession::New(*context);
    if (tls == nullptr) return;  // no memory
  }
  const uint64_t id = next_id_++;
  const auto connection = std::make_shared<HttpConnection>(
      static_cast<HttpConnection::Host&>(*this), id, std::move(socket), std::move(tls));
  connections_.emplace(id, connection);
  connection->Begin(/*refused=*/open >= options_.max_connections);
}

void Server::MakeRoom(uint64_t connection, int64_t answer_bytes) {
  while (traffic_.answer_bytes > options_.waiting_answer_bytes &&
         traffic_.answer_bytes > answer_bytes) {
    std::shared_ptr<HttpConnection> slowest;
    for (const auto& [id, other] : connections_) {
      if (id == connection || other->answer_bytes() == 0) continue;
      if (slowest == nullptr || other->answering_since() < slowest->answering_since()) {
        slowest = other;
      }
    }
    if (slowest == nullptr) return;
    slowest->Close();
  }
}

void Server::Stop(absl::Time deadline) {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] {
    draining_ = true;
    stopping_ = true;
    EndIfDrained();
  });
  drained_.WaitForNotificationWithDeadline(deadline);
  absl::Notification closed;
  asio::post(io_, [this, &closed] {
    Error ignored;
    acceptor_.close(ignored);
    const auto open = connections_;
    for (const auto& [id, connection] : open) connection->Close();
    closed.Notify();
  });
  closed.WaitForNotification();
  {
    absl::MutexLock lock(&gate_->mu);
    gate_->server = nullptr;
  }
  io_.stop();
  thread_.join();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpAdmit admit) {
  CONVD_ASSIGN_OR_RETURN(ListeningSocket socket,
                         ListeningSocket::Open("--http-address", options.address));
  return std::unique_ptr<HttpServer>(
      std::make_unique<Server>(options, std::move(admit), std::move(socket)));
}

}  // namespace convd
