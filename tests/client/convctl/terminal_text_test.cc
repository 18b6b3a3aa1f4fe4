#include "client/convctl/terminal_text.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

TEST(TerminalTextTest, ControlCharactersAreShownNotObeyed) {
  EXPECT_EQ(Printable("plain, naïve, 靴"), "plain, naïve, 靴");
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Printable("\x7f"), "\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");           // C1: CSI as one character
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(Printable("a\nb"), "a\\x0ab");
  EXPECT_EQ(Printable("a\nb", /*keep_lines=*/true), "a\nb");
}

TEST(TerminalTextTest, BytesThatAreNoUtf8AreShown) {
  EXPECT_EQ(Printable("\xff"), "\\xff");
  EXPECT_EQ(Printable("\xc3"), "\\xc3");                    // cut short
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong /
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(Printable("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
  EXPECT_EQ(Printable("\xc3(x"), "\\xc3(x");
}

TEST(TerminalTextTest, CutsAtColumnsNeverInsideACharacter) {
  EXPECT_EQ(CutToWidth("абвг", 2), "аб");
  EXPECT_EQ(CutToWidth("靴靴", 3), "靴");
  EXPECT_EQ(CutToWidth("abc", 0), "");
  EXPECT_EQ(CutToWidth("abc", 9), "abc");
}

}  // namespace
}  // namespace convd
