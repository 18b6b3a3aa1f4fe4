#ifndef CONVD_CORE_NAMES_TEXT_FIELDS_H_
#define CONVD_CORE_NAMES_TEXT_FIELDS_H_

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace convd {

// INVALID_ARGUMENT names the first string field, in depth, that isn't UTF-8. protobuf would send
// such a message, and no receiver could parse it. Any thread may call.
absl::Status CheckTextFields(const google::protobuf::Message& message);

}  // namespace convd

#endif  // CONVD_CORE_NAMES_TEXT_FIELDS_H_
