#include "tests/crash/data_ledger.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// The server keeps the last hundred of a version.
constexpr size_t kMostEvaluations = 100;

}  // namespace

std::pair<std::string, size_t> DataLedger::NewDataset() {
  const size_t number = datasets_.size() + 1;
  return {absl::StrCat("data-", number), number % kContents};
}

void DataLedger::Uploading(const std::string& name, size_t content) {
  datasets_[name] = {Kept::State::kUnknown, content};
}

void DataLedger::Uploaded(const std::string& name, const std::string& sha256) {
  Kept& kept = datasets_.at(name);
  kept.state = Kept::State::kThere;
  CheckContent(name, kept.content, sha256);
  ++uploads_;
}

void DataLedger::Deleting(const std::string& name) {
  datasets_.at(name).state = Kept::State::kUnknown;
}

void DataLedger::Deleted(const std::string& name) { datasets_.at(name).state = Kept::State::kGone; }

void DataLedger::CheckContent(const std::string& name, size_t content, const std::string& sha256) {
  const auto [known, first] = sha256s_.emplace(content, sha256);
  if (!first && known->second != sha256) {
    ledger_.Fault(absl::StrCat("dataset ", name, " has other content than was uploaded: ", sha256));
  }
}

void DataLedger::Shown(const std::map<std::string, std::string>& datasets) {
  for (auto& [name, kept] : datasets_) {
    const auto shown = datasets.find(name);
    const bool there = shown != datasets.end();
    if (there) CheckContent(name, kept.content, shown->second);
    if (kept.state == Kept::State::kThere && !there) {
      ledger_.Fault(absl::StrCat("dataset ", name, " is lost"));
    }
    if (kept.state == Kept::State::kGone && there) {
      ledger_.Fault(absl::StrCat("dataset ", name, " was deleted, and is there again"));
    }
    kept.state = there ? Kept::State::kThere : Kept::State::kGone;
  }
  for (const auto& [name, sha256] : datasets) {
    if (name != "fashion" && datasets_.count(name) == 0) {
      ledger_.Fault(absl::StrCat("dataset ", name, " was made by nobody"));
    }
  }
}

std::vector<std::string> DataLedger::datasets() const {
  std::vector<std::string> names;
  for (const auto& [name, kept] : datasets_) {
    if (kept.state == Kept::State::kThere) names.push_back(name);
  }
  return names;
}

void DataLedger::Evaluated(const v1::Evaluation& evaluation) {
  kept_[{evaluation.model().name(), evaluation.model().version()}].push_back(evaluation);
  ++evaluations_;
}

void DataLedger::Shown(const Ledger::VersionId& id,
                       const std::vector<v1::Evaluation>& evaluations) {
  if (evaluations.size() >= kMostEvaluations) return;
  // In their order, with what was never answered between them.
  auto next = evaluations.begin();
  for (const v1::Evaluation& kept : kept_.at(id)) {
    next = std::find_if(next, evaluations.end(), [&](const v1::Evaluation& shown) {
      return google::protobuf::util::MessageDifferencer::Equals(shown, kept);
    });
    if (next == evaluations.end()) {
      ledger_.Fault(absl::StrCat(id.first, ":", id.second, " has lost the evaluation ",
                                 kept.ShortDebugString()));
      return;
    }
    ++next;
  }
}

std::vector<Ledger::VersionId> DataLedger::evaluated() const {
  std::vector<Ledger::VersionId> ids;
  for (const auto& [id, kept] : kept_) ids.push_back(id);
  return ids;
}

}  // namespace convd
