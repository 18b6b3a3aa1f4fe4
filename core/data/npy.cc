#include "core/data/npy.h"

#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/file_format.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 65'536;
constexpr size_t kMaxRank = 8;

// The header's Python dictionary, as far as NumPy writes it: string keys; strings, True, False and
// tuples of numbers as values.
class HeaderText {
 public:
  HeaderText(std::string_view text, size_t offset, const std::string& name)
      : text_(text), offset_(offset), name_(name) {}

  absl::Status Parse(std::string& descr, bool& fortran_order, std::vector<int64_t>& shape) {
    bool has_descr = false, has_order = false, has_shape = false;
    CONVD_RETURN_IF_ERROR(Expect('{'));
    while (!Take('}')) {
      std::string key;
      CONVD_RETURN_IF_ERROR(String(key));
      CONVD_RETURN_IF_ERROR(Expect(':'));
      bool* const has = key == "descr"           ? &has_descr
                        : key == "fortran_order" ? &has_order
                        : key == "shape"         ? &has_shape
                                                 : nullptr;
      if (has == nullptr) return Error(absl::StrCat("key '", absl::CEscape(key), "' is unknown"));
      if (*has) return Error(absl::StrCat("key '", key, "' stands there twice"));
      *has = true;
      if (has == &has_descr) {
        // A list of fields, or a pair with a shape.
        if (Peek() == '[' || Peek() == '(') {
          return absl::InvalidArgumentError(
              absl::StrCat(name_, ": holds an array of structures; want one of plain numbers"));
        }
        CONVD_RETURN_IF_ERROR(String(descr));
      } else if (has == &has_order) {
        CONVD_RETURN_IF_ERROR(Bool(fortran_order));
      } else {
        CONVD_RETURN_IF_ERROR(Tuple(shape));
      }
      if (!Take(',')) {
        CONVD_RETURN_IF_ERROR(Expect('}'));
        break;
      }
    }
    if (!has_descr || !has_order || !has_shape) {
      return Error("want the keys 'descr', 'fortran_order' and 'shape'");
    }
    SkipSpace();
    if (at_ != text_.size()) return Error("want nothing but spaces after the dictionary");
    return absl::OkStatus();
  }

 private:
  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": the .npy header at offset ", offset_ + at_, ": ", what));
  }
  void SkipSpace() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  char Peek() {
    SkipSpace();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Take(char c) {
    if (Peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  absl::Status Expect(char c) {
    if (Take(c)) return absl::OkStatus();
    return Error(absl::StrCat("want '", std::string(1, c), "'"));
  }

  absl::Status String(std::string& value) {
    const char quote = Peek();
    if (quote != '\'' && quote != '"') return Error("want a string");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return Error("the string has no end");
    value = std::string(text_.substr(at_ + 1, end - at_ - 1));
    if (value.find('\\') != std::string::npos) return Error("want a string without backslashes");
    at_ = end + 1;
    return absl::OkStatus();
  }

  absl::Status Bool(bool& value) {
    SkipSpace();
    for (const bool b : {true, false}) {
      const std::string_view word = b ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      value = b;
      at_ += word.size();
      return absl::OkStatus();
    }
    return Error("want True or False");
  }

  absl::Status Tuple(std::vector<int64_t>& values) {
    CONVD_RETURN_IF_ERROR(Expect('('));
    while (!Take(')')) {
      SkipSpace();
      const size_t begin = at_;
      while (at_ < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) {
        ++at_;
      }
      int64_t value;
      const std::string_view digits = text_.substr(begin, at_ - begin);
      if (!absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &value)) {
        at_ = begin;
        return Error("want a size of 0 to 2^63 - 1");
      }
      // Python 2's long.
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;
      if (values.size() == kMaxRank) {
        return Error(absl::StrCat("want at most ", kMaxRank, " dimensions"));
      }
      values.push_back(value);
      if (!Take(',')) {
        CONVD_RETURN_IF_ERROR(Expect(')'));
        // "(5)" is a number in Python.
        if (values.size() == 1) return Error("want a comma after the only size of a tuple");
        break;
      }
    }
    return absl::OkStatus();
  }

  const std::string_view text_;
  const size_t offset_;  // of `text_` in the file
  const std::string& name_;
  size_t at_ = 0;
};

absl::Status ParseType(const std::string& descr, const std::string& name, NpyHeader& header) {
  const auto refuse = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": holds an array of ", what, " (\"",
                                                   absl::CEscape(descr.substr(0, 40)),
                                                   "\"); want one of numbers"));
  };
  absl::string_view rest = descr;
  const char order = rest.empty() ? '\0' : rest[0];
  if (order == '<' || order == '>' || order == '|' || order == '=') rest.remove_prefix(1);
  if (rest.empty()) return refuse("an unknown type");
  header.type.kind = rest[0];
  rest.remove_prefix(1);
  switch (header.type.kind) {
    case 'O':
      return refuse("pickled Python objects");
    case 'S':
    case 'a':
    case 'U':
      return refuse("strings");
    case 'V':
      return refuse("structures");
    case 'M':
    case 'm':
      return refuse("times");
    default:
      break;
  }
  const bool digits = !rest.empty() && rest.size() <= 2 && rest[0] != '0';
  if (!digits || !absl::SimpleAtoi(rest, &header.type.bytes)) return refuse("an unknown type");
  const int bytes = header.type.bytes;
  const bool power = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
  const bool known = ((header.type.kind == 'i' || header.type.kind == 'u') && power) ||
                     (header.type.kind == 'b' && bytes == 1) ||
                     (header.type.kind == 'f' &&
                      (bytes == 2 || bytes == 4 || bytes == 8 || bytes == 12 || bytes == 16)) ||
                     (header.type.kind == 'c' && (bytes == 8 || bytes == 16 || bytes == 32));
  if (!known) return refuse("an unknown type");
  header.type.big_endian = order == '>';
  return absl::OkStatus();
}

}  // namespace

