#include "core/names/text_fields.h"

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/names/utf8.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::Status CheckText(const std::string& field, const std::string& text) {
  if (IsUtf8(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got \"", absl::CEscape(text.substr(0, 80)), "\"; want UTF-8"));
}

absl::Status CheckFields(const std::string& path, const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const bool is_text = field->type() == FieldDescriptor::TYPE_STRING;
    if (!is_text && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string name = absl::StrCat(path, field->name());
    if (!field->is_repeated()) {
      CONVD_RETURN_IF_ERROR(is_text
                                ? CheckText(name, reflection.GetString(message, field))
                                : CheckFields(name + ".", reflection.GetMessage(message, field)));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      const std::string element = absl::StrCat(name, "[", i, "]");
      CONVD_RETURN_IF_ERROR(
          is_text ? CheckText(element, reflection.GetRepeatedString(message, field, i))
                  : CheckFields(element + ".", reflection.GetRepeatedMessage(message, field, i)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTextFields(const Message& message) { return CheckFields("", message); }

}  // namespace convd
