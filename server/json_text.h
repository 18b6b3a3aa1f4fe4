#ifndef CONVD_SERVER_JSON_TEXT_H_
#define CONVD_SERVER_JSON_TEXT_H_

#include <string>
#include <string_view>

namespace convd {

// Appends `text` as a JSON string (RFC 8259) with its quotes, all in ASCII but for UTF-8 that is
// well-formed: no byte of it ends the string or the line, or speaks to a terminal. Bytes that are
// no UTF-8 become U+FFFD. Any thread may call.
void AppendJsonString(std::string_view text, std::string& json);

}  // namespace convd

#endif  // CONVD_SERVER_JSON_TEXT_H_
