#include "client/load/http_target.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/address.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Error = boost::system::error_code;

constexpr uint64_t kLargestAnswer = uint64_t{256} << 20;
constexpr size_t kLongestMessage = 1000;

absl::StatusCode CodeOf(int status) {
  switch (status) {
    case 400:
    case 413:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kAborted;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 499:
      return absl::StatusCode::kCancelled;
    case 500:
      return absl::StatusCode::kInternal;
    case 405:
    case 501:
      return absl::StatusCode::kUnimplemented;
    case 503:
      return absl::StatusCode::kUnavailable;
    case 408:
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    default:
      return absl::StatusCode::kUnknown;
  }
}

// convd says {"error": {"message": "..."}}, the Open Inference Protocol {"error": "..."}.
std::string MessageOf(const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("error")) {
    const auto& error = json["error"];
    const auto& message = error.is_object() && error.contains("message") ? error["message"] : error;
    if (message.is_string()) return message.get<std::string>().substr(0, kLongestMessage);
  }
  return body.substr(0, kLongestMessage);
}

absl::Status StatusOf(const http::response<http::string_body>& answer) {
  const int status = static_cast<int>(answer.result_int());
  if (status >= 200 && status < 300) return absl::OkStatus();
  return absl::Status(CodeOf(status),
                      absl::StrCat("HTTP ", status, ": ", MessageOf(answer.body())));
}

// Whom to trust, and what to show. `host` is whose certificate the server has to have.
absl::StatusOr<std::shared_ptr<asio::ssl::context>> NewTls(const HttpLoad& load,
                                                           const std::string& host) {
  std::shared_ptr<asio::ssl::context> tls;
  try {
    tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  } catch (const boost::system::system_error& error) {
    return absl::InternalError(absl::StrCat("OpenSSL: ", error.what()));
  }
  Error error;
  const auto read = [&error](const char* what) -> absl::Status {
    if (!error) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(what, ": want PEM: ", error.message()));
  };
  if (load.tls_ca.empty()) {
    tls->set_default_verify_paths(error);
  } else {
    tls->add_certificate_authority(asio::buffer(load.tls_ca), error);
  }
  CONVD_RETURN_IF_ERROR(read("the authorities to trust (tls_ca)"));
  if (!load.tls_certificate.empty()) {
    tls->use_certificate_chain(asio::buffer(load.tls_certificate), error);
    CONVD_RETURN_IF_ERROR(read("the client's certificate (tls_certificate)"));
    tls->use_private_key(asio::buffer(load.tls_key), asio::ssl::context::pem, error);
    CONVD_RETURN_IF_ERROR(read("its private key (tls_key)"));
  }
  tls->set_verify_mode(asio::ssl::verify_peer, error);
  if (!error) tls->set_verify_callback(asio::ssl::host_name_verification(host), error);
  if (error) return absl::InternalError(absl::StrCat("OpenSSL: ", error.message()));
  return tls;
}

// All but what is said otherwise runs on the one thread.
class HttpTarget final : public LoadTarget {
 public:
  // `tls` is null for none; `host` is for servers with several names.
  HttpTarget(const HttpLoad& load, const tcp::endpoint& endpoint,
             std::shared_ptr<asio::ssl::context> tls, std::string host)
      : endpoint_(endpoint), tls_(std::move(tls)), host_(std::move(host)), timeout_(load.timeout) {
    const std::string authorization =
        load.token.empty() ? "" : absl::StrCat("\r\nAuthorization: Bearer ", load.token);
    for (const std::string& body : load.bodies) {
      requests_.push_back(absl::StrCat(
          "POST ", load.path, " HTTP/1.1\r\nHost: ", absl::StripPrefix(load.address, kTlsScheme),
          authorization, "\r\nContent-Type: application/json\r\nContent-Length: ", body.size(),
          "\r\n\r\n", body));
    }
    for (int i = 0; i < load.slots; ++i) slots_.push_back(std::make_unique<Slot>(i, io_));
    thread_ = std::thread([this] { io_.run(); });
  }

  ~HttpTarget() override {
    CancelAll();
    work_.reset();
    thread_.join();
  }

  // Any thread.
  int slots() const override { return static_cast<int>(slots_.size()); }

  // Any thread.
  void Start(int index, int64_t call, LoadObserver& observer) override {
    asio::dispatch(io_, [this, index, call, &observer] {
      Slot& slot = *slots_[index];
      slot.observer = &observer;
      slot.request = call % requests_.size();
      slot.ended_by = absl::OkStatus();
      slot.parser.reset();
      if (timeout_ > absl::ZeroDuration()) SetTimer(slot);
      if (slot.socket.is_open()) {
        slot.reused = true;
        Write(slot);
      } else {
        Connect(slot);
      }
    });
  }

  // Any thread.
  void CancelAll() override {
    asio::dispatch(io_, [this] {
      for (const auto& slot : slots_) End(*slot, absl::CancelledError("cancelled by the load"));
    });
  }

 private:
  struct Slot {
    Slot(int index, asio::io_context& io) : index(index), socket(io), timer(io) {}

