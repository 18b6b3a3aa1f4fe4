#include "server/http/request_reader.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/optional.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/http/error_response.h"

namespace convd {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

// Of headers, and of query parameters. Each takes many times the two bytes that it may be sent in.
constexpr size_t kMostFields = 128;

// "0 CRLF CRLF". So many bytes at least are still to come wherever a chunked body isn't at its end,
// and with fewer of them Beast before 1.86 believes an assertion of its own broken
// (https://github.com/boostorg/beast/pull/2861).
constexpr size_t kLastChunkBytes = 5;

std::string ToString(beast::string_view text) { return std::string(text.data(), text.size()); }

// Beast's grammar, with fields kept as this server wants them.
class Reader final : public HttpRequestReader, private http::basic_parser<true> {
 public:
  explicit Reader(const HttpReadLimits& limits) : limits_(limits) {
    basic_parser::header_limit(static_cast<std::uint32_t>(limits.header_bytes));
    basic_parser::body_limit(static_cast<std::uint64_t>(limits.body_bytes));
  }

  size_t Read(absl::string_view bytes) override {
    size_t taken = 0;
    while (!is_done() && taken < bytes.size()) {
      if (is_header_done() && chunked() && bytes.size() - taken < kLastChunkBytes) break;
      beast::error_code error;
      const bool in_header = !is_header_done();
      const size_t body_before = body_bytes();
      const size_t n =
          put(boost::asio::const_buffer(bytes.data() + taken, bytes.size() - taken), error);
      taken += n;
      // Beast's own limit is of what it can't make sense of yet.
      if (in_header && (header_taken_ += n) > limits_.header_bytes) {
        if (state_ != State::kRefused) RefuseFor(http::error::header_limit);
        return taken;
      }
      // Within a body it is a line before a chunk, or what follows the last one; as long when it
      // comes at once as when it comes bit by bit.
      const bool incomplete = error == http::error::need_more;
      const size_t line = incomplete ? bytes.size() - taken + 1 : n;
      if (!in_header && chunked() && body_bytes() == body_before && line > limits_.header_bytes) {
        Refuse(400,
               absl::StrCat("a chunk's header, or what follows the last chunk, is longer than ",
                            limits_.header_bytes, " bytes"));
        return taken;
      }
      if (incomplete) break;
      if (error) {
        if (state_ != State::kRefused) RefuseFor(error);
        return taken;
      }
    }
    state_ = is_done() ? State::kWhole : is_header_done() ? State::kBody : State::kHeader;
    return taken;
  }

  State state() const override { return state_; }
  const HttpResponse& refusal() const override { return refusal_; }
  bool awaits_continue() const override { return state_ == State::kBody && expects_continue_; }
  bool may_continue() const override { return version_ >= 11; }
  bool keep_alive() const override { return basic_parser::keep_alive(); }
  size_t body_bytes() const override { return request_.body.size(); }
  HttpRequest& request() override { return request_; }
  HttpRequest Take() override { return std::move(request_); }

 private:
  void Refuse(int http_status, absl::string_view message) {
    state_ = State::kRefused;
    refusal_ = ErrorResponse(http_status, http_status == 501 ? absl::UnimplementedError(message)
                                                             : absl::InvalidArgumentError(message));
  }

  void RefuseFor(const beast::error_code& error) {
    if (error == http::error::header_limit) {
      return Refuse(431, absl::StrCat("the request line and the headers are longer than ",
                                      limits_.header_bytes, " bytes, the most this server reads"));
    }
    if (error == http::error::body_limit) {
      return Refuse(413, absl::StrCat("the body is longer than ", limits_.body_bytes,
                                      " bytes, the most this server reads (--max-message-mb)"));
    }
    Refuse(400, absl::StrCat("this is no HTTP/1.1 request: ", error.message()));
  }

  void RefuseWith(int http_status, absl::string_view message, beast::error_code& error) {
    Refuse(http_status, message);
    error = http::error::bad_value;
  }

