#include "server/http/http_server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "core/status/status_macros.h"
#include "server/http/error_response.h"
#include "server/listening_socket.h"

namespace convd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Error = boost::system::error_code;

constexpr size_t kReadBytes = size_t{64} << 10;
// Of requests that a client sends before the answer to the one before.
constexpr size_t kReadAheadBytes = size_t{16} << 10;
// A client that was refused may still be sending; a connection that is closed while there is
// something to read is reset, and the answer with it.
constexpr absl::Duration kLingerTime = absl::Seconds(2);
// Connections that are told that there are too many; of more the answer is a reset.
constexpr int kRefusedConnections = 64;
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

class Server;

// What the connection, on the I/O thread, and the responder, anywhere, both know of a request.
struct Call {
  std::atomic<bool> unwanted{false};
};

// The way from a responder to a server that may be gone.
struct Gate {
  absl::Mutex mu;
  Server* server ABSL_GUARDED_BY(mu) = nullptr;
};

class PendingAnswer final : public Responder {
 public:
  PendingAnswer(std::shared_ptr<Gate> gate, uint64_t connection, std::shared_ptr<Call> call)
      : gate_(std::move(gate)), connection_(connection), call_(std::move(call)) {}
  ~PendingAnswer() override {
    Respond(ErrorResponse(absl::InternalError("the request was dropped without an answer")));
  }
  void Respond(HttpResponse response) override;
  absl::Status StillWanted() const override {
    if (call_->unwanted.load(std::memory_order_relaxed)) {
      return absl::CancelledError("the client has hung up, or the server is stopping");
    }
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Gate> gate_;
  const uint64_t connection_;
  const std::shared_ptr<Call> call_;
  std::atomic<bool> answered_{false};
};

// One connection, of the I/O thread alone. Held by what it waits for and by the server.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, uint64_t id, tcp::socket socket);

  void Begin();
  // Says that there are too many, instead.
  void Refuse();
  void Answer(HttpResponse response);
  void Close();
  void GiveUp() {
    if (call_ != nullptr) call_->unwanted = true;
  }

 private:
  enum class State {
    kIdle,  // between two requests
    kHeader,
    kBody,
    kHandling,  // the handler has it
    kWriting,
    kLingering,  // all is written; what comes is thrown away
    kClosed,
  };

  void NextRequest();
  void WaitForBytes();
  void ReadBytes();
  void HangUp();
  void Advance();
  void HandOn();
  void Write(const HttpResponse& response, bool keep_alive);
  void Written(const Error& error, bool keep_alive);
  void Limit(absl::Duration time);
  void OutOfTime();
  void CountBody();

  Server& server_;
  const uint64_t id_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  State state_ = State::kIdle;
  std::string peer_;
  std::string in_;  // come, and not yet read as a request
  bool waiting_for_bytes_ = false;
  bool hung_up_ = false;  // by the client, in its own direction
  std::unique_ptr<HttpRequestReader> reader_;
  int64_t counted_body_bytes_ = 0;
  bool is_head_ = false;
  bool keep_alive_ = false;
  std::shared_ptr<Call> call_;  // kHandling
  std::string out_head_, out_body_;
};

class Server final : public HttpServer {
 public:
  Server(const HttpServerOptions& options, HttpHandler handler, ListeningSocket socket);
  ~Server() override { Stop(absl::Now()); }

  const std::string& address() const override { return address_; }
  void Drain() override {
    asio::post(io_, [this] { draining_ = true; });
  }
  void Stop(absl::Time deadline) override;

  // From any thread.
  void PostAnswer(uint64_t connection, HttpResponse response) {
    asio::post(io_, [this, connection, response = std::move(response)]() mutable {
      --requests_;
      const auto found = connections_.find(connection);
      if (found != connections_.end()) {
        const std::shared_ptr<Connection> alive = found->second;
        alive->Answer(std::move(response));
      }
      EndIfDrained();
    });
  }

  // The rest is of the I/O thread.
  const HttpServerOptions& options() const { return options_; }
  bool draining() const { return draining_; }
  void Forget(uint64_t id) { connections_.erase(id); }
  absl::Span<char> scratch() { return absl::MakeSpan(scratch_); }
  int64_t& body_bytes() { return body_bytes_; }
  int& writing() { return writing_; }
  void HandOn(uint64_t connection, HttpRequest request, std::shared_ptr<Call> call);
  bool IsUrgent(const HttpRequest& request) const {
    return std::find(options_.urgent_paths.begin(), options_.urgent_paths.end(), request.path) !=
           options_.urgent_paths.end();
  }
  bool busy() const { return requests_ >= options_.max_requests; }
  void EndIfDrained() {
    if (stopping_ && requests_ == 0 && writing_ == 0 && !drained_.HasBeenNotified()) {
      drained_.Notify();
    }
  }

 private:
  void Accept();

