#ifndef CONVD_TESTS_CRASH_DATA_LEDGER_H_
#define CONVD_TESTS_CRASH_DATA_LEDGER_H_

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "convd/v1/model.pb.h"
#include "tests/crash/ledger.h"

namespace convd {

// What clients were told of datasets and evaluations, over all lives of the server. What a new
// answer says otherwise is a fault, told to the ledger of the jobs. One thread calls.
class DataLedger {
 public:
  explicit DataLedger(Ledger& ledger) : ledger_(ledger) {}

  // A name that no dataset has had, and which of kContents its bytes are. Names share contents, so
  // that deleting one must leave the other's.
  static constexpr size_t kContents = 3;
  std::pair<std::string, size_t> NewDataset();
  // Before an upload or a deletion is sent, and once it is answered.
  void Uploading(const std::string& name, size_t content);
  void Uploaded(const std::string& name, const std::string& sha256);
  void Deleting(const std::string& name);
  void Deleted(const std::string& name);
  // All that the server lists, with their SHA-256; nothing is on its way.
  void Shown(const std::map<std::string, std::string>& datasets);
  // Those that are there for sure.
  std::vector<std::string> datasets() const;

  void Evaluated(const v1::Evaluation& evaluation);
  // What the server keeps of a version's evaluations, oldest first.
  void Shown(const Ledger::VersionId& id, const std::vector<v1::Evaluation>& evaluations);
  std::vector<Ledger::VersionId> evaluated() const;

  size_t uploads() const { return uploads_; }          // that were answered
  size_t evaluations() const { return evaluations_; }  // likewise

 private:
  struct Kept {
    enum class State { kUnknown, kThere, kGone } state = State::kUnknown;
    size_t content = 0;
  };

  void CheckContent(const std::string& name, size_t content, const std::string& sha256);

  Ledger& ledger_;
  std::map<std::string, Kept> datasets_;
  std::map<size_t, std::string> sha256s_;  // of contents
  std::map<Ledger::VersionId, std::vector<v1::Evaluation>> kept_;
  size_t uploads_ = 0, evaluations_ = 0;
};

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_DATA_LEDGER_H_
