#include "server/call_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/json_log_lines.h"
#include "server/json_text.h"
#include "tests/core/time/hand_clock.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Json(std::string_view text) {
  std::string json;
  AppendJsonString(text, json);
  return json;
}

TEST(JsonTextTest, NothingEndsTheStringOrTheLine) {
  EXPECT_EQ(Json("a\"b\\c\n\r\t\x1b"), R"("a\"b\\c\n\u000d\u0009\u001b")");
  EXPECT_EQ(Json("zw\xc3\xb6lf \xff\xc0\xaf"), "\"zw\xc3\xb6lf \\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(Json("\xc2\x9b"
                 "31m\x7f"),
            R"("\u009b31m\u007f")");
  EXPECT_EQ(Json(std::string_view("\0", 1)), R"("\u0000")");
}

class CallLogTest : public ::testing::Test {
 protected:
  CallLogTest() : before_(spdlog::default_logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    auto logger = std::make_shared<spdlog::logger>("test", std::move(sink));
    logger->set_formatter(NewJsonLogLines());
    spdlog::set_default_logger(std::move(logger));
  }
  ~CallLogTest() override { spdlog::set_default_logger(before_); }

  void Finish(CallLog& log, absl::Status status, std::string_view principal = "ci",
              bool audited = true) {
    log.Finished({.method = "/convd.v1.Models/MoveLabel",
                  .audited = audited,
                  .status = std::move(status),
                  .duration = absl::Milliseconds(3),
                  .principal = principal,
                  .request_id = "id7",
                  .trace_id = "",
                  .target = "model m\nlabel x",
                  .model = "",
                  .peer = peer_});
  }

  const std::function<std::string()> peer_ = [] { return std::string("ipv4:1.2.3.4:5"); };
  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
  MemoryFileSystem fs_;
  HandClock clock_;
};

TEST_F(CallLogTest, AuditsToTheFileOnWhoeverRenamesIt) {
  const auto audit = AuditLog::Open(fs_, "/audit");
  ASSERT_TRUE(audit.ok()) << audit.status();
  CallLog log(audit->get(), clock_);
  Finish(log, absl::OkStatus());
  EXPECT_EQ(fs_.Bytes("/audit"),
            "{\"time\":\"2026-01-31T23:59:59.000Z\",\"principal\":\"ci\","
            "\"peer\":\"ipv4:1.2.3.4:5\",\"request_id\":\"id7\","
            "\"method\":\"/convd.v1.Models/MoveLabel\",\"target\":\"model m\\nlabel x\","
            "\"outcome\":\"OK\",\"message\":\"\"}\n");
  ASSERT_TRUE(fs_.Rename("/audit", "/audit.1").ok());
  Finish(log, absl::PermissionDeniedError("no"));
  (*audit)->Flush();
  EXPECT_THAT(fs_.Bytes("/audit"), HasSubstr("\"PERMISSION_DENIED\",\"message\":\"no\"}\n"));
  // Whoever isn't known could fill the disk.
  Finish(log, absl::UnauthenticatedError("who"), "");
  Finish(log, absl::OkStatus(), "ci", /*audited=*/false);
  (*audit)->Flush();
  EXPECT_THAT(fs_.Bytes("/audit"), Not(HasSubstr("UNAUTHENTICATED")));
  EXPECT_EQ(text_.str(), "");
  // What can't be written is at least in the log.
  fs_.FailAt(1, /*ever_after=*/true);
  Finish(log, absl::OkStatus());
  EXPECT_THAT(text_.str(), HasSubstr("\"level\":\"error\",\"message\":\"--audit-log: "));
}

// The thread of a refused call is often one that all others wait for.
TEST_F(CallLogTest, RefusedCallsWaitForNoDiskAndAreCountedWhereThereAreTooMany) {
  std::vector<std::string> lost;
  const auto audit = AuditLog::Open(
      fs_, "/audit", [&](const absl::Status&, std::string_view what) { lost.emplace_back(what); });
  ASSERT_TRUE(audit.ok());
  absl::Notification stuck, free;
  fs_.OnOperation([&](std::string_view, const std::string&) {
    if (!stuck.HasBeenNotified()) stuck.Notify();
    free.WaitForNotification();
  });
  CallLog log(audit->get(), clock_);
  Finish(log, absl::PermissionDeniedError("first"));
  stuck.WaitForNotification();
  for (size_t i = 0; i < AuditLog::kMostWaiting + 5; ++i) {
    Finish(log, absl::PermissionDeniedError("no"));
  }
  free.Notify();
  (*audit)->Flush();
  const std::string text = fs_.Bytes("/audit");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            2 + static_cast<int>(AuditLog::kMostWaiting));
  EXPECT_THAT(text, HasSubstr("\"message\":\"5 lines of calls that changed nothing are left out"));
  EXPECT_THAT(lost, ::testing::ElementsAre(HasSubstr("5 lines")));
}

TEST_F(CallLogTest, AnAuditLineBeginsOnALineOfItsOwn) {
  fs_.Bytes("/audit") = "{\"time\":\"20";  // as a full disk cuts it
  const auto audit = AuditLog::Open(fs_, "/audit");
  ASSERT_TRUE(audit.ok());
  CallLog log(audit->get(), clock_);
  Finish(log, absl::OkStatus());
  Finish(log, absl::OkStatus());
  EXPECT_THAT(fs_.Bytes("/audit"), ::testing::StartsWith("{\"time\":\"20\n{\"time\":\"2026-"));
  const std::string text = fs_.Bytes("/audit");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST_F(CallLogTest, ANewAuditLogOutlivesAPowerCut) {
  const auto audit = AuditLog::Open(fs_, "/audit");
  ASSERT_TRUE(audit.ok());
  CallLog log(audit->get(), clock_);
  Finish(log, absl::OkStatus());
  EXPECT_THAT(fs_.AfterPowerCut(/*entries_survive=*/false)->Bytes("/audit"),
              HasSubstr("MoveLabel"));
}

TEST_F(CallLogTest, WarnsOfWhatIsTheServersFaultWithTheCallsId) {
  CallLog log(nullptr, clock_);
  Finish(log, absl::InternalError("disk\ngone"), "", false);
  EXPECT_THAT(text_.str(), HasSubstr("\"level\":\"warning\",\"message\":\"call id7 "
                                     "/convd.v1.Models/MoveLabel: INTERNAL: disk\\\\ngone\"}\n"));
  text_.str("");
  Finish(log, absl::NotFoundError("none"));
  EXPECT_THAT(text_.str(), HasSubstr("\"level\":\"info\",\"message\":\"audit {\\\"time\\\""));
}

}  // namespace
}  // namespace convd
