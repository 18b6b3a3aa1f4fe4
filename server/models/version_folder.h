#ifndef CONVD_SERVER_MODELS_VERSION_FOLDER_H_
#define CONVD_SERVER_MODELS_VERSION_FOLDER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/models.pb.h"
#include "core/nn/graph.h"
#include "core/storage/file_system.h"

// The files of one published version: what is written into its folder, and how what is read back is
// checked. All of it may be hostile on the way in. Functions only; any thread may call.

namespace convd {

// Makes the file `path`, or empties it, writes `data` and syncs it.
absl::Status WriteSynced(FileSystem& fs, const std::string& path, std::string_view data);

// Writes model.onnx, model.textproto and MANIFEST into `dir`, which is there, and syncs each and
// the folder.
absl::Status WriteVersionFolder(FileSystem& fs, const std::string& dir, std::string_view onnx,
                                const v1::ModelCard& card);

// What the folder's three files look like without being read, each nothing where it isn't there.
using VersionStamp = std::array<std::optional<FileStamp>, 3>;
// Nothing where that can't be found out, or might not show the next change. `now` is the wall
// clock's.
std::optional<VersionStamp> StampVersion(FileSystem& fs, const std::string& dir, absl::Time now);

struct CheckedCard {
  v1::ModelCard card;
  int64_t size_bytes = 0;  // of the folder's files
};
// Checks MANIFEST, every file's size and the card's hash; the card names `version` and as many
// labels as its network has classes. DATA_LOSS names the file.
absl::StatusOr<CheckedCard> ReadCheckedCard(FileSystem& fs, const std::string& dir,
                                            const v1::ModelVersion& version);

struct CheckedWeights {
  v1::ModelCard card;
  Graph graph;
  std::vector<float> parameters;  // canonical, in the graph's order
  int64_t size_bytes = 0;         // of the folder's files
  std::string onnx_sha256;        // of model.onnx, in hex
};
// The same, and the weights with their hash. CANCELLED, within milliseconds, once `stopped` says
// so.
using Stopped = absl::FunctionRef<bool()>;
absl::StatusOr<CheckedWeights> ReadCheckedWeights(
    FileSystem& fs, const std::string& dir, const v1::ModelVersion& version,
    Stopped stopped = [] { return false; });

// Makes the version's folder `tmp`, whose files are synced, models_dir/NAME/N, which is not there
// yet, so that it survives a crash. On an error there is no such version: only where it was moved
// and can't be taken back, the status says that it may be found after a restart. Then nothing may
// be removed from it, and it isn't called `tmp` any more.
absl::Status MoveVersionIntoPlace(FileSystem& fs, const std::string& tmp,
                                  const std::string& models_dir, const v1::ModelVersion& id);

// NAME/N.evaluations.textproto, oldest first: as text with the oldest left out that are over 100 or
// over 16 MiB, and back. `evaluations` holds what was kept.
std::string EvaluationsText(std::vector<v1::Evaluation>& evaluations);
absl::StatusOr<std::vector<v1::Evaluation>> ReadEvaluations(FileSystem& fs,
                                                            const std::string& path);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_VERSION_FOLDER_H_
