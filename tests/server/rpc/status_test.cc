#include "server/rpc/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace convd {
namespace {

using ::testing::EndsWith;
using ::testing::SizeIs;

// The canonical codes' numbers, as google/rpc/code.proto writes them down.
TEST(ToGrpcStatusTest, EveryCodeKeepsItsNumberAndItsMessage) {
  const std::pair<absl::StatusCode, int> codes[] = {
      {absl::StatusCode::kCancelled, 1},          {absl::StatusCode::kUnknown, 2},
      {absl::StatusCode::kInvalidArgument, 3},    {absl::StatusCode::kDeadlineExceeded, 4},
      {absl::StatusCode::kNotFound, 5},           {absl::StatusCode::kAlreadyExists, 6},
      {absl::StatusCode::kPermissionDenied, 7},   {absl::StatusCode::kResourceExhausted, 8},
      {absl::StatusCode::kFailedPrecondition, 9}, {absl::StatusCode::kAborted, 10},
      {absl::StatusCode::kOutOfRange, 11},        {absl::StatusCode::kUnimplemented, 12},
      {absl::StatusCode::kInternal, 13},          {absl::StatusCode::kUnavailable, 14},
      {absl::StatusCode::kDataLoss, 15},          {absl::StatusCode::kUnauthenticated, 16},
  };
  for (const auto& [code, number] : codes) {
    const grpc::Status status = ToGrpcStatus(absl::Status(code, "epochs: got 0"));
    EXPECT_EQ(static_cast<int>(status.error_code()), number);
    EXPECT_EQ(status.error_message(), "epochs: got 0");
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(ToGrpcStatusTest, ACodeThatIsNoneBecomesUnknown) {
  const grpc::Status status = ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(99), "odd"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_EQ(status.error_message(), "odd");
}

TEST(ToGrpcStatusTest, CutsALongMessageAtFourKibibytes) {
  const std::string longest(4096, 'x');
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(longest)).error_message(), longest);
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(longest + "x")).error_message(),
            std::string(4093, 'x') + "...");
}

TEST(ToGrpcStatusTest, NeverCutsWithinACharacter) {
  for (int shift = 0; shift < 4; ++shift) {
    std::string text(4090 + shift, 'x');
    for (int i = 0; i < 10; ++i) text += "\xF0\x9F\x90\x88";
    const std::string message = ToGrpcStatus(absl::InternalError(text)).error_message();
    EXPECT_THAT(message, SizeIs(::testing::Le(4096u)));
    EXPECT_THAT(message, EndsWith("..."));
    const size_t cats = message.size() - 3 - (4090 + shift > 4093 ? 4093 : 4090 + shift);
    EXPECT_EQ(cats % 4, 0u) << shift;
  }
}

// Percent-encoded, 4 KiB of these would be 12 KiB, and the client would see RESOURCE_EXHAUSTED.
TEST(ToGrpcStatusTest, CutsWhatWouldBeTooLongOnTheWire) {
  const std::string message =
      ToGrpcStatus(absl::InternalError(std::string(4096, '%'))).error_message();
  EXPECT_EQ(message, std::string(2047, '%') + "...");
}

TEST(ToGrpcStatusTest, ReplacesBytesThatAreNoUtf8) {
  const std::pair<std::string, std::string> cases[] = {
      {"a\xFFz", "a\xEF\xBF\xBDz"},
      {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                  // overlong '/'
      {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                  // a surrogate
      {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},  // > U+10FFFF
      {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                  // ends early
      {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
      {"\xE2\x82\xAC\xF0\x9F\x90\x88", "\xE2\x82\xAC\xF0\x9F\x90\x88"},
  };
  for (const auto& [in, out] : cases) {
    EXPECT_EQ(ToGrpcStatus(absl::NotFoundError(in)).error_message(), out);
  }
}

}  // namespace
}  // namespace convd