  const HttpServerOptions options_;
  const HttpHandler handler_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::string address_;
  asio::io_context io_;
  tcp::acceptor acceptor_{io_};
  asio::steady_timer accept_pause_{io_};
  std::vector<char> scratch_ = std::vector<char>(kReadBytes);
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  uint64_t next_id_ = 1;
  int requests_ = 0;  // handed on, and not answered
  int writing_ = 0;   // connections
  int64_t body_bytes_ = 0;
  bool draining_ = false;
  bool stopping_ = false;
  absl::Notification drained_;
  std::thread thread_;  // last
};

// ---- Connection

Connection::Connection(Server& server, uint64_t id, tcp::socket socket)
    : server_(server), id_(id), socket_(std::move(socket)), timer_(socket_.get_executor()) {
  Error ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  const tcp::endpoint peer = socket_.remote_endpoint(ignored);
  peer_ = absl::StrCat(peer.address().to_string(), ":", peer.port());
}

void Connection::Begin() { NextRequest(); }

void Connection::Refuse() {
  Write(ErrorResponse(503, absl::UnavailableError(absl::StrCat(
                               server_.options().max_connections,
                               " connections are open already; try again in a moment"))),
        false);
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kWriting) --server_.writing();
  GiveUp();
  state_ = State::kClosed;
  server_.body_bytes() -= std::exchange(counted_body_bytes_, 0);
  timer_.cancel();
  Error ignored;
  socket_.close(ignored);
  server_.Forget(id_);
  server_.EndIfDrained();
}

void Connection::NextRequest() {
  reader_ = HttpRequestReader::New(server_.options().read);
  is_head_ = false;
  state_ = State::kIdle;
  Limit(server_.options().idle_time);
  Advance();
}

void Connection::Limit(absl::Duration time) {
  timer_.expires_after(absl::ToChronoNanoseconds(time));
  timer_.async_wait([self = shared_from_this()](const Error& error) {
    // One that was set anew just as it fired still comes here.
    if (!error && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->OutOfTime();
  });
}

void Connection::OutOfTime() {
  const HttpServerOptions& options = server_.options();
  if (state_ == State::kHandling || state_ == State::kClosed) return;
  if (state_ != State::kHeader && state_ != State::kBody) return Close();
  const bool header = state_ == State::kHeader;
  Write(ErrorResponse(408,
                      absl::DeadlineExceededError(absl::StrCat(
                          header ? "the header" : "the body", " didn't come within ",
                          absl::FormatDuration(header ? options.header_time : options.body_time)))),
        false);
}

void Connection::WaitForBytes() {
  if (waiting_for_bytes_ || hung_up_ || state_ == State::kClosed) return;
  // What has been sent ahead is enough until this request is answered.
  const bool answering = state_ == State::kHandling || state_ == State::kWriting;
  if (answering && in_.size() >= kReadAheadBytes) return;
  waiting_for_bytes_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const Error& error) {
    self->waiting_for_bytes_ = false;
    if (self->state_ == State::kClosed) return;
    if (error) return self->Close();
    self->ReadBytes();
  });
}

void Connection::ReadBytes() {
  const absl::Span<char> scratch = server_.scratch();
  Error error;
  const size_t n = socket_.read_some(asio::buffer(scratch.data(), scratch.size()), error);
  if (error == asio::error::would_block || error == asio::error::try_again ||
      error == asio::error::interrupted) {
    return WaitForBytes();
  }
  if (error == asio::error::eof) return HangUp();
  if (error) return Close();
  if (state_ == State::kLingering) return WaitForBytes();
  in_.append(scratch.data(), n);
  if (state_ == State::kHandling || state_ == State::kWriting) {
    // Only to see whether the client hangs up.
    return WaitForBytes();
  }
  Advance();
}

void Connection::HangUp() {
  hung_up_ = true;
  // Perhaps only in its own direction: whoever sends a request and then says that it was the last
  // still gets what there is of an answer.
  if (state_ != State::kHandling && state_ != State::kWriting) return Close();
  GiveUp();
}

void Connection::CountBody() {
  const int64_t now = static_cast<int64_t>(reader_->body_bytes());
  server_.body_bytes() += now - counted_body_bytes_;
  counted_body_bytes_ = now;
}

