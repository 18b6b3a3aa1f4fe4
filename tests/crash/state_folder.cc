#include "tests/crash/state_folder.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/storage/sha256.h"
#include "tests/end_to_end/small_fashion.h"

namespace convd {
namespace {

namespace fs = std::filesystem;

// Names in a folder; none where it isn't there. The server may change it meanwhile.
std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

// -1 where it isn't a number from 1.
int64_t NumberOf(const std::string& name) {
  int64_t number = 0;
  return absl::SimpleAtoi(name, &number) && number > 0 ? number : -1;
}

// Of the files in a folder, and of the folder where it is one, the newest change.
fs::file_time_type ChangedAt(const std::string& path) {
  std::error_code gone;
  fs::file_time_type newest = fs::last_write_time(path, gone);
  if (gone) return fs::file_time_type::max();
  for (const std::string& name : Names(path)) {
    const fs::file_time_type time = fs::last_write_time(absl::StrCat(path, "/", name), gone);
    if (!gone && time > newest) newest = time;
  }
  return newest;
}

std::vector<std::string> CheckManifest(const std::string& folder) {
  std::vector<std::string> faults;
  std::set<std::string> files = {"MANIFEST"};
  std::istringstream lines(ReadFile(folder + "/MANIFEST"));
  std::string sha256, name;
  size_t size = 0;
  while (lines >> sha256 >> size >> name) {
    files.insert(name);
    const std::string bytes = ReadFile(absl::StrCat(folder, "/", name));
    if (bytes.size() != size || Sha256Hex(bytes) != sha256) {
      faults.push_back(absl::StrCat(folder, "/", name, " doesn't match the MANIFEST"));
    }
  }
  const std::vector<std::string> there = Names(folder);
  if (files != std::set<std::string>{"MANIFEST", "model.onnx", "model.textproto"} ||
      files != std::set<std::string>(there.begin(), there.end())) {
    faults.push_back(absl::StrCat(folder, ": holds or lists other files than it should"));
  }
  return faults;
}

}  // namespace

std::map<std::string, int64_t> NewestCheckpoints(const std::string& state) {
  std::map<std::string, int64_t> newest;
  for (const std::string& job : Names(state + "/checkpoints")) {
    for (const std::string& name : Names(absl::StrCat(state, "/checkpoints/", job))) {
      newest[job] = std::max(newest[job], NumberOf(name));
    }
  }
  return newest;
}

std::map<std::string, fs::file_time_type> TemporaryFiles(const std::string& state) {
  std::map<std::string, fs::file_time_type> files;
  for (const std::string& name : Names(state + "/tmp")) {
    files[name] = ChangedAt(absl::StrCat(state, "/tmp/", name));
  }
  return files;
}

std::vector<std::string> OutlivedTemporaries(
    const std::string& state, const std::map<std::string, fs::file_time_type>& before) {
  std::vector<std::string> faults;
  for (const auto& [name, changed] : TemporaryFiles(state)) {
    const auto found = before.find(name);
    if (found == before.end() || found->second != changed) continue;  // made since
    faults.push_back(absl::StrCat("tmp/", name, " was left by a crash, and by the next start"));
  }
  return faults;
}

std::vector<std::string> StrayCheckpoints(const std::string& state) {
  std::vector<std::string> faults;
  for (const std::string& job : Names(state + "/checkpoints")) {
    const std::vector<std::string> names = Names(absl::StrCat(state, "/checkpoints/", job));
    if (names.size() > 3) {
      faults.push_back(absl::StrCat("job ", job, " has ", names.size(), " checkpoints"));
    }
    for (const std::string& name : names) {
      if (NumberOf(name) < 0) {
        faults.push_back(absl::StrCat("checkpoints/", job, "/", name, " is no checkpoint"));
      }
    }
  }
  return faults;
}

std::vector<std::string> DamagedVersions(const std::string& state,
                                         const std::vector<JobKind>& kinds) {
  std::vector<std::string> faults;
  std::set<std::string> names;
  for (const JobKind& kind : kinds) names.insert(kind.request.model());
  for (const std::string& name : Names(state + "/models")) {
    if (names.count(name) == 0) faults.push_back(absl::StrCat("models/", name, " is nobody's"));
    std::set<int64_t> numbers;
    for (const std::string& version : Names(absl::StrCat(state, "/models/", name))) {
      const std::string folder = absl::StrCat(state, "/models/", name, "/", version);
      if (const int64_t number = NumberOf(version); number > 0) {
        numbers.insert(number);
        for (std::string& fault : CheckManifest(folder)) faults.push_back(std::move(fault));
      } else if (absl::string_view stem = version;
                 !absl::ConsumeSuffix(&stem, ".evaluations.textproto") ||
                 NumberOf(std::string(stem)) <= 0) {
        faults.push_back(absl::StrCat(folder, " is no version"));
      }
    }
    if (!numbers.empty() && *numbers.rbegin() != static_cast<int64_t>(numbers.size())) {
      faults.push_back(absl::StrCat("models/", name, ": its versions' numbers have gaps"));
    }
  }
  return faults;
}

std::vector<std::string> DifferingVersion(const std::string& state, const std::string& name,
                                          int64_t number, const JobKind& kind,
                                          const std::string& job_id) {
  std::vector<std::string> faults;
  const std::string folder = absl::StrCat(state, "/models/", name, "/", number);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return {absl::StrCat(folder, " isn't there")};
  if (ReadFile(folder + "/model.onnx") != kind.onnx) {
    faults.push_back(absl::StrCat(folder, "/model.onnx isn't the undisturbed run's"));
  }
  const v1::ModelCard card = ReadCard(folder);
  if (card.job_id() != job_id) {
    faults.push_back(absl::StrCat(folder, " is of job ", card.job_id(), ", not of ", job_id));
  }
  std::string text;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&text);
  if (!differencer.Compare(kind.card, Comparable(card))) {
    faults.push_back(absl::StrCat(folder, ": the card isn't the undisturbed run's: ", text));
  }
  return faults;
}

v1::ModelCard ReadCard(const std::string& version_folder) {
  v1::ModelCard card;
  const std::string text = ReadFile(version_folder + "/model.textproto");
  if (!google::protobuf::TextFormat::ParseFromString(text, &card)) {
    ADD_FAILURE() << version_folder << "/model.textproto can't be read";
  }
  return card;
}

}  // namespace convd
