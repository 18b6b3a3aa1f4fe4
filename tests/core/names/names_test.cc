#include "core/names/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

using ::testing::HasSubstr;

TEST(CheckName, TakesLettersDigitsDotsUnderscoresAndDashes) {
  for (const char* name : {"a", "7", "fashion-mnist", "v1.2_b", "A..b"}) {
    EXPECT_TRUE(CheckName("model", name).ok()) << name;
  }
  EXPECT_TRUE(CheckName("model", std::string(64, 'x')).ok());
}

TEST(CheckName, RefusesWhatCouldLeaveItsFolder) {
  for (std::string name :
       {"", ".", "..", "../x", "a/b", "/etc", "-x", "_x", ".hidden", "a b", "a\\b", "\xc3\xa4"}) {
    absl::Status status = CheckName("model", name);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("model: got"));
  }
}

TEST(CheckName, ShowsNulBytesEscaped) {
  EXPECT_THAT(CheckName("dataset", std::string("a\0b", 3)).message(), HasSubstr("\"a\\000b\""));
}

TEST(CheckName, ShortensALongName) {
  std::string message(CheckName("dataset", std::string(300, 'x')).message());
  EXPECT_THAT(message, HasSubstr("(300 bytes)"));
  EXPECT_LT(message.size(), 250u);
}

}  // namespace
}  // namespace convd