void Connection::Advance() {
  using Read = HttpRequestReader::State;
  while (!in_.empty()) {
    if (state_ == State::kIdle) {
      state_ = State::kHeader;
      Limit(server_.options().header_time);
    }
    in_.erase(0, reader_->Read(in_));
    CountBody();
    if (reader_->state() == Read::kRefused) return Write(reader_->refusal(), false);
    if (server_.body_bytes() > server_.options().waiting_body_bytes) {
      return Write(ErrorResponse(503, absl::UnavailableError(absl::StrCat(
                                          "requests of ", server_.options().waiting_body_bytes,
                                          " bytes are being read already; try again in a moment"))),
                   false);
    }
    if (reader_->state() == Read::kWhole) return HandOn();
    if (state_ == State::kHeader && reader_->state() == Read::kBody) {
      state_ = State::kBody;
      Limit(server_.options().body_time);
      if (reader_->awaits_continue() && in_.empty() && reader_->body_bytes() == 0) {
        // So few bytes always fit, as nothing else is being sent.
        Error error;
        constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
        asio::write(socket_, asio::buffer(kContinue, sizeof kContinue - 1), error);
        if (error) return Close();
      }
      continue;
    }
    break;  // more has to come
  }
  if (hung_up_) return Close();
  WaitForBytes();
}

void Connection::HandOn() {
  state_ = State::kHandling;
  timer_.cancel();
  keep_alive_ = reader_->keep_alive();
  HttpRequest request = reader_->Take();
  request.peer = peer_;
  is_head_ = request.method == "HEAD";
  const bool urgent = server_.IsUrgent(request);
  if (server_.draining() && !urgent) {
    return Write(ErrorResponse(absl::UnavailableError("the server is stopping")), false);
  }
  if (server_.busy() && !urgent) {
    return Write(ErrorResponse(503, absl::UnavailableError(absl::StrCat(
                                        server_.options().max_requests,
                                        " requests wait already; try again in a moment"))),
                 keep_alive_);
  }
  call_ = std::make_shared<Call>();
  if (hung_up_) GiveUp();
  // Before the handler, which may answer at once, but never from within.
  WaitForBytes();
  server_.HandOn(id_, std::move(request), call_);
}

void Connection::Answer(HttpResponse response) {
  if (state_ != State::kHandling) return;
  Write(response, keep_alive_ && !server_.draining());
}

void Connection::Write(const HttpResponse& response, bool keep_alive) {
  call_ = nullptr;
  server_.body_bytes() -= std::exchange(counted_body_bytes_, 0);
  const std::string date =
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
  out_head_ = absl::StrCat("HTTP/1.1 ", response.status, " ", ReasonPhrase(response.status),
                           "\r\nDate: ", date, "\r\n");
  if (response.status != 204) {
    absl::StrAppend(&out_head_, "Content-Type: ", response.content_type,
                    "\r\nContent-Length: ", response.body.size(), "\r\n");
  }
  for (const NameValue& header : response.headers) {
    absl::StrAppend(&out_head_, header.first, ": ", header.second, "\r\n");
  }
  absl::StrAppend(&out_head_, "Connection: ", keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  out_body_ = is_head_ || response.status == 204 ? "" : response.body;
  state_ = State::kWriting;
  ++server_.writing();
  Limit(server_.options().write_time);
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(out_head_),
                                                     asio::buffer(out_body_)};
  asio::async_write(socket_, buffers,
                    [self = shared_from_this(), keep_alive](const Error& error, size_t) {
                      self->Written(error, keep_alive);
                    });
}

void Connection::Written(const Error& error, bool keep_alive) {
  if (state_ == State::kClosed) return;
  if (error) return Close();
  --server_.writing();
  out_body_ = std::string();
  if (keep_alive) {
    NextRequest();
  } else {
    state_ = State::kLingering;
    in_ = std::string();
    Error ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    Limit(kLingerTime);
    if (hung_up_) return Close();
    WaitForBytes();
  }
  server_.EndIfDrained();
}

// ---- Server

void PendingAnswer::Respond(HttpResponse response) {
  if (answered_.exchange(true)) return;
  absl::MutexLock lock(&gate_->mu);
  if (gate_->server != nullptr) gate_->server->PostAnswer(connection_, std::move(response));
}

Server::Server(const HttpServerOptions& options, HttpHandler handler, ListeningSocket socket)
    : options_(options), handler_(std::move(handler)), address_(socket.address()) {
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
    const int open = static_cast<int>(connections_.size());
    if (open < options_.max_connections + kRefusedConnections) {
      const uint64_t id = next_id_++;
      const auto connection = std::make_shared<Connection>(*this, id, std::move(socket));
      connections_.emplace(id, connection);
      if (open < options_.max_connections) {
        connection->Begin();
      } else {
        connection->Refuse();
      }
    }
    Accept();
  });
}

void Server::HandOn(uint64_t connection, HttpRequest request, std::shared_ptr<Call> call) {
  ++requests_;
  handler_(std::move(request), std::make_shared<PendingAnswer>(gate_, connection, std::move(call)));
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
                                                              HttpHandler handler) {
  CONVD_ASSIGN_OR_RETURN(ListeningSocket socket,
                         ListeningSocket::Open("--http-address", options.address));
  return std::unique_ptr<HttpServer>(
      std::make_unique<Server>(options, std::move(handler), std::move(socket)));
}

}  // namespace convd
