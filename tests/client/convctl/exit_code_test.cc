#include "client/convctl/exit_code.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace convd {
namespace {

TEST(ExitCodeTest, MapsWhatTheServerSaid) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), 0);
  for (const absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound,
        absl::StatusCode::kAlreadyExists, absl::StatusCode::kPermissionDenied,
        absl::StatusCode::kResourceExhausted, absl::StatusCode::kFailedPrecondition,
        absl::StatusCode::kAborted, absl::StatusCode::kUnimplemented, absl::StatusCode::kInternal,
        absl::StatusCode::kDataLoss, absl::StatusCode::kUnknown, absl::StatusCode::kCancelled}) {
    EXPECT_EQ(ExitCodeFor(absl::Status(code, "x")), 1) << absl::StatusCodeToString(code);
  }
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("x")), 3);
  EXPECT_EQ(ExitCodeFor(absl::DeadlineExceededError("x")), 5);
}

TEST(ExitCodeTest, OwnErrorsBringTheirs) {
  EXPECT_EQ(ExitCodeFor(UsageError("x")), 2);
  EXPECT_EQ(ExitCodeFor(JobEndedError("x")), 4);
  EXPECT_EQ(ExitCodeFor(InterruptedError("x")), 130);
  EXPECT_EQ(ExitCodeFor(WithHint(JobEndedError("x"), "y")), 4);
}

TEST(ExitCodeTest, ErrorsAreOneSentenceAndAHint) {
  EXPECT_EQ(ErrorText(absl::NotFoundError("no dataset \"x\"")), "error: no dataset \"x\"\n");
  EXPECT_EQ(ErrorText(WithUsualHint(absl::NotFoundError("no dataset \"x\""))),
            "error: no dataset \"x\"\nhint: `convctl datasets list` shows what there is\n");
  EXPECT_EQ(ErrorText(absl::InternalError("a\x1b[2J")), "error: a\\x1b[2J\n");
  EXPECT_EQ(ErrorText(InterruptedError("Stopped.")), "Stopped.\n");
}

TEST(ExitCodeTest, AMessageThatIsTooLargeNamesTheFlag) {
  // gRPC's own words.
  EXPECT_EQ(HintOf(WithUsualHint(absl::ResourceExhaustedError(
                "Received message larger than max (86240031 vs. 67108864)"))),
            "convd's --max-message-mb is the limit of a message; send less at a time, or raise it");
  EXPECT_EQ(HintOf(WithUsualHint(absl::ResourceExhaustedError("there are 16 uploads already"))),
            "");
}

TEST(ExitCodeTest, AHintOfOnesOwnStays) {
  EXPECT_EQ(HintOf(WithUsualHint(WithHint(absl::UnavailableError("x"), "mine"))), "mine");
  EXPECT_NE(HintOf(WithUsualHint(absl::UnavailableError("x"))), "");
  EXPECT_EQ(HintOf(WithUsualHint(absl::InternalError("x"))), "");
}

TEST(ExitCodeTest, JsonErrorsParse) {
  const auto error = nlohmann::json::parse(
      ErrorJson(WithHint(absl::NotFoundError("no \"x\"\n\xff"), "look")))["error"];
  EXPECT_EQ(error["code"], "NOT_FOUND");
  EXPECT_EQ(error["message"], "no \"x\"\n\ufffd");
  EXPECT_EQ(error["hint"], "look");
  EXPECT_EQ(error["exit_code"], 1);
}

}  // namespace
}  // namespace convd
