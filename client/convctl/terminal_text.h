#ifndef CONVD_CLIENT_CONVCTL_TERMINAL_TEXT_H_
#define CONVD_CLIENT_CONVCTL_TERMINAL_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace convd {

// Text that came from outside, safe for a terminal: control characters (an escape sequence moves
// the cursor or retitles the window) and bytes that are no UTF-8 become \xNN. Line ends stay where
// `keep_lines` says so. Any thread may call.
std::string Printable(std::string_view text, bool keep_lines = false);

// Columns that printable UTF-8 takes: 2 for wide (East Asian) characters, 0 for combining ones.
size_t DisplayWidth(std::string_view text);

// The longest beginning that takes at most `width` columns.
std::string_view CutToWidth(std::string_view text, size_t width);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_TERMINAL_TEXT_H_
