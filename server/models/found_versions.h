#ifndef CONVD_SERVER_MODELS_FOUND_VERSIONS_H_
#define CONVD_SERVER_MODELS_FOUND_VERSIONS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "convd/v1/model.pb.h"
#include "core/storage/file_system.h"
#include "server/models/version_folder.h"

// What lies in STATE/models, whoever put it there. Functions only; any thread may call.

namespace convd {

struct FoundVersion {
  v1::ModelVersion id;
  std::string path;                   // of its folder
  std::optional<VersionStamp> files;  // before they were read
  absl::StatusOr<CheckedCard> card;
  absl::StatusOr<std::vector<v1::Evaluation>> evaluations;  // oldest first; none where no file is
  std::optional<CheckedWeights> weights = std::nullopt;     // where they were read, and are whole
};

// A name whose folder can be read.
struct FoundName {
  std::string name;
  std::optional<FileStamp> folder;  // before it was read
  bool unchanged = false;           // so that it wasn't read, and the rest says nothing
  std::set<int64_t> versions;
  std::set<int64_t> evaluations;  // of which there are
  bool has_others = false;        // that were ignored
};

struct FoundModels {
  std::vector<FoundName> names;
  std::vector<std::string> ignored;  // what else there is, each with the reason
};

// Looks for NAME/N for every name that is one (CheckName) and every number from 1 written plainly.
// Symbolic links, which could lead anywhere, are ignored like all else; of what is `known` already
// the name alone is looked at, and nothing in a name's folder that is `unchanged`, so that looking
// often is cheap. Opens no file.
using IsKnownVersion = absl::FunctionRef<bool(const v1::ModelVersion&)>;
using IsUnchangedName = absl::FunctionRef<bool(const std::string& name, const FileStamp& folder)>;
absl::StatusOr<FoundModels> FindVersions(FileSystem& fs, const std::string& models_dir,
                                         IsKnownVersion known, IsUnchangedName unchanged);

// As a version's folder is named: decimal, from 1, no sign, no leading zero; else nothing.
std::optional<int64_t> ParseVersionNumber(absl::string_view text);

std::string VersionPath(const std::string& models_dir, const v1::ModelVersion& id);

// Its card (ReadCheckedCard) and the evaluations beside it. `now` is the wall clock's.
FoundVersion ReadFoundVersion(FileSystem& fs, const std::string& models_dir,
                              const v1::ModelVersion& id, absl::Time now);

// The same with its weights, all bytes of them; a `card` of CANCELLED once `stopped` says so.
FoundVersion ReadFoundWeights(FileSystem& fs, const std::string& models_dir,
                              const v1::ModelVersion& id, absl::Time now, Stopped stopped);

// The highest number that anything in NAME's folder bears: a version, or the evaluations that one
// left behind. 0 where there is none.
absl::StatusOr<int64_t> HighestNumber(FileSystem& fs, const std::string& name_dir);

// Beside a version's folder.
std::string EvaluationsPath(const std::string& version_path);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_FOUND_VERSIONS_H_
