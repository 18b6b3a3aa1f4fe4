#include "server/rpc/status.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "core/names/utf8.h"

namespace convd {
namespace {

constexpr size_t kMaxMessage = 4096;
// A status travels percent-encoded in the trailing metadata, of which peers take 8 KiB in all: a
// longer one would arrive as RESOURCE_EXHAUSTED instead.
constexpr size_t kMaxEncoded = 6144;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kCut = "...";

struct Code {
  absl::StatusCode core;
  grpc::StatusCode rpc;
};

constexpr Code kCodes[] = {
    {absl::StatusCode::kOk, grpc::StatusCode::OK},
    {absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
    {absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN},
    {absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND},
    {absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
    {absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {absl::StatusCode::kAborted, grpc::StatusCode::ABORTED},
    {absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
    {absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
    {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
    {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS},
    {absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
};

// As gRPC's protocol over HTTP/2 encodes Status-Message.
size_t EncodedSize(std::string_view sequence) {
  if (sequence.size() > 1) return 3 * sequence.size();
  const unsigned char c = static_cast<unsigned char>(sequence[0]);
  return c >= 0x20 && c <= 0x7E && c != '%' ? 1 : 3;
}

std::string WireMessage(std::string_view message) {
  std::string out;
  size_t encoded = 0;
  size_t whole = 0;  // bytes of `out` that still leave room for the sign of a cut
  while (!message.empty()) {
    const size_t n = Utf8Sequence(message);
    const std::string_view sequence = n == 0 ? kReplacement : message.substr(0, n);
    message.remove_prefix(n == 0 ? 1 : n);
    encoded += EncodedSize(sequence);
    if (out.size() + sequence.size() > kMaxMessage || encoded > kMaxEncoded) {
      out.resize(whole);
      out += kCut;
      return out;
    }
    out += sequence;
    if (out.size() + kCut.size() <= kMaxMessage && encoded + kCut.size() <= kMaxEncoded) {
      whole = out.size();
    }
  }
  return out;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  for (const Code& code : kCodes) {
    if (code.core == status.code()) {
      return grpc::Status(code.rpc, WireMessage(std::string_view(status.message().data(),
                                                                 status.message().size())));
    }
  }
  return grpc::Status(
      grpc::StatusCode::UNKNOWN,
      WireMessage(std::string_view(status.message().data(), status.message().size())));
}

}  // namespace convd
