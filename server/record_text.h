#ifndef CONVD_SERVER_RECORD_TEXT_H_
#define CONVD_SERVER_RECORD_TEXT_H_

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

// Messages as they lie in files, as textproto. Functions only; any thread may call.

namespace convd {

std::string RecordText(const google::protobuf::Message& message);

// DATA_LOSS begins with `path` and names line and column, or the field whose text isn't UTF-8.
absl::Status ParseRecord(const std::string& path, std::string_view text,
                         google::protobuf::Message& message);

}  // namespace convd

#endif  // CONVD_SERVER_RECORD_TEXT_H_
