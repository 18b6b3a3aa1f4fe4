#ifndef CONVD_TESTS_CRASH_STATE_FOLDER_H_
#define CONVD_TESTS_CRASH_STATE_FOLDER_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/crash/requests.h"

namespace convd {

// A server's state folder as it lies on the disk, read without the server's own code but its
// SHA-256. Functions that return faults return none where all is well.

// For each job that has checkpoints the newest one's number.
std::map<std::string, int64_t> NewestCheckpoints(const std::string& state);

// What lies in STATE/tmp, and when it was changed last.
std::map<std::string, std::filesystem::file_time_type> TemporaryFiles(const std::string& state);

// What was there before a start and has outlived it.
std::vector<std::string> OutlivedTemporaries(
    const std::string& state, const std::map<std::string, std::filesystem::file_time_type>& before);

// Where a job has more checkpoints than the two newest and one about to be removed, or other files.
std::vector<std::string> StrayCheckpoints(const std::string& state);

// Each version's folder is whole and matches its MANIFEST, and the numbers have no gaps. `kinds`'
// names are the only ones.
std::vector<std::string> DamagedVersions(const std::string& state,
                                         const std::vector<JobKind>& kinds);

// Where a version isn't the undisturbed run's of the kind, or is another job's.
std::vector<std::string> DifferingVersion(const std::string& state, const std::string& name,
                                          int64_t number, const JobKind& kind,
                                          const std::string& job_id);

// The card of a version; empty, with a failed test, where it can't be read.
v1::ModelCard ReadCard(const std::string& version_folder);

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_STATE_FOLDER_H_
