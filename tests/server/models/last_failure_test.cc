#include "server/models/last_failure.h"

#include <gtest/gtest.h>

#include <vector>

namespace convd {
namespace {

// When attempts are made that fail alike, by who comes each second.
std::vector<int> Attempts(const absl::Status& status, int seconds) {
  LastFailure failure;
  std::vector<int> attempts;
  for (int second = 0; second <= seconds; ++second) {
    if (failure.TooEarly(absl::Seconds(second))) continue;
    attempts.push_back(second);
    failure.Set(status, std::nullopt, absl::Seconds(second));
  }
  return attempts;
}

TEST(LastFailure, ComesBackSoonToDamageAndEverMoreSeldomToAllElse) {
  EXPECT_EQ(Attempts(absl::DataLossError("f: is missing"), 40),
            (std::vector<int>{0, 2, 6, 14, 24, 34}));
  EXPECT_EQ(Attempts(absl::InternalError("f: can't be read"), 2000),
            (std::vector<int>{0, 10, 30, 70, 150, 310, 630, 1230, 1830}));
}

TEST(LastFailure, BeginsAnewWhereAnotherThingIsWrong) {
  LastFailure failure;
  failure.Set(absl::DataLossError("1 byte"), std::nullopt, absl::Seconds(0));
  failure.Set(absl::DataLossError("1 byte"), std::nullopt, absl::Seconds(2));
  failure.Set(absl::DataLossError("2 bytes"), std::nullopt, absl::Seconds(6));
  EXPECT_TRUE(failure.TooEarly(absl::Seconds(7)));
  EXPECT_FALSE(failure.TooEarly(absl::Seconds(8)));
  failure.Clear();
  EXPECT_FALSE(failure.TooEarly(absl::Seconds(0)));
  EXPECT_TRUE(failure.status().ok());
}

TEST(LastFailure, AttemptsThatSomebodyAskedForDoNotPutOffTheNext) {
  LastFailure failure;
  const absl::Status status = absl::ResourceExhaustedError("no memory");
  for (int second = 0; second < 10; ++second) {
    failure.Set(status, std::nullopt, absl::Seconds(second));
  }
  EXPECT_FALSE(failure.TooEarly(absl::Seconds(10)));
}

TEST(LastFailure, KnowsFilesByTheirStamps) {
  VersionStamp files;
  files[0] = FileStamp{};
  LastFailure failure;
  failure.Set(absl::DataLossError("x"), files, absl::Seconds(0));
  EXPECT_TRUE(failure.IsOf(files));
  EXPECT_FALSE(failure.IsOf(std::nullopt));
  VersionStamp others = files;
  others[0]->inode = 7;
  EXPECT_FALSE(failure.IsOf(others));
  others = files;
  others[1] = FileStamp{};
  EXPECT_FALSE(failure.IsOf(others));
  failure.Set(absl::DataLossError("x"), std::nullopt, absl::Seconds(0));
  EXPECT_FALSE(failure.IsOf(std::nullopt)) << "nobody knows what has changed";
  failure.Set(absl::InternalError("x"), files, absl::Seconds(0));
  EXPECT_FALSE(failure.IsOf(files)) << "the files may be whole";
}

}  // namespace
}  // namespace convd
