#include "server/http/http_connection.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/time/clock.h"
#include "server/http/error_response.h"

namespace convd {
namespace {

// Of requests that a client sends before the answer to the one before.
constexpr size_t kReadAheadBytes = size_t{16} << 10;
// A client that was refused may still be sending; a connection that is closed while there is
// something to read is reset, and the answer with it.
constexpr absl::Duration kLingerTime = absl::Seconds(2);
constexpr absl::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool IsUrgent(const HttpServerOptions& options, const std::string& path) {
  const std::vector<std::string>& urgent = options.urgent_paths;
  return std::find(urgent.begin(), urgent.end(), path) != urgent.end();
}

// For whoever is told that it failed; the logs have it under the same name.
void NameAnswer(const std::string& request_id, HttpResponse& response) {
  if (!request_id.empty()) response.headers.emplace_back("X-Request-Id", request_id);
}

std::string HeadOf(const HttpResponse& response, bool keep_alive) {
  const std::string date =
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ", ReasonPhrase(response.status),
                                  "\r\nDate: ", date, "\r\n");
  if (response.status != 204) {
    absl::StrAppend(&head, "Content-Type: ", response.content_type,
                    "\r\nContent-Length: ", response.body.size(), "\r\n");
  }
  for (const NameValue& header : response.headers) {
    absl::StrAppend(&head, header.first, ": ", header.second, "\r\n");
  }
  absl::StrAppend(&head, "Connection: ", keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  return head;
}

}  // namespace

HttpConnection::HttpConnection(Host& host, uint64_t id, boost::asio::ip::tcp::socket socket,
                               std::unique_ptr<TlsSession> tls)
    : host_(host),
      id_(id),
      stream_(std::make_shared<HttpStream>(std::move(socket), std::move(tls))),
      peer_(stream_->Peer()),
      timer_(stream_->executor()) {}

void HttpConnection::Begin(bool refused) {
  refused_ = refused;
  if (!stream_->handshaking()) return NextRequest();
  state_ = State::kHandshake;
  Limit(host_.options().header_time);
  WaitForBytes();
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kWriting) --host_.traffic().writing;
  if (state_ == State::kIdle) stream_->EndSending();
  state_ = State::kClosed;
  LetGo();
  host_.traffic().answer_bytes -= std::exchange(answer_bytes_, 0);
  timer_.cancel();
  stream_->Close();
  host_.Forget(id_);
  host_.EndIfDrained();
}

// Of the request: nobody waits for its answer any more, or that is being written.
void HttpConnection::LetGo() {
  if (call_ != nullptr) call_->unwanted.store(true, std::memory_order_release);
  call_ = nullptr;
  go_on_ = nullptr;
  host_.traffic().body_bytes -= std::exchange(counted_body_bytes_, 0);
}

void HttpConnection::NextRequest() {
  if (refused_) {
    return Refuse(ErrorResponse(503, absl::UnavailableError(absl::StrCat(
                                         host_.options().max_connections,
                                         " connections are open already; try again in a moment"))));
  }
  reader_ = HttpRequestReader::New(host_.options().read);
  is_head_ = false;
  state_ = State::kIdle;
  Limit(host_.options().idle_time);
  Advance();
}

void HttpConnection::Limit(absl::Duration time) {
  timer_.expires_after(absl::ToChronoNanoseconds(time));
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    // One that was set anew just as it fired still comes here.
    if (!error && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->OutOfTime();
  });
}

void HttpConnection::OutOfTime() {
  const HttpServerOptions& options = host_.options();
  if (state_ == State::kHandling || state_ == State::kClosed) return;
  if (state_ != State::kHeader && state_ != State::kBody) return Close();
  const bool header = state_ == State::kHeader;
  Refuse(ErrorResponse(
      408, absl::DeadlineExceededError(absl::StrCat(
               header ? "the header" : "the body", " didn't come within ",
               absl::FormatDuration(header ? options.header_time : options.body_time)))));
}

