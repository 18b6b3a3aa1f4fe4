#include "client/convctl/prediction_rows.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/names/utf8.h"

namespace convd {
namespace {

bool LooksLikeAFormula(std::string_view text) {
  if (text.empty()) return false;
  const auto first = static_cast<unsigned char>(text.front());
  if (first >= ' ' && std::string_view("=+-@").find(text.front()) == std::string_view::npos) {
    return false;
  }
  double number = 0;
  return !absl::SimpleAtod(absl::string_view(text.data(), text.size()), &number);
}

// As many digits as give the same float back.
std::string Number(float value) { return absl::StrFormat("%.9g", value); }

std::string LabelText(int32_t label, const std::vector<std::string>& classes) {
  if (label < 0) return "";
  return static_cast<size_t>(label) < classes.size() ? classes[label]
                                                     : absl::StrCat("label ", label);
}

std::string JsonText(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t n = Utf8Sequence(text);
    const auto first = static_cast<unsigned char>(text.front());
    if (n == 0) {
      out += "\\ufffd";
    } else if (first < ' ' || first == 0x7F) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(first));
    } else {
      if (first == '"' || first == '\\') out += '\\';
      out += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out + "\"";
}

}  // namespace

std::string CsvCell(std::string_view text) {
  // Semicolons and tabs, too: spreadsheets of some countries part cells there.
  const bool quoted = text.find_first_of("\",;\t\r\n") != std::string_view::npos ||
                      (!text.empty() && (text.front() == ' ' || text.back() == ' '));
  if (!quoted) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) {
    if (c == '"') cell += '"';
    cell += c;
  }
  return cell + "\"";
}

std::string CsvText(std::string_view text) {
  return CsvCell(LooksLikeAFormula(text) ? absl::StrCat("'", std::string(text))
                                         : std::string(text));
}

std::string CsvHeader(const std::vector<std::string>& classes, bool probabilities) {
  std::string line = "image,label,class,probability,error";
  if (probabilities) {
    for (const std::string& name : classes) absl::StrAppend(&line, ",", CsvText(name));
  }
  return line + "\r\n";
}

std::string CsvRow(const ScoredImage& image, const std::vector<std::string>& classes,
                   bool probabilities) {
  std::string line = image.file.empty() ? absl::StrCat(image.index) : CsvText(image.file);
  absl::StrAppend(&line, ",", CsvText(LabelText(image.label, classes)), ",");
  const bool known = image.error.empty() && image.prediction.top_size() > 0;
  if (known) {
    const v1::ClassScore& best = image.prediction.top(0);
    absl::StrAppend(&line, CsvText(best.label()), ",", Number(best.probability()), ",");
  } else {
    absl::StrAppend(&line, ",,", CsvText(image.error));
  }
  if (probabilities) {
    for (size_t i = 0; i < classes.size(); ++i) {
      line += ',';
      const int at = static_cast<int>(i);
      if (known && at < image.prediction.probabilities_size()) {
        line += Number(image.prediction.probabilities(at));
      }
    }
  }
  return line + "\r\n";
}

std::string JsonRow(const ScoredImage& image, const std::vector<std::string>& classes) {
  std::string line = "{";
  if (image.file.empty()) {
    absl::StrAppend(&line, "\"image\":", image.index);
  } else {
    absl::StrAppend(&line, "\"file\":", JsonText(image.file));
    if (!IsUtf8(image.file)) {
      absl::StrAppend(&line, ",\"file_base64\":\"", absl::Base64Escape(image.file), "\"");
    }
  }
  if (image.label >= 0) {
    absl::StrAppend(&line, ",\"label\":", JsonText(LabelText(image.label, classes)));
  }
  if (!image.error.empty()) {
    return absl::StrCat(line, ",\"error\":", JsonText(image.error), "}\n");
  }
  line += ",\"top\":[";
  for (int i = 0; i < image.prediction.top_size(); ++i) {
    const v1::ClassScore& score = image.prediction.top(i);
    absl::StrAppend(&line, i == 0 ? "" : ",", "{\"class\":", JsonText(score.label()),
                    ",\"probability\":", Number(score.probability()), "}");
  }
  line += "]";
  if (image.prediction.probabilities_size() > 0) {
    line += ",\"probabilities\":[";
    for (int i = 0; i < image.prediction.probabilities_size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : ",", Number(image.prediction.probabilities(i)));
    }
    line += "]";
  }
  return line + "}\n";
}

}  // namespace convd
