#include "client/convctl/terminal.h"

#include <gtest/gtest.h>

#include <map>

namespace convd {
namespace {

Terminal Describe(bool is_tty, std::map<std::string, std::string> env) {
  return DescribeTerminal(is_tty, [&](const char* name) { return env[name]; });
}

TEST(TerminalTest, ColorsFollowTheTerminalsOwnWord) {
  EXPECT_EQ(Describe(true, {{"TERM", "xterm"}}).colors, Colors::kNone);
  EXPECT_EQ(Describe(true, {{"TERM", "xterm-256color"}}).colors, Colors::k256);
  EXPECT_EQ(Describe(true, {{"TERM", "xterm"}, {"COLORTERM", "truecolor"}}).colors,
            Colors::kTrueColor);
}

TEST(TerminalTest, NoColorIsRespectedAndKeepsTheBar) {
  const Terminal terminal =
      Describe(true, {{"TERM", "xterm-256color"}, {"COLORTERM", "truecolor"}, {"NO_COLOR", "1"}});
  EXPECT_EQ(terminal.colors, Colors::kNone);
  EXPECT_TRUE(terminal.interactive);
}

TEST(TerminalTest, PipesAndDumbTerminalsGetPlainLines) {
  EXPECT_FALSE(Describe(false, {{"TERM", "xterm-256color"}}).interactive);
  EXPECT_EQ(Describe(false, {{"TERM", "xterm-256color"}}).colors, Colors::kNone);
  EXPECT_FALSE(Describe(true, {{"TERM", "dumb"}}).interactive);
  EXPECT_FALSE(Describe(true, {}).interactive);
}

TEST(TerminalTest, TheFirstLocaleVariableThatIsSetDecides) {
  EXPECT_TRUE(Describe(true, {{"LANG", "en_GB.UTF-8"}}).utf8);
  EXPECT_TRUE(Describe(true, {{"LC_CTYPE", "C.utf8"}}).utf8);
  EXPECT_FALSE(Describe(true, {{"LANG", "en_GB.UTF-8"}, {"LC_ALL", "C"}}).utf8);
  EXPECT_FALSE(Describe(true, {}).utf8);
}

}  // namespace
}  // namespace convd