void HttpConnection::WaitForBytes() {
  if (waiting_for_bytes_ || hung_up_ || state_ == State::kClosed) return;
  // What has been sent ahead is enough until this request is answered.
  const bool answering = state_ == State::kHandling || state_ == State::kWriting;
  if (answering && in_.size() >= kReadAheadBytes) return;
  waiting_for_bytes_ = true;
  stream_->Receive(host_.scratch(),
                   [self = shared_from_this()](HttpStream::Received what, absl::string_view said) {
                     self->waiting_for_bytes_ = false;
                     if (self->state_ != State::kClosed) self->Received(what, said);
                   });
}

void HttpConnection::Received(HttpStream::Received what, absl::string_view said) {
  switch (what) {
    case HttpStream::Received::kBroken:
      return Close();
    case HttpStream::Received::kEnd:
      return HangUp();
    case HttpStream::Received::kPlainHttp:
      stream_->DropTls();
      return Refuse(ErrorResponse(
          400, absl::InvalidArgumentError("this address speaks HTTPS alone; want https://")));
    case HttpStream::Received::kBytes:
      break;
  }
  if (state_ == State::kLingering) return WaitForBytes();
  in_.append(said.data(), said.size());
  if (state_ == State::kHandshake) {
    return stream_->handshaking() ? WaitForBytes() : NextRequest();
  }
  // Else only to see whether the client hangs up.
  if (state_ == State::kHandling || state_ == State::kWriting) return WaitForBytes();
  Advance();
}

void HttpConnection::HangUp() {
  hung_up_ = true;
  // Perhaps only in its own direction: whoever sends a request and then says that it was the last
  // is answered. Whoever has closed it altogether resets it once there is something to read.
  if (state_ != State::kHandling && state_ != State::kWriting) return Close();
  if (state_ == State::kHandling && reader_->may_continue() && !stream_->WriteAtOnce(kContinue)) {
    return Close();
  }
  stream_->AwaitGone([self = shared_from_this()] { self->Close(); });
}

void HttpConnection::CountBody() {
  const int64_t now = static_cast<int64_t>(reader_->body_bytes());
  host_.traffic().body_bytes += now - counted_body_bytes_;
  counted_body_bytes_ = now;
}

void HttpConnection::Advance() {
  using Read = HttpRequestReader::State;
  const HttpServerOptions& options = host_.options();
  while (!in_.empty()) {
    if (state_ == State::kIdle) {
      state_ = State::kHeader;
      Limit(options.header_time);
    }
    in_.erase(0, reader_->Read(in_));
    if (reader_->state() == Read::kRefused) return Refuse(reader_->refusal());
    if (reader_->state() == Read::kHeader) break;  // more has to come
    CountBody();
    if (host_.traffic().body_bytes > options.waiting_body_bytes) {
      return Refuse(ErrorResponse(
          503, absl::UnavailableError(absl::StrCat("requests of ", options.waiting_body_bytes,
                                                   " bytes are here already; try again in a "
                                                   "moment"))));
    }
    const bool header_came = state_ == State::kHeader;
    if (header_came && !Admit()) return;
    if (reader_->state() == Read::kWhole) return HandOn();
    if (header_came) {
      state_ = State::kBody;
      Limit(options.body_time);
      if (reader_->awaits_continue() && in_.empty() && reader_->body_bytes() == 0 &&
          !stream_->WriteAtOnce(kContinue)) {
        return Close();
      }
      continue;
    }
    break;
  }
  if (hung_up_) return Close();
  WaitForBytes();
}

absl::Status HttpConnection::CheckRoom(bool urgent) const {
  if (urgent) return absl::OkStatus();
  if (host_.draining()) return absl::UnavailableError("the server is stopping");
  const int most = host_.options().max_requests;
  if (host_.traffic().waiting < most) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(most, " requests wait already; try again in a moment"));
}

