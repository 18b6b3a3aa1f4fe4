#ifndef CONVD_SERVER_MODELS_KNOWN_VERSIONS_H_
#define CONVD_SERVER_MODELS_KNOWN_VERSIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/models.pb.h"
#include "server/models/last_failure.h"
#include "server/models/loaded_model.h"

// What is known of the versions of a name, and which of them is meant. Plain values and functions
// of them: whoever shares them among threads guards them with a lock.

namespace convd {

// One version at one precision.
struct ServedVersion {
  std::shared_ptr<const LoadedModel> loaded;
  bool loading = false;
  LastFailure failure;
};

// What is known of one version. id and path never change. Who holds the pointer may still be
// loading it when it has been removed.
struct KnownVersion {
  v1::ModelVersion id;
  std::string path;
  std::shared_ptr<const v1::ModelCard> card;  // null where it was never read
  int64_t size_bytes = 0;
  // Oldest first; an error where the file was there and could not be read.
  absl::StatusOr<std::vector<v1::Evaluation>> evaluations = std::vector<v1::Evaluation>();
  std::map<v1::Precision, ServedVersion> served;
  bool listed = false;  // it was whole when it was last read
  LastFailure failure;  // to read it
  absl::Duration asked_by_number = -absl::InfiniteDuration();
  bool removed = false;

  bool in_memory() const { return !precisions().empty(); }
  std::vector<v1::Precision> precisions() const;  // in memory at these
  bool in_use() const;
  bool loading() const;      // at some precision
  bool load_failed() const;  // or hasn't ended, at some precision
};
struct KnownName {
  absl::StatusOr<v1::ModelPolicy> policy = v1::ModelPolicy();
  std::map<int64_t, std::shared_ptr<KnownVersion>, std::greater<>> versions;  // newest first
  int64_t highest = 0;  // number of any version that there was
};

// Which number is meant; 0: the newest. NOT_FOUND where the label isn't there, or why it can't be
// known.
absl::StatusOr<int64_t> NumberOf(const KnownName& name, const v1::ModelVersion& id);
// What is meant; where that is the newest, all that are listed, newest first, or, where none is,
// all. NOT_FOUND says what there is. Not empty.
absl::StatusOr<std::vector<std::shared_ptr<KnownVersion>>> Candidates(const KnownName& name,
                                                                      const v1::ModelVersion& id);
// What `label` stands for now, or without one the name; null where nothing can be served.
const KnownVersion* Current(const KnownName& name, const std::string& label);
bool IsLabelled(const KnownName& name, int64_t number);
// Whether a label would be rolled back to it.
bool IsRollBackTarget(const KnownName& name, int64_t number);
// At what a version that takes over from this one has to be in memory: as this one is, and where
// that is what it is served at by itself, at what the other one is (PRECISION_UNSPECIFIED).
std::vector<v1::Precision> PrecisionsAfter(const KnownVersion& version);
// Null where it was never asked for at that precision.
const ServedVersion* FindServed(const KnownVersion& version, v1::Precision requested);

// As a request for it is answered, but for the summary. A version that isn't listed has no more
// than its number, its path and its damage.
v1::Model DescribeVersion(const KnownName& name, const KnownVersion& version);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_KNOWN_VERSIONS_H_
