#include "server/auth/tokens_file.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMostName = 128;
constexpr double kMostRate = 1e6;
constexpr int kMostConcurrent = 1'000'000;

std::string Shown(absl::string_view text) { return absl::CHexEscape(text.substr(0, 60)); }

absl::Status CheckHash(absl::string_view text) {
  const bool right =
      text.size() == 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
      });
  if (right) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the third word is no SHA-256: want 64 lower-case hex digits, as `convd token` prints them, "
      "or the word cert");
}

// Abseil's own has one shape on Debian 12 and another on 13. REQUIRES: hex digits, an even number.
std::string BytesOf(absl::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 2 <= hex.size(); i += 2) {
    uint32_t byte = 0;
    if (absl::SimpleHexAtoi(hex.substr(i, 2), &byte)) bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

absl::Status ReadLimit(absl::string_view word, TokenEntry& entry) {
  if (absl::StartsWith(word, "rate=") && !entry.rate.has_value()) {
    double rate = 0;
    const absl::string_view number = word.substr(5);
    const bool plain = number.find_first_not_of("0123456789.") == absl::string_view::npos;
    if (!plain || !absl::SimpleAtod(number, &rate) || rate > kMostRate) {
      return absl::InvalidArgumentError(absl::StrCat(
          "rate: got \"", Shown(number), "\"; want calls a second up to 1000000, 0 for no limit"));
    }
    entry.rate = rate;
    return absl::OkStatus();
  }
  if (absl::StartsWith(word, "concurrent=") && !entry.concurrent.has_value()) {
    int calls = 0;
    const absl::string_view number = word.substr(11);
    const bool plain = number.find_first_not_of("0123456789") == absl::string_view::npos;
    if (!plain || !absl::SimpleAtoi(number, &calls) || calls > kMostConcurrent) {
      return absl::InvalidArgumentError(
          absl::StrCat("concurrent: got \"", Shown(number),
                       "\"; want a whole number of calls up to 1000000, 0 for no limit"));
    }
    entry.concurrent = calls;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("got \"", Shown(word.substr(0, word.find('='))),
                   "\" after the hash; want rate=CALLS-A-SECOND and concurrent=CALLS, each once"));
}

absl::StatusOr<TokenEntry> ParseLine(absl::string_view line) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.size() < 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "has ", words.size(), " words; want NAME SCOPES SHA256-HEX, then rate= and concurrent="));
  }
  TokenEntry entry;
  CONVD_RETURN_IF_ERROR(CheckPrincipalName(words[0]));
  entry.name = std::string(words[0]);
  CONVD_ASSIGN_OR_RETURN(entry.scopes, ParseScopes(words[1]));
  if (words[2] != "cert") {
    CONVD_RETURN_IF_ERROR(CheckHash(words[2]));
    entry.sha256 = BytesOf(words[2]);
  }
  for (size_t i = 3; i < words.size(); ++i) CONVD_RETURN_IF_ERROR(ReadLimit(words[i], entry));
  return entry;
}

}  // namespace

absl::Status CheckPrincipalName(absl::string_view name) {
  const bool right = !name.empty() && name.size() <= kMostName &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return c > ' ' && c < 0x7f && c != '#' && c != '=';
                     });
  if (right) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("name: got \"", Shown(name), "\"; want 1 to ",
                                                 kMostName,
                                                 " printable characters without white space, # "
                                                 "and ="));
}

absl::StatusOr<std::vector<TokenEntry>> ParseTokensFile(absl::string_view text) {
  std::vector<TokenEntry> entries;
  absl::flat_hash_map<std::string, size_t> first_of_name;
  absl::flat_hash_map<std::string, int> line_of_token;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<TokenEntry> entry = ParseLine(line);
    const auto wrong = [number](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", why));
    };
    if (!entry.ok()) return wrong(entry.status().message());
    entry->line = number;
    const auto [first, is_new] = first_of_name.try_emplace(entry->name, entries.size());
    const TokenEntry& same_name = is_new ? *entry : entries[first->second];
    if (same_name.rate != entry->rate || same_name.concurrent != entry->concurrent) {
      return wrong(absl::StrCat("\"", entry->name, "\" has other limits on line ", same_name.line,
                                "; want the same, since all of its tokens share them"));
    }
    // Of a certificate the name is what must be there once.
    const std::string key = entry->sha256.empty() ? "cert " + entry->name : entry->sha256;
    const auto [token, unseen] = line_of_token.try_emplace(key, number);
    if (!unseen) return wrong(absl::StrCat("is the token of line ", token->second, " again"));
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::string TokensFileLine(absl::string_view name, ScopeSet scopes, absl::string_view sha256) {
  return absl::StrCat(name, " ", ToString(scopes), " ", absl::BytesToHexString(sha256));
}

}  // namespace convd
