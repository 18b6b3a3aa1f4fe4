#ifndef CONVD_SERVER_HTTP_HTTP_CONNECTION_H_
#define CONVD_SERVER_HTTP_HTTP_CONNECTION_H_

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/http/http.h"
#include "server/http/http_server.h"
#include "server/http/http_stream.h"
#include "server/http/request_reader.h"

namespace convd {

// What the connection and the responder both know of a request. Of the I/O thread, but for
// `unwanted`.
struct HttpCall {
  std::atomic<bool> unwanted{false};
  absl::Status why;        // written before `unwanted`; OK where the client is gone
  bool handed_on = false;  // its body has come, and it counts as one that waits for its answer
  bool urgent = false;
  std::string request_id;  // the I/O thread's
  int64_t body_bytes = 0;  // that it holds until it is answered
};

// What all connections of a server take together.
struct HttpTraffic {
  int handed_on = 0;  // requests that aren't answered
  int waiting = 0;    // those of them that aren't urgent
  int writing = 0;    // connections
  int64_t body_bytes = 0;
  int64_t answer_bytes = 0;
};

// One connection: requests one after another, each within its times and bounds. Of the I/O thread
// alone; held by what it waits for and by the server.
class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  // The server, to its connections.
  class Host {
   public:
    virtual const HttpServerOptions& options() const = 0;
    virtual HttpTraffic& traffic() = 0;
    virtual absl::Span<char> scratch() = 0;
    virtual bool draining() const = 0;
    virtual HttpGoOn Admit(uint64_t connection, const HttpRequest& request,
                           std::shared_ptr<HttpCall> call) = 0;
    // Closes others that don't read their answers, where there are too many bytes of them.
    virtual void MakeRoom(uint64_t connection, int64_t answer_bytes) = 0;
    virtual void Forget(uint64_t connection) = 0;
    virtual void EndIfDrained() = 0;

   protected:
    ~Host() = default;
  };

  HttpConnection(Host& host, uint64_t id, boost::asio::ip::tcp::socket socket,
                 std::unique_ptr<TlsSession> tls);

  // `refused`: only says that there are too many.
  void Begin(bool refused);
  // Of the request that `call` is, if it still waits for that.
  void Answer(const HttpCall* call, HttpResponse response);
  void Close();

  // Bytes of the answer that the client hasn't read yet, and since when; 0 where there is none.
  int64_t answer_bytes() const { return answer_bytes_; }
  absl::Time answering_since() const { return answering_since_; }

 private:
  enum class State {
    kHandshake,
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
  void Received(HttpStream::Received what, absl::string_view said);
  void HangUp();
  void Advance();
  bool Admit();
  void HandOn();
  void Refuse(HttpResponse response, bool keep_alive = false);
  void Write(const HttpResponse& response, bool keep_alive);
  void Written(bool ok, bool keep_alive);
  void Limit(absl::Duration time);
  void OutOfTime();
  void CountBody();
  void LetGo();
  // OK, or why no request can be handed on.
  absl::Status CheckRoom(bool urgent) const;

  Host& host_;
  const uint64_t id_;
  const std::shared_ptr<HttpStream> stream_;
  const std::string peer_;
  boost::asio::steady_timer timer_;
  State state_ = State::kIdle;
  bool refused_ = false;
  std::string in_;  // come, and not yet read as a request
  bool waiting_for_bytes_ = false;
  bool hung_up_ = false;  // by the client, in its own direction
  std::unique_ptr<HttpRequestReader> reader_;
  int64_t counted_body_bytes_ = 0;
  bool is_head_ = false;
  bool keep_alive_ = false;
  std::shared_ptr<HttpCall> call_;  // from the header's end to the answer
  HttpGoOn go_on_;                  // kBody
  std::string out_head_, out_body_;
  int64_t answer_bytes_ = 0;
  absl::Time answering_since_;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_HTTP_CONNECTION_H_
