#include "core/data/csv.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMaxFields = 1000;
constexpr size_t kMaxFieldBytes = 64 << 10;

class Parser {
 public:
  Parser(std::string_view bytes, const std::string& name) : rest_(bytes), name_(name) {
    if (rest_.substr(0, 3) == "\xEF\xBB\xBF") rest_.remove_prefix(3);
  }

  bool AtEnd() const { return rest_.empty(); }

  absl::Status ReadRecord(CsvRecord& record) {
    record.line = line_;
    record.fields.clear();
    while (true) {
      if (record.fields.size() == kMaxFields) {
        return absl::InvalidArgumentError(
            absl::StrCat(Where(), "has more than ", kMaxFields, " fields, which is the limit"));
      }
      std::string& field = record.fields.emplace_back();
      CONVD_RETURN_IF_ERROR(rest_.substr(0, 1) == "\"" ? ReadQuoted(field) : ReadPlain(field));
      if (Skip(",")) continue;
      if (!Skip("\r\n") && !Skip("\n") && !AtEnd()) {
        return Refuse("has something after a closing quote; want a comma or the line's end");
      }
      ++line_;
      return absl::OkStatus();
    }
  }

 private:
  std::string Where() const { return absl::StrCat(name_, ": line ", line_, ": "); }
  absl::Status Refuse(absl::string_view why) const {
    return absl::InvalidArgumentError(absl::StrCat(Where(), why));
  }

  bool Skip(std::string_view text) {
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  absl::Status Append(std::string& field, std::string_view text) {
    if (text.size() > kMaxFieldBytes - field.size()) {
      return absl::InvalidArgumentError(absl::StrCat(Where(), "has a field of more than ",
                                                     kMaxFieldBytes, " bytes, which is the limit"));
    }
    field.append(text);
    return absl::OkStatus();
  }

  // Up to the comma or the line's end.
  absl::Status ReadPlain(std::string& field) {
    const std::string_view text = rest_.substr(0, rest_.find_first_of("\",\r\n"));
    CONVD_RETURN_IF_ERROR(Append(field, text));
    rest_.remove_prefix(text.size());
    if (rest_.substr(0, 1) == "\"") {
      return Refuse("has a quote inside a field that doesn't begin with one");
    }
    if (rest_.substr(0, 1) == "\r" && rest_.substr(0, 2) != "\r\n") {
      return Refuse("has a carriage return alone; want lines that end in CRLF or LF");
    }
    return absl::OkStatus();
  }

  absl::Status ReadQuoted(std::string& field) {
    const int64_t begun = line_;
    rest_.remove_prefix(1);
    while (true) {
      const size_t quote = rest_.find('"');
      if (quote == std::string_view::npos) {
        line_ = begun;
        return Refuse("has a quote that is never closed");
      }
      const std::string_view text = rest_.substr(0, quote);
      CONVD_RETURN_IF_ERROR(Append(field, text));
      for (const char c : text) line_ += c == '\n';
      rest_.remove_prefix(quote + 1);
      if (!Skip("\"")) return absl::OkStatus();
      CONVD_RETURN_IF_ERROR(Append(field, "\""));
    }
  }

  std::string_view rest_;
  const std::string& name_;
  int64_t line_ = 1;
};

}  // namespace

absl::Status ReadCsv(std::string_view bytes, const std::string& name,
                     absl::FunctionRef<absl::Status(const CsvRecord&)> take) {
  if (bytes.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is no text in UTF-8, it has zero bytes; want a CSV file"));
  }
  Parser parser(bytes, name);
  CsvRecord record;
  size_t columns = 0;
  while (!parser.AtEnd()) {
    CONVD_RETURN_IF_ERROR(parser.ReadRecord(record));
    if (record.fields.size() == 1 && record.fields[0].empty()) continue;
    if (columns == 0) columns = record.fields.size();
    if (record.fields.size() != columns) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": line ", record.line, ": has ",
                                                     record.fields.size(),
                                                     " fields; the header has ", columns));
    }
    CONVD_RETURN_IF_ERROR(take(record));
  }
  return absl::OkStatus();
}

}  // namespace convd