// False where the request is being answered already, its body unread.
bool HttpConnection::Admit() {
  // Behind a body that isn't read there is no next request.
  const bool whole = reader_->state() == HttpRequestReader::State::kWhole;
  keep_alive_ = whole && reader_->keep_alive();
  HttpRequest& request = reader_->request();
  is_head_ = request.method == "HEAD";
  request.peer = peer_;
  request.came = Clock::Real().Monotonic();
  request.encrypted = stream_->encrypted();
  request.certificate_names = stream_->CertificateNames();
  call_ = std::make_shared<HttpCall>();
  call_->urgent = IsUrgent(host_.options(), request.path);
  if (const absl::Status room = CheckRoom(call_->urgent); !room.ok()) {
    Refuse(ErrorResponse(503, room), keep_alive_ && !host_.draining());
    return false;
  }
  go_on_ = host_.Admit(id_, request, call_);
  if (go_on_ != nullptr) return true;
  state_ = State::kHandling;
  timer_.cancel();
  WaitForBytes();
  return false;
}

void HttpConnection::HandOn() {
  if (const absl::Status room = CheckRoom(call_->urgent); !room.ok()) {
    return Refuse(ErrorResponse(503, room), reader_->keep_alive() && !host_.draining());
  }
  state_ = State::kHandling;
  timer_.cancel();
  keep_alive_ = reader_->keep_alive();
  ++host_.traffic().handed_on;
  if (!call_->urgent) ++host_.traffic().waiting;
  call_->handed_on = true;
  call_->body_bytes = std::exchange(counted_body_bytes_, 0);
  // Before the handler, which may answer at once, but never from within.
  WaitForBytes();
  const HttpGoOn go_on = std::exchange(go_on_, nullptr);
  go_on(reader_->Take());
}

void HttpConnection::Answer(const HttpCall* call, HttpResponse response) {
  if (state_ != State::kHandling || call != call_.get()) return;
  if (!response.outcome.ok()) NameAnswer(call_->request_id, response);
  Write(response, keep_alive_ && !host_.draining());
}

// By the server itself, before a handler has seen the request.
void HttpConnection::Refuse(HttpResponse response, bool keep_alive) {
  std::string id;
  if (call_ != nullptr) {
    call_->why = response.outcome;
    id = call_->request_id;
  }
  // What admitted it tells of it, too.
  const bool told = go_on_ != nullptr;
  if (!told && host_.options().on_refused) id = host_.options().on_refused(response, peer_);
  NameAnswer(id, response);
  Write(response, keep_alive);
}

void HttpConnection::Write(const HttpResponse& response, bool keep_alive) {
  LetGo();
  out_head_ = HeadOf(response, keep_alive);
  out_body_ = is_head_ || response.status == 204 ? "" : response.body;
  state_ = State::kWriting;
  ++host_.traffic().writing;
  answer_bytes_ = static_cast<int64_t>(out_head_.size() + out_body_.size());
  answering_since_ = absl::Now();
  host_.traffic().answer_bytes += answer_bytes_;
  host_.MakeRoom(id_, answer_bytes_);
  Limit(host_.options().write_time);
  stream_->Write(out_head_, out_body_, [self = shared_from_this(), keep_alive](bool ok) {
    self->Written(ok, keep_alive);
  });
}

void HttpConnection::Written(bool ok, bool keep_alive) {
  if (state_ == State::kClosed) return;
  if (!ok) return Close();
  --host_.traffic().writing;
  host_.traffic().answer_bytes -= std::exchange(answer_bytes_, 0);
  out_body_ = std::string();
  if (keep_alive) {
    NextRequest();
  } else {
    state_ = State::kLingering;
    in_ = std::string();
    stream_->EndSending();
    Limit(kLingerTime);
    if (hung_up_) return Close();
    WaitForBytes();
  }
  host_.EndIfDrained();
}

}  // namespace convd
