#include "server/models/manifest.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/storage/sha256.h"

namespace convd {
namespace {

bool IsSha256(absl::string_view hex) {
  if (hex.size() != 64) return false;
  for (char c : hex) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

// Decimal as Text() writes it: no sign, no leading zero.
std::optional<int64_t> ParseSize(absl::string_view text) {
  int64_t size;
  if (!absl::SimpleAtoi(text, &size) || size < 0 || absl::StrCat(size) != text) return {};
  return size;
}

absl::Status Bad(int line, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(kManifestFile, ": line ", line, ": ", what));
}

}  // namespace

std::string Manifest::Text() const {
  return absl::StrCat(onnx.sha256, " ", onnx.size, " ", kOnnxFile, "\n", card.sha256, " ",
                      card.size, " ", kCardFile, "\n");
}

absl::StatusOr<Manifest> Manifest::Parse(std::string_view text) {
  Manifest manifest;
  const struct {
    const char* name;
    int64_t max_bytes;
    ManifestEntry& entry;
  } files[] = {{kOnnxFile, kMaxOnnxBytes, manifest.onnx},
               {kCardFile, kMaxCardBytes, manifest.card}};
  std::vector<absl::string_view> lines =
      absl::StrSplit(absl::string_view(text.data(), text.size()), '\n');
  int line = 0;
  for (const auto& file : files) {
    ++line;
    if (line > static_cast<int>(lines.size())) return Bad(line, "missing");
    const std::vector<absl::string_view> words = absl::StrSplit(lines[line - 1], ' ');
    if (words.size() != 3 || words[2] != file.name || !IsSha256(words[0])) {
      return Bad(line, absl::StrCat("want a SHA-256 in hex, a size and \"", file.name, "\""));
    }
    const std::optional<int64_t> size = ParseSize(words[1]);
    if (!size || *size > file.max_bytes) {
      return Bad(line, absl::StrCat("want a size of 0 to ", file.max_bytes, " bytes"));
    }
    file.entry = {std::string(words[0]), *size};
  }
  // What follows the last newline is empty, or there is more than we know of.
  if (lines.size() != 3 || !lines[2].empty()) return Bad(3, "want nothing after two whole lines");
  return manifest;
}

ManifestEntry DescribeFile(std::string_view bytes) {
  return {Sha256Hex(bytes), static_cast<int64_t>(bytes.size())};
}

absl::Status CheckFile(const std::string& path, const ManifestEntry& got,
                       const ManifestEntry& entry) {
  if (got.size != entry.size) {
    return absl::DataLossError(
        absl::StrCat(path, ": has ", got.size, " bytes; the MANIFEST says ", entry.size));
  }
  if (got.sha256 != entry.sha256) {
    return absl::DataLossError(
        absl::StrCat(path, ": its SHA-256 is ", got.sha256, "; the MANIFEST says ", entry.sha256));
  }
  return absl::OkStatus();
}

}  // namespace convd
