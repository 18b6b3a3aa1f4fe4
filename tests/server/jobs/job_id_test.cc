#include "server/jobs/job_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

using ::testing::HasSubstr;

// 1769903999 is 2026-01-31T23:59:59Z by `date -u -d @1769903999`.
const absl::Time kTime = absl::FromUnixSeconds(1'769'903'999) + absl::Milliseconds(42);

TEST(JobIdTest, IsTheTimeOfSubmission) {
  EXPECT_EQ(NextJobId(kTime, ""), "j-20260131-235959-042");
  EXPECT_EQ(NextJobId(kTime + absl::Microseconds(999), ""), "j-20260131-235959-042");
}

TEST(JobIdTest, GoesOnAfterTheLastOneWhereTheClockDoesNot) {
  EXPECT_EQ(NextJobId(kTime, "j-20260131-235959-042"), "j-20260131-235959-043");
  EXPECT_EQ(NextJobId(kTime - absl::Hours(5), "j-20260131-235959-999"), "j-20260201-000000-000");
  EXPECT_EQ(NextJobId(kTime, "j-20260131-235959-041"), "j-20260131-235959-042");
}

TEST(JobIdTest, EachIsGreaterThanTheOneBefore) {
  std::string last;
  for (int i = 0; i < 3000; ++i) {
    const std::string id = NextJobId(kTime, last);
    EXPECT_LT(last, id);
    EXPECT_TRUE(CheckJobId(id).ok()) << id;
    last = id;
  }
  EXPECT_EQ(last, "j-20260201-000002-041");
}

TEST(JobIdTest, StaysWellFormedForClocksThatWereNeverSet) {
  EXPECT_EQ(NextJobId(absl::InfinitePast(), ""), "j-19700101-000000-000");
  EXPECT_TRUE(CheckJobId(NextJobId(absl::InfiniteFuture(), "")).ok());
}

TEST(JobIdTest, OnlyThisFormIsAnId) {
  for (const std::string& id :
       {std::string(), std::string("j-20260131-235959-04"), std::string("j-20260131-235959-0422"),
        std::string("J-20260131-235959-042"), std::string("j-20260131-235959_042"),
        std::string("../../etc/passwd"), std::string("j-20260131-235959-04\0", 21),
        std::string(1 << 20, 'j')}) {
    const absl::Status status = CheckJobId(id);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << id.substr(0, 40);
    EXPECT_THAT(std::string(status.message()), HasSubstr("id: got"));
    EXPECT_LT(status.message().size(), 600u);
  }
}

}  // namespace
}  // namespace convd