std::string NpyHeader::Text() const {
  const std::string word = type.Text();
  if (shape.empty()) return absl::StrCat("a single ", word, " (an array of no dimensions)");
  return absl::StrCat(word[0] == 'i' ? "an " : "a ", word, " array of ", absl::StrJoin(shape, "x"));
}

absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes, const std::string& name,
                                         const DataLimits& limits) {
  if (DetectFileFormat(bytes) != FileFormat::kNpy) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is ", DescribeFileFormat(bytes), "; want an .npy array"));
  }
  const auto byte = [&](size_t i) -> size_t { return static_cast<unsigned char>(bytes[i]); };
  const size_t major = bytes.size() > kMagic.size() ? byte(kMagic.size()) : 0;
  const size_t length_at = kMagic.size() + 2;
  const size_t text_at = length_at + (major == 1 ? 2 : 4);
  if (bytes.size() < text_at) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the .npy header is cut short at offset ", bytes.size()));
  }
  if (major < 1 || major > 3 || byte(kMagic.size() + 1) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": is .npy version ", major, ".", byte(kMagic.size() + 1), "; want 1.0, 2.0 or 3.0"));
  }
  size_t length = byte(length_at) | byte(length_at + 1) << 8;
  if (major > 1) length |= byte(length_at + 2) << 16 | byte(length_at + 3) << 24;
  if (length > kMaxHeader || length > bytes.size() - text_at) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": says its .npy header has ", length,
                                                   " bytes; want at most ", kMaxHeader, ", and ",
                                                   bytes.size() - text_at, " are there"));
  }
  NpyHeader header;
  std::string descr;
  CONVD_RETURN_IF_ERROR(HeaderText(bytes.substr(text_at, length), text_at, name)
                            .Parse(descr, header.fortran_order, header.shape));
  CONVD_RETURN_IF_ERROR(ParseType(descr, name, header));
  header.data_offset = text_at + length;
  bool too_many = false;
  for (const int64_t dim : header.shape) {
    // A size of 0 anywhere makes an empty array, however large the others are.
    if (dim != 0 && header.elements > limits.array_elements / dim) too_many = true;
    if (!too_many) header.elements *= dim;
    if (dim == 0) {
      header.elements = 0;
      too_many = false;
      break;
    }
  }
  if (too_many) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": holds ", header.Text(), "; the limit is ", limits.array_elements, " elements"));
  }
  const int64_t want =
      static_cast<int64_t>(header.data_offset) + header.elements * header.type.bytes;
  const int64_t got = static_cast<int64_t>(bytes.size());
  if (got != want) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, got < want ? ": is cut short: " : ": has bytes past its end: ", "its header says ",
        header.Text(), ", which ends at offset ", want, "; there are ", got, " bytes"));
  }
  return header;
}

double NpyElement(const NpyHeader& header, const char* data, int64_t i) {
  return NumberAt(header.type, data + i * header.type.bytes);
}

std::string NpyFileHeader(std::string_view descr, absl::Span<const int64_t> shape) {
  const size_t fixed = kMagic.size() + 4;
  std::string text = absl::StrCat("{'descr': '", absl::string_view(descr.data(), descr.size()),
                                  "', 'fortran_order': False, 'shape': (",
                                  absl::StrJoin(shape, ", "), shape.size() == 1 ? ",), }" : "), }");
  // The newline is part of the header.
  const size_t total = (fixed + text.size() + 1 + 63) / 64 * 64;
  text.append(total - fixed - text.size() - 1, ' ');
  text += '\n';
  std::string header(kMagic);
  header += '\1';
  header += '\0';
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace convd
