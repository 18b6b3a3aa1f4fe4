#include "client/convctl/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace convd {

Terminal DescribeTerminal(bool is_tty, const std::function<std::string(const char*)>& env) {
  Terminal terminal;
  const std::string term = env("TERM");
  terminal.interactive = is_tty && !term.empty() && term != "dumb";
  // The first of these that is set decides, as setlocale does.
  std::string locale = env("LC_ALL");
  if (locale.empty()) locale = env("LC_CTYPE");
  if (locale.empty()) locale = env("LANG");
  const std::string lower = absl::AsciiStrToLower(locale);
  terminal.utf8 = absl::StrContains(lower, "utf-8") || absl::StrContains(lower, "utf8");
  if (terminal.interactive && env("NO_COLOR").empty()) {
    const std::string depth = env("COLORTERM");
    if (depth == "truecolor" || depth == "24bit" || absl::StrContains(term, "direct")) {
      terminal.colors = Colors::kTrueColor;
    } else if (absl::StrContains(term, "256color")) {
      terminal.colors = Colors::k256;
    }
  }
  return terminal;
}

Terminal DescribeTerminal(int fd) {
  return DescribeTerminal(isatty(fd) == 1, [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
}

int TerminalWidth(int fd) {
  struct winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace convd
