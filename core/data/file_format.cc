#include "core/data/file_format.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace convd {
namespace {

bool StartsWith(std::string_view bytes, std::string_view magic) {
  return bytes.substr(0, magic.size()) == magic;
}

// What people may well have, and nothing here reads.
constexpr std::pair<std::string_view, const char*> kOtherKinds[] = {
    {"GIF8", "a GIF image"},
    {std::string_view("II*\0", 4), "a TIFF image"},
    {std::string_view("MM\0*", 4), "a TIFF image"},
    {"BZh", "a bzip2 file"},
    {"\xfd"
     "7zXZ",
     "an xz file"},
    {"\x28\xb5\x2f\xfd", "a Zstandard file"},
    {"7z\xbc\xaf", "a 7z archive"},
    {"Rar!", "a RAR archive"},
};

bool IsWebPage(std::string_view bytes) {
  if (StartsWith(bytes, "\xEF\xBB\xBF")) bytes.remove_prefix(3);
  while (!bytes.empty() && absl::ascii_isspace(static_cast<unsigned char>(bytes[0]))) {
    bytes.remove_prefix(1);
  }
  const absl::string_view start(bytes.data(), bytes.size() < 16 ? bytes.size() : 16);
  for (const char* tag : {"<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<title"}) {
    if (absl::StartsWithIgnoreCase(start, tag)) return true;
  }
  return false;
}

bool IsIdx(std::string_view bytes) {
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0) return false;
  const auto type = static_cast<unsigned char>(bytes[2]);
  const bool known = type == 0x08 || type == 0x09 || (type >= 0x0B && type <= 0x0E);
  return known && bytes[3] >= 1 && bytes[3] <= 4;
}

// The first member's header says so; the archive of nothing, all zeros, doesn't count. A file of
// pixels may have anything there, but a name begins with no 0, and IDX and CIFAR's files are told
// by more than this.
bool IsTar(std::string_view bytes) {
  constexpr size_t kHeader = 512;
  constexpr size_t kMagic = 257;
  return bytes.size() >= kHeader && bytes[0] != 0 && bytes.substr(kMagic, 5) == "ustar";
}

}  // namespace

FileFormat DetectFileFormat(std::string_view bytes) {
  if (bytes.empty()) return FileFormat::kEmpty;
  if (StartsWith(bytes, "\x1f\x8b")) return FileFormat::kGzip;
  // A member, an archive without members, one of several parts.
  for (const char* magic : {"PK\x03\x04", "PK\x05\x06", "PK\x07\x08"}) {
    if (StartsWith(bytes, magic)) return FileFormat::kZip;
  }
  if (StartsWith(bytes, "\x93NUMPY")) return FileFormat::kNpy;
  if (StartsWith(bytes, "\x89PNG")) return FileFormat::kPng;
  if (StartsWith(bytes, "\xff\xd8\xff")) return FileFormat::kJpeg;
  if (IsTar(bytes)) return FileFormat::kTar;
  if (IsIdx(bytes)) return FileFormat::kIdx;
  if (IsWebPage(bytes)) return FileFormat::kWebPage;
  return FileFormat::kUnknown;
}

std::string DescribeFileFormat(std::string_view bytes) {
  switch (DetectFileFormat(bytes)) {
    case FileFormat::kEmpty:
      return "empty (0 bytes)";
    case FileFormat::kGzip:
      return "a gzip file";
    case FileFormat::kZip:
      return "a zip archive";
    case FileFormat::kIdx:
      return "an IDX file";
    case FileFormat::kNpy:
      return "a single .npy array";
    case FileFormat::kPng:
      return "a PNG image";
    case FileFormat::kJpeg:
      return "a JPEG image";
    case FileFormat::kTar:
      return "a tar archive";
    case FileFormat::kWebPage:
      return "a web page (HTML or XML): perhaps a download that failed";
    case FileFormat::kUnknown:
      break;
  }
  for (const auto& [magic, what] : kOtherKinds) {
    if (StartsWith(bytes, magic)) return what;
  }
  if (StartsWith(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return "a WebP image";
  }
  std::string hex;
  for (const char c : bytes.substr(0, 4)) {
    absl::StrAppend(&hex, " ", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
  }
  return absl::StrCat("of an unknown kind (", bytes.size(), " bytes that begin with", hex, ")");
}

}  // namespace convd
