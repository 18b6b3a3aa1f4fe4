#include "core/nn/network_text.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"

namespace convd {
namespace {

constexpr int kMaxDepth = 32;  // a network nests three deep
constexpr size_t kMaxShown = 300;

// A message that quotes the user's text, short and without control characters or broken UTF-8.
std::string Shown(const std::string& message) {
  std::string shown = message.substr(0, kMaxShown);
  for (char& c : shown) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  if (message.size() > kMaxShown) shown += "...";
  return shown;
}

// Keeps the first error: the others mostly follow from it.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_) return;
    // The parser counts from 0, and gives -1 where it knows no place.
    text_ = line < 0 ? absl::StrCat(": ", Shown(message))
                     : absl::StrCat(":", line + 1, ":", column + 1, ": ", Shown(message));
  }
  const std::optional<std::string>& text() const { return text_; }

 private:
  std::optional<std::string> text_;
};

}  // namespace

absl::StatusOr<v1::Network> ParseNetwork(std::string_view text, std::string_view file) {
  const absl::string_view name(file.data(), file.size());
  if (text.size() > kMaxNetworkText) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": got ", text.size(), " bytes of network; want at most ", kMaxNetworkText));
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxDepth);
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  v1::Network network;
  if (!parser.Parse(&stream, &network)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, error.text().value_or(": not a convd.v1.Network in text form")));
  }
  return network;
}

}  // namespace convd
