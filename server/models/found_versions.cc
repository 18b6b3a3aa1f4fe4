#include "server/models/found_versions.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/models/model_policy.h"

namespace convd {
namespace {

constexpr char kEvaluationsSuffix[] = ".evaluations.textproto";

bool IsFolderOfItsOwn(FileSystem& fs, const std::string& path) {
  const absl::StatusOr<std::string> canonical = fs.Canonical(path);
  return canonical.ok() && *canonical == path && fs.IsDirectory(path);
}

void FindVersionsOf(FileSystem& fs, const std::string& models_dir, const std::string& name,
                    IsKnownVersion known, FoundModels& found) {
  // Names may hold anything; in a log they are escaped and short.
  const auto shown = [](const std::string& entry) { return absl::CEscape(entry.substr(0, 100)); };
  const auto ignore = [&found](const std::string& path, absl::string_view why) {
    found.ignored.push_back(absl::StrCat(path, ": ignored: ", why));
  };
  if (absl::Status status = CheckName("model", name); !status.ok()) {
    return ignore(absl::StrCat(models_dir, "/", shown(name)), status.message());
  }
  const std::string dir = absl::StrCat(models_dir, "/", name);
  if (!IsFolderOfItsOwn(fs, dir)) return ignore(dir, "not a folder of its own");
  const absl::StatusOr<std::vector<std::string>> entries = fs.List(dir);
  if (!entries.ok()) return ignore(dir, entries.status().message());
  FoundName& of_name = found.names.emplace_back();
  of_name.name = name;
  for (const std::string& entry : *entries) {
    absl::string_view stem = entry;
    const bool evaluations = absl::ConsumeSuffix(&stem, kEvaluationsSuffix);
    const std::optional<int64_t> number = ParseVersionNumber(stem);
    if (evaluations && number) {
      of_name.evaluations.insert(*number);
      continue;
    }
    // The latter is what a crash may leave of the former.
    if (entry == kPolicyFile || entry == absl::StrCat(kPolicyFile, ".tmp")) continue;
    if (!number || evaluations) {
      ignore(absl::StrCat(dir, "/", shown(entry)), "not a version's number");
      continue;
    }
    v1::ModelVersion id;
    id.set_name(name);
    id.set_version(*number);
    const std::string path = absl::StrCat(dir, "/", entry);
    if (!known(id) && !IsFolderOfItsOwn(fs, path)) {
      ignore(path, "not a folder of its own");
      continue;
    }
    of_name.versions.insert(*number);
  }
}

}  // namespace

std::optional<int64_t> ParseVersionNumber(absl::string_view text) {
  int64_t number;
  if (!absl::SimpleAtoi(text, &number) || number < 1 || absl::StrCat(number) != text) return {};
  return number;
}

absl::StatusOr<FoundModels> FindVersions(FileSystem& fs, const std::string& models_dir,
                                         IsKnownVersion known) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(models_dir));
  FoundModels found;
  for (const std::string& name : names) FindVersionsOf(fs, models_dir, name, known, found);
  return found;
}

std::string VersionPath(const std::string& models_dir, const v1::ModelVersion& id) {
  return absl::StrCat(models_dir, "/", id.name(), "/", id.version());
}

FoundVersion ReadFoundVersion(FileSystem& fs, const std::string& models_dir,
                              const v1::ModelVersion& id, absl::Time now) {
  std::string path = VersionPath(models_dir, id);
  const std::optional<VersionStamp> files = StampVersion(fs, path, now);
  absl::StatusOr<CheckedCard> card = ReadCheckedCard(fs, path, id);
  absl::StatusOr<std::vector<v1::Evaluation>> evaluations = std::vector<v1::Evaluation>();
  if (fs.Exists(EvaluationsPath(path))) evaluations = ReadEvaluations(fs, EvaluationsPath(path));
  return {id, std::move(path), files, std::move(card), std::move(evaluations)};
}

absl::StatusOr<int64_t> HighestNumber(FileSystem& fs, const std::string& name_dir) {
  if (!fs.Exists(name_dir)) return 0;
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> entries, fs.List(name_dir));
  int64_t highest = 0;
  for (const std::string& entry : entries) {
    const std::optional<int64_t> number =
        ParseVersionNumber(absl::StripSuffix(entry, kEvaluationsSuffix));
    highest = std::max(highest, number.value_or(0));
  }
  return highest;
}

std::string EvaluationsPath(const std::string& version_path) {
  return version_path + kEvaluationsSuffix;
}

}  // namespace convd
