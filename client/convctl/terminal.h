#ifndef CONVD_CLIENT_CONVCTL_TERMINAL_H_
#define CONVD_CLIENT_CONVCTL_TERMINAL_H_

#include <functional>
#include <string>

namespace convd {

enum class Colors { kNone, k256, kTrueColor };

// What the place that output goes to can show.
struct Terminal {
  bool interactive = false;  // a terminal that understands escape sequences
  Colors colors = Colors::kNone;
  bool utf8 = false;
};

// Of file descriptor `fd`, after TERM, COLORTERM, NO_COLOR, LC_ALL, LC_CTYPE and LANG. `is_tty`
// says whether fd is a terminal; `env` gives a variable, "" where it isn't set.
Terminal DescribeTerminal(bool is_tty, const std::function<std::string(const char*)>& env);
Terminal DescribeTerminal(int fd);

// Columns of the terminal at `fd` as it is now; 80 where it can't be known.
int TerminalWidth(int fd);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_TERMINAL_H_
