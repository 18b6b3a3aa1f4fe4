#include "server/record_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"
#include "core/names/text_fields.h"

namespace convd {
namespace {

// Messages nest less than ten deep.
constexpr int kMaxNesting = 32;

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text.empty())
      text = absl::StrCat("line ", line + 1, ", column ", column + 1, ": ", message);
  }
  std::string text;
};

}  // namespace

std::string RecordText(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.SetUseUtf8StringEscaping(true);
  // What a newer client sent; by its number nothing could be read again.
  printer.SetHideUnknownFields(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

absl::Status ParseRecord(const std::string& path, std::string_view text,
                         google::protobuf::Message& message) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  google::protobuf::io::ArrayInputStream input(text.data(), static_cast<int>(text.size()));
  if (!parser.Parse(&input, &message)) {
    return absl::DataLossError(absl::StrCat(path, ": ", error.text));
  }
  // Which would come to light only when it is sent to somebody, with whatever it is sent with.
  const absl::Status text_fields = CheckTextFields(message);
  if (text_fields.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": ", text_fields.message()));
}

}  // namespace convd