  void on_request_impl(http::verb, beast::string_view method, beast::string_view target,
                       int version, beast::error_code& error) override {
    version_ = version;
    request_.method = ToString(method);
    std::string whole = ToString(target);
    // A proxy is sent the whole address, whose host counts, whatever the header says (RFC 9112).
    if (!whole.empty() && whole[0] != '/' && whole != "*") {
      absl::string_view rest = whole;
      const bool scheme = absl::StartsWithIgnoreCase(rest, "http://") ||
                          absl::StartsWithIgnoreCase(rest, "https://");
      rest.remove_prefix(scheme ? rest.find("://") + 3 : 0);
      const size_t end = std::min(rest.find_first_of("/?"), rest.size());
      target_host_ = std::string(rest.substr(0, end));
      if (!scheme || target_host_.empty() || absl::StrContains(target_host_, "@")) {
        return RefuseWith(
            400, "the request's target is no path; want one that begins with /, or http://HOST/...",
            error);
      }
      rest.remove_prefix(end);
      whole = absl::StrCat(absl::StartsWith(rest, "/") ? "" : "/", rest);
    }
    const size_t mark = whole.find('?');
    request_.path = whole.substr(0, mark);
    if (mark == whole.npos) return;
    for (absl::string_view part :
         absl::StrSplit(absl::string_view(whole).substr(mark + 1), '&', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> value =
          absl::StrSplit(part, absl::MaxSplits('=', 1));
      if (request_.query.size() == kMostFields) {
        return RefuseWith(400, absl::StrCat("more than ", kMostFields, " query parameters"), error);
      }
      NameValue decoded;
      if (!PercentDecode(value.first, true, decoded.first) ||
          !PercentDecode(value.second, true, decoded.second)) {
        return RefuseWith(400, "the query has a % without two hexadecimal digits behind it", error);
      }
      request_.query.push_back(std::move(decoded));
    }
  }

  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}

  void on_field_impl(http::field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    if (header_done_) return;  // what follows the last chunk
    if (request_.headers.size() == kMostFields) {
      return RefuseWith(431, absl::StrCat("more than ", kMostFields, " headers"), error);
    }
    request_.headers.emplace_back(absl::AsciiStrToLower(ToString(name)), ToString(value));
  }

  void on_header_impl(beast::error_code& error) override {
    header_done_ = true;
    int hosts = 0;
    for (NameValue& header : request_.headers) {
      if (header.first == "host") {
        ++hosts;
        if (!target_host_.empty()) header.second = target_host_;
      }
      if (header.first == "transfer-encoding" &&
          !absl::EqualsIgnoreCase(header.second, "chunked")) {
        return RefuseWith(501, "transfer-encoding: this server reads chunked, and no other", error);
      }
      if (header.first == "content-encoding" &&
          !absl::EqualsIgnoreCase(header.second, "identity")) {
        return RefuseWith(501, "content-encoding: this server takes bodies as they are", error);
      }
      if (header.first == "expect") {
        if (!absl::EqualsIgnoreCase(header.second, "100-continue")) {
          return RefuseWith(417, "expect: this server knows 100-continue, and no other", error);
        }
        expects_continue_ = true;
      }
    }
    if (hosts > 1 || (hosts == 0 && version_ >= 11)) {
      RefuseWith(400, absl::StrCat("host: got ", hosts, " of them; want one"), error);
    }
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code&) override {}

  size_t on_body_impl(beast::string_view body, beast::error_code&) override {
    request_.body.append(body.data(), body.size());
    return body.size();
  }

  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code&) override {}

  size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, beast::error_code&) override {
    request_.body.append(body.data(), body.size());
    return body.size();
  }

  void on_finish_impl(beast::error_code&) override {}

  const HttpReadLimits limits_;
  State state_ = State::kHeader;
  int version_ = 11;         // ten times HTTP's
  std::string target_host_;  // of an absolute target
  size_t header_taken_ = 0;  // bytes
  bool header_done_ = false;
  bool expects_continue_ = false;
  HttpRequest request_;
  HttpResponse refusal_;
};

}  // namespace

std::unique_ptr<HttpRequestReader> HttpRequestReader::New(const HttpReadLimits& limits) {
  return std::make_unique<Reader>(limits);
}

bool PercentDecode(absl::string_view text, bool plus_is_space, std::string& decoded) {
  const auto digit = [](unsigned char c) {
    return absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
  };
  decoded.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
          !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]))) {
        return false;
      }
      decoded += static_cast<char>(16 * digit(text[i + 1]) + digit(text[i + 2]));
      i += 2;
    } else {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return true;
}

}  // namespace convd
