#ifndef CONVD_CORE_NAMES_UTF8_H_
#define CONVD_CORE_NAMES_UTF8_H_

#include <cstddef>
#include <string_view>

namespace convd {

// Bytes of the well-formed UTF-8 sequence that `text` begins with (Unicode 15, table 3-7), or 0.
size_t Utf8Sequence(std::string_view text);

// Whether all of it is well-formed; "" is.
bool IsUtf8(std::string_view text);

}  // namespace convd

#endif  // CONVD_CORE_NAMES_UTF8_H_
