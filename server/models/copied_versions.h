#ifndef CONVD_SERVER_MODELS_COPIED_VERSIONS_H_
#define CONVD_SERVER_MODELS_COPIED_VERSIONS_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/found_versions.h"
#include "server/models/served_versions.h"

namespace convd {

// Versions that come and go by other hands, while this process serves the others. One thread at a
// time; what it is given outlives it.
class CopiedVersions {
 public:
  // `change_mu` is held by whoever changes what is on the disk, until `versions` knows.
  CopiedVersions(FileSystem& fs, const Clock& clock, std::string models_dir,
                 ServedVersions& versions, absl::Mutex& change_mu)
      : fs_(fs),
        clock_(clock),
        models_dir_(std::move(models_dir)),
        versions_(versions),
        change_mu_(change_mu) {}

  // Takes up what is new in the models' folder, once every byte is what its MANIFEST says, else as
  // damaged; forgets what is gone, unless it is in memory. A name whose folder is as it was is left
  // out. Ends early once `stopped` says so.
  void Look(Stopped stopped) ABSL_LOCKS_EXCLUDED(change_mu_);

 private:
  // What is found of a name, against what is known.
  void Compare(const FoundName& of_name, absl::Time looked, std::vector<v1::ModelVersion>& arrived)
      ABSL_LOCKS_EXCLUDED(change_mu_);
  void TakeUp(const v1::ModelVersion& id, Stopped stopped) ABSL_LOCKS_EXCLUDED(change_mu_);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string models_dir_;
  ServedVersions& versions_;
  absl::Mutex& change_mu_;
  std::set<std::string> gone_;  // paths that were warned of
  // Of the names of which all was known, whole and there.
  std::map<std::string, FileStamp> in_order_;
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_COPIED_VERSIONS_H_
