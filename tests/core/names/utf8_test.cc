#include "core/names/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

// The boundaries of Unicode 15's table 3-7, row by row.
TEST(Utf8Test, TakesWellFormedSequences) {
  for (const char* text : {"", "a", "\x7f", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xEC\xBF\xBF",
                           "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80",
                           "\xF3\xBF\xBF\xBF", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
    EXPECT_TRUE(IsUtf8(std::string("x") + text + "y")) << text;
    EXPECT_EQ(Utf8Sequence(text + std::string("y")), text[0] == 0 ? 1u : std::string(text).size());
  }
  EXPECT_TRUE(IsUtf8(std::string_view("a\0b", 3)));
}

TEST(Utf8Test, RefusesAllOthers) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2g", "\xE0\x9F\xBF",
                           "\xE1\x80", "\xED\xA0\x80", "\xEF\xBFx", "\xF0\x8F\xBF\xBF",
                           "\xF1\x80\x80", "\xF4\x90\x80\x80", "\xF5", "\xFE", "\xFF"}) {
    EXPECT_FALSE(IsUtf8(text)) << testing::PrintToString(text);
    EXPECT_FALSE(IsUtf8(std::string("x") + text)) << testing::PrintToString(text);
    EXPECT_EQ(Utf8Sequence(text), 0u) << testing::PrintToString(text);
  }
  EXPECT_EQ(Utf8Sequence(""), 0u);
}

}  // namespace
}  // namespace convd
