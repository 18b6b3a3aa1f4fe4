#include "server/http/http_stream.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Error = boost::system::error_code;

// That are encrypted at a time: an answer isn't held twice.
constexpr size_t kPieceBytes = size_t{64} << 10;
// Of what TLS itself has to say to a client that doesn't read it.
constexpr size_t kMostUnread = size_t{64} << 10;

bool IsJustEmpty(const Error& error) {
  return error == asio::error::would_block || error == asio::error::try_again ||
         error == asio::error::interrupted;
}

}  // namespace

HttpStream::HttpStream(tcp::socket socket, std::unique_ptr<TlsSession> tls)
    : socket_(std::move(socket)), tls_(std::move(tls)) {
  Error ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
}

std::string HttpStream::Peer() const {
  Error ignored;
  const tcp::endpoint peer = socket_.remote_endpoint(ignored);
  return absl::StrCat(peer.address().to_string(), ":", peer.port());
}

std::vector<std::string> HttpStream::CertificateNames() const {
  return tls_ != nullptr ? tls_->PeerNames() : std::vector<std::string>();
}

void HttpStream::Receive(absl::Span<char> scratch, OnReceived received) {
  if (next_ != Received::kBytes) {
    return asio::post(executor(), [self = shared_from_this(), received = std::move(received)] {
      if (self->socket_.is_open()) received(self->next_, "");
    });
  }
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this(), scratch,
                                              received = std::move(received)](const Error& error) {
    if (!self->socket_.is_open()) return;
    if (error) return received(Received::kBroken, "");
    self->ReadSome(scratch, received);
  });
}

void HttpStream::ReadSome(absl::Span<char> scratch, const OnReceived& received) {
  Error error;
  const size_t n = socket_.read_some(asio::buffer(scratch.data(), scratch.size()), error);
  if (IsJustEmpty(error)) return received(Received::kBytes, "");
  if (error == asio::error::eof) return received(Received::kEnd, "");
  if (error) return received(Received::kBroken, "");
  const absl::string_view bytes(scratch.data(), n);
  if (tls_ == nullptr) return received(Received::kBytes, bytes);
  said_.clear();
  const TlsSession::Received got = tls_->Receive(bytes, said_);
  if (got == TlsSession::Received::kPlainHttp) return received(Received::kPlainHttp, "");
  // An answer to the client's part of TLS, or why there is none.
  Pump();
  if (got == TlsSession::Received::kEnd) next_ = Received::kEnd;
  if (got == TlsSession::Received::kBroken || tls_->wire_bytes() > kMostUnread) {
    next_ = Received::kBroken;
  }
  received(said_.empty() ? next_ : Received::kBytes, said_);
}

void HttpStream::AwaitGone(std::function<void()> gone) {
  socket_.async_wait(tcp::socket::wait_error,
                     [self = shared_from_this(), gone = std::move(gone)](const Error&) {
                       if (self->socket_.is_open()) gone();
                     });
}

void HttpStream::Write(absl::string_view head, absl::string_view body, OnWritten written) {
  if (tls_ != nullptr) {
    rest_[0] = head;
    rest_[1] = body;
    written_ = std::move(written);
    return Pump();
  }
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head.data(), head.size()),
                                                     asio::buffer(body.data(), body.size())};
  asio::async_write(
      socket_, buffers,
      [self = shared_from_this(), written = std::move(written)](const Error& error, size_t) {
        if (self->socket_.is_open()) written(!error);
      });
}

bool HttpStream::EncryptNext() {
  std::string piece;
  for (absl::string_view& rest : rest_) {
    const size_t n = std::min(rest.size(), kPieceBytes - piece.size());
    piece.append(rest.data(), n);
    rest.remove_prefix(n);
  }
  return tls_->Send(piece);
}

void HttpStream::Pump() {
  if (wire_busy_ || tls_ == nullptr) return;
  if (written_ != nullptr && !EncryptNext()) {
    return asio::post(executor(), [self = shared_from_this()] {
      if (self->written_ != nullptr) std::exchange(self->written_, nullptr)(false);
    });
  }
  wire_ = tls_->TakeWire();
  if (wire_.empty()) return;
  wire_busy_ = true;
  asio::async_write(socket_, asio::buffer(wire_),
                    [self = shared_from_this()](const Error& error, size_t) {
                      self->wire_busy_ = false;
                      if (!self->socket_.is_open()) return;
                      const bool all = self->rest_[0].empty() && self->rest_[1].empty();
                      if (self->written_ != nullptr && (error || all)) {
                        std::exchange(self->written_, nullptr)(!error);
                      }
                      if (!error && self->socket_.is_open()) self->Pump();
                    });
}

bool HttpStream::WriteAtOnce(absl::string_view text) {
  if (tls_ != nullptr) {
    const bool sent = tls_->Send(text);
    Pump();
    return sent;
  }
  // So few bytes always fit.
  Error error;
  asio::write(socket_, asio::buffer(text.data(), text.size()), error);
  return !error;
}

void HttpStream::EndSending() {
  if (tls_ != nullptr && !wire_busy_) {
    tls_->End();
    const std::string last = tls_->TakeWire();
    Error ignored;
    asio::write(socket_, asio::buffer(last), ignored);
  }
  Error ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

void HttpStream::Close() {
  written_ = nullptr;
  Error ignored;
  socket_.close(ignored);
}

}  // namespace convd