    const int index;
    LoadObserver* observer = nullptr;  // while a call is under way
    size_t request = 0;
    bool reused = false;    // the connection had a call before
    absl::Status ended_by;  // why the connection was closed in the middle of the call
    tcp::socket socket;
    std::optional<asio::ssl::stream<tcp::socket&>> tls;  // over the socket; of its last connection
    boost::beast::flat_buffer buffer;
    std::optional<http::response_parser<http::string_body>> parser;
    asio::steady_timer timer;
    int64_t timed_call = 0;  // a timer that has run out may be told of it in the next call
  };

  void Connect(Slot& slot) {
    slot.reused = false;
    slot.buffer.clear();
    slot.socket.async_connect(endpoint_, [this, &slot](Error error) {
      if (error) return Broken(slot, "can't connect", error);
      Error ignored;
      slot.socket.set_option(tcp::no_delay(true), ignored);
      if (tls_ == nullptr) return Write(slot);
      try {
        slot.tls.emplace(slot.socket, *tls_);
      } catch (const boost::system::system_error& failed) {
        return Broken(slot, "no TLS connection", failed.code());
      }
      SSL_set_tlsext_host_name(slot.tls->native_handle(), host_.c_str());
      slot.tls->async_handshake(asio::ssl::stream_base::client, [this, &slot](Error failed) {
        if (failed) return Broken(slot, "no TLS connection", failed);
        Write(slot);
      });
    });
  }

  // What the requests travel on.
  template <typename Then>
  void OnStream(Slot& slot, Then then) {
    tls_ != nullptr ? then(*slot.tls) : then(slot.socket);
  }

  void Write(Slot& slot) {
    OnStream(slot, [&](auto& stream) {
      asio::async_write(stream, asio::buffer(requests_[slot.request]),
                        [this, &slot](Error error, size_t) {
                          if (error) return Broken(slot, "can't write", error);
                          Read(slot);
                        });
    });
  }

  void Read(Slot& slot) {
    slot.parser.emplace();
    slot.parser->body_limit(kLargestAnswer);
    OnStream(slot, [&](auto& stream) {
      http::async_read(stream, slot.buffer, *slot.parser, [this, &slot](Error error, size_t) {
        if (error) return Broken(slot, "can't read", error);
        const absl::Status status = StatusOf(slot.parser->get());
        if (!slot.parser->keep_alive()) Close(slot);
        Tell(slot, status);
      });
    });
  }

  void Broken(Slot& slot, const char* what, const Error& error) {
    Close(slot);
    if (!slot.ended_by.ok()) return Tell(slot, slot.ended_by);
    // A server closes connections that were quiet, just when the next request comes, too.
    if (slot.reused && !(slot.parser && slot.parser->got_some())) return Connect(slot);
    Tell(slot, absl::UnavailableError(absl::StrCat(what, ": ", error.message())));
  }

  void SetTimer(Slot& slot) {
    slot.timer.expires_after(absl::ToChronoNanoseconds(timeout_));
    slot.timer.async_wait([this, &slot, call = ++slot.timed_call](Error error) {
      if (error || call != slot.timed_call) return;
      End(slot, absl::DeadlineExceededError("no answer within the time allowed"));
    });
  }

  // What waits for the connection is told of its end.
  void End(Slot& slot, const absl::Status& why) {
    if (slot.observer == nullptr || !slot.ended_by.ok()) return;
    slot.ended_by = why;
    Close(slot);
  }

  void Close(Slot& slot) {
    Error ignored;
    slot.socket.close(ignored);
  }

  void Tell(Slot& slot, const absl::Status& status) {
    if (timeout_ > absl::ZeroDuration()) {
      ++slot.timed_call;
      slot.timer.cancel();
    }
    std::exchange(slot.observer, nullptr)->OnEnd(slot.index, status);
  }

  const tcp::endpoint endpoint_;
  const std::shared_ptr<asio::ssl::context> tls_;
  const std::string host_;
  const absl::Duration timeout_;
  std::vector<std::string> requests_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  std::vector<std::unique_ptr<Slot>> slots_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadTarget>> NewHttpTarget(const HttpLoad& load) {
  CONVD_RETURN_IF_ERROR(CheckServerAddress(load.address));
  absl::string_view address = load.address;
  const bool encrypted = absl::ConsumePrefix(&address, kTlsScheme) || load.tls;
  const size_t colon = address.rfind(':');
  std::string host(address.substr(0, colon));
  if (host == "unix") return absl::InvalidArgumentError("HTTP wants HOST:PORT, not unix:PATH");
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  asio::io_context io;
  Error error;
  const auto found = tcp::resolver(io).resolve(host, std::string(address.substr(colon + 1)),
                                               tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return absl::UnavailableError(absl::StrCat("can't find ", host, ": ", error.message()));
  }
  std::shared_ptr<asio::ssl::context> tls;
  if (encrypted) {
    CONVD_ASSIGN_OR_RETURN(tls, NewTls(load, host));
  }
  return std::make_unique<HttpTarget>(load, found.begin()->endpoint(), std::move(tls),
                                      std::move(host));
}

}  // namespace convd
