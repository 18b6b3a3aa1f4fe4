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
                    IsKnownVersion known, IsUnchangedName unchanged, FoundModels& found) {
  // Names may hold anything; in a log they are escaped and short.
  const auto shown = [](const std::string& entry) { return absl::CEscape(entry.substr(0, 100)); };
  const auto ignore = [&found](const std::string& path, absl::string_view why) {
    found.ignored.push_back(absl::StrCat(path, ": ignored: ", why));
  };
  if (absl::Status status = CheckName("model", name); !status.ok()) {
    return ignore(absl::StrCat(models_dir, "/", shown(name)), status.message());
  }
  const std::string dir = absl::StrCat(models_dir, "/", name);
  FoundName of_name;
  of_name.name = name;
  if (const absl::StatusOr<FileStamp> stamp = fs.Stamp(dir); stamp.ok()) of_name.folder = *stamp;
  if (of_name.folder && unchanged(name, *of_name.folder)) {
    of_name.unchanged = true;
    found.names.push_back(std::move(of_name));
    return;
  }
  if (!IsFolderOfItsOwn(fs, dir)) return ignore(dir, "not a folder of its own");
  const absl::StatusOr<std::vector<std::string>> entries = fs.List(dir);
  if (!entries.ok()) return ignore(dir, entries.status().message());
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
    v1::ModelVersion id;
    id.set_name(name);
    id.set_version(number.value_or(0));
    const std::string path = absl::StrCat(dir, "/", shown(entry));
    if (!number || evaluations) {
      ignore(path, "not a version's number");
      of_name.has_others = true;
    } else if (!known(id) && !IsFolderOfItsOwn(fs, path)) {
      ignore(path, "not a folder of its own");
      of_name.has_others = true;
    } else {
      of_name.versions.insert(*number);
    }
  }
  found.names.push_back(std::move(of_name));
}

// `weights`: whether they are to be read, too.
FoundVersion ReadFound(FileSystem& fs, const std::string& models_dir, const v1::ModelVersion& id,
                       absl::Time now, bool weights, Stopped stopped) {
  FoundVersion found{id, VersionPath(models_dir, id), /*files=*/{}, CheckedCard(),
                     std::vector<v1::Evaluation>()};
  found.files = StampVersion(fs, found.path, now);
  if (weights) {
    absl::StatusOr<CheckedWeights> checked = ReadCheckedWeights(fs, found.path, id, stopped);
    if (checked.ok()) {
      found.card = CheckedCard{checked->card, checked->size_bytes};
      found.weights = *std::move(checked);
    } else {
      found.card = checked.status();
    }
  } else {
    found.card = ReadCheckedCard(fs, found.path, id);
  }
  const std::string evaluations = EvaluationsPath(found.path);
  if (fs.Exists(evaluations)) found.evaluations = ReadEvaluations(fs, evaluations);
  return found;
}

}  // namespace

std::optional<int64_t> ParseVersionNumber(absl::string_view text) {
  int64_t number;
  if (!absl::SimpleAtoi(text, &number) || number < 1 || absl::StrCat(number) != text) return {};
  return number;
}

absl::StatusOr<FoundModels> FindVersions(FileSystem& fs, const std::string& models_dir,
                                         IsKnownVersion known, IsUnchangedName unchanged) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(models_dir));
  FoundModels found;
  for (const std::string& name : names) {
    FindVersionsOf(fs, models_dir, name, known, unchanged, found);
  }
  return found;
}

std::string VersionPath(const std::string& models_dir, const v1::ModelVersion& id) {
  return absl::StrCat(models_dir, "/", id.name(), "/", id.version());
}

FoundVersion ReadFoundVersion(FileSystem& fs, const std::string& models_dir,
                              const v1::ModelVersion& id, absl::Time now) {
  return ReadFound(fs, models_dir, id, now, /*weights=*/false, [] { return false; });
}

FoundVersion ReadFoundWeights(FileSystem& fs, const std::string& models_dir,
                              const v1::ModelVersion& id, absl::Time now, Stopped stopped) {
  return ReadFound(fs, models_dir, id, now, /*weights=*/true, stopped);
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
