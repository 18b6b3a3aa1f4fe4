#include "tests/simulation/simulated_disk.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <limits>
#include <set>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

using Kind = SimulatedDisk::Operation::Kind;

absl::Status NotAFolder(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": is not a folder; one is wanted"));
}

class CopiedFile final : public MappedFile {
 public:
  explicit CopiedFile(std::string data) : data_(std::move(data)) {}
  std::string_view data() const override { return data_; }

 private:
  const std::string data_;
};

}  // namespace

SimulatedDisk::SimulatedDisk(uint64_t seed) : random_(seed), root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}

SimulatedDisk::~SimulatedDisk() = default;

void SimulatedDisk::CrashAt(int64_t n) { crash_at_ = n == 0 ? 0 : operations_ + n; }

void SimulatedDisk::FailAt(int64_t n, absl::Status status) {
  fail_at_ = n == 0 ? 0 : operations_ + n;
  failure_ = std::move(status);
}

absl::Status SimulatedDisk::Begin(Kind kind, const std::string& path, bool* ignored) {
  const Operation operation = {kind, path, ++operations_};
  const bool ignore = ignored_ && ignored_(operation);
  if (ignored != nullptr) *ignored = ignore;
  if (operations_ == crash_at_) {
    crashed_ = true;
    return CheckOn(path);
  }
  absl::Status status = operations_ == fail_at_ ? failure_ : absl::OkStatus();
  if (fault_) status.Update(fault_(operation));
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::Status SimulatedDisk::ErrnoStatus(const std::string& path, absl::string_view what,
                                        int error) {
  const std::string message =
      absl::StrCat(path, ": ", what, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
      return absl::ResourceExhaustedError(message);
    case EISDIR:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status SimulatedDisk::CheckOn(const std::string& path) const {
  if (!crashed_) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, ": the simulated machine is off"));
}

absl::StatusOr<SimulatedDisk::Place> SimulatedDisk::Resolve(const std::string& path,
                                                            absl::string_view what,
                                                            const std::string* blamed) const {
  const std::string& shown = blamed == nullptr ? path : *blamed;
  CONVD_RETURN_IF_ERROR(CheckOn(path));
  if (path.empty()) return absl::InvalidArgumentError("a path is empty");
  if (absl::StrContains(path, '\0')) {
    return absl::InvalidArgumentError("a path can't hold a NUL character");
  }
  constexpr size_t kLongestPath = 4095, kLongestName = 255;
  if (path.size() > kLongestPath) return ErrnoStatus(shown, what, ENAMETOOLONG);
  std::vector<std::shared_ptr<Node>> nodes = {root_};
  std::vector<std::string> names;
  Place place;
  place.wants_folder = path.back() == '/';
  for (const std::string& part :
       std::vector<std::string>(absl::StrSplit(path, '/', absl::SkipEmpty()))) {
    if (nodes.back() == nullptr) return ErrnoStatus(shown, what, ENOENT);
    if (!nodes.back()->is_directory) return ErrnoStatus(shown, what, ENOTDIR);
    if (part.size() > kLongestName) return ErrnoStatus(shown, what, ENAMETOOLONG);
    place.name.clear();
    if (part == ".") continue;
    if (part == "..") {
      if (names.empty()) continue;
      nodes.pop_back();
      names.pop_back();
      continue;
    }
    const auto it = nodes.back()->entries.find(part);
    nodes.push_back(it == nodes.back()->entries.end() ? nullptr : it->second);
    names.push_back(part);
    place.name = part;
  }
  place.path = absl::StrCat("/", absl::StrJoin(names, "/"));
  place.node = nodes.back();
  nodes.pop_back();
  place.folders = std::move(nodes);
  return place;
}

absl::StatusOr<SimulatedDisk::Place> SimulatedDisk::Find(const std::string& path,
                                                         absl::string_view what) const {
  CONVD_ASSIGN_OR_RETURN(Place place, Resolve(path, what));
  if (place.node == nullptr) return ErrnoStatus(path, what, ENOENT);
  if (place.wants_folder && !place.node->is_directory) return ErrnoStatus(path, what, ENOTDIR);
  return place;
}

absl::StatusOr<SimulatedDisk::Place> SimulatedDisk::FindFile(const std::string& path) const {
  CONVD_ASSIGN_OR_RETURN(Place place, Find(path, "can't be opened"));
  if (!place.node->is_directory) return place;
  return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder; a file is wanted"));
}

absl::StatusOr<SimulatedDisk::Place> SimulatedDisk::FindFolder(const std::string& path) const {
  CONVD_ASSIGN_OR_RETURN(Place place, Find(path, "can't be opened"));
  if (!place.node->is_directory) return NotAFolder(path);
  return place;
}

absl::StatusOr<std::shared_ptr<SimulatedDisk::Node>> SimulatedDisk::CreateFile(
    const std::string& path, Place& place) {
  if (place.wants_folder || (place.node != nullptr && place.node->is_directory)) {
    return ErrnoStatus(path, "can't be created", EISDIR);
  }
  CONVD_RETURN_IF_ERROR(Begin(Kind::kCreate, place.path));
  if (place.node == nullptr) {
    place.node = std::make_shared<Node>();
    Link(place, place.node);
  }
  return place.node;
}

absl::StatusOr<std::string> SimulatedDisk::Read(const std::string& path, int64_t limit) {
  CONVD_ASSIGN_OR_RETURN(const Place place, FindFile(path));
  const std::string& data = place.node->file.data();
  limit = std::max<int64_t>(limit, 0);
  if (static_cast<int64_t>(data.size()) > limit) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": has ", data.size(), " bytes; the limit is ", limit));
  }
  return data;
}

absl::StatusOr<std::unique_ptr<MappedFile>> SimulatedDisk::Map(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const Place place, FindFile(path));
  return std::make_unique<CopiedFile>(place.node->file.data());
}

absl::StatusOr<int64_t> SimulatedDisk::Size(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const Place place, Find(path, "can't be examined"));
  constexpr int64_t kFolder = 4096;
  return place.node->is_directory ? kFolder : static_cast<int64_t>(place.node->file.data().size());
}

bool SimulatedDisk::Exists(const std::string& path) { return Find(path, "").ok(); }

bool SimulatedDisk::IsDirectory(const std::string& path) { return FindFolder(path).ok(); }

absl::StatusOr<std::vector<std::string>> SimulatedDisk::List(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const Place place, FindFolder(path));
  std::vector<std::string> names;
  for (const auto& [name, node] : place.node->entries) names.push_back(name);
  return names;
}

absl::Status SimulatedDisk::CreateDirectories(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("a path is empty");
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    const absl::StatusOr<Place> place = Resolve(folder, "can't be created");
    if (!place.ok() && !absl::IsNotFound(place.status())) return place.status();
    if (place.ok() && place->node == nullptr) {
      CONVD_RETURN_IF_ERROR(Begin(Kind::kCreateDirectory, place->path));
      auto node = std::make_shared<Node>();
      node->is_directory = true;
      Link(*place, std::move(node));
    } else if (!place.ok() || !place->node->is_directory) {
      return absl::AlreadyExistsError(
          absl::StrCat(folder, ": is not a folder; one is wanted there"));
    }
  }
  return absl::OkStatus();
}

absl::Status SimulatedDisk::Rename(const std::string& from, const std::string& to) {
  const std::string what = absl::StrCat("can't be renamed to ", to);
  const auto fail = [&](int error) { return ErrnoStatus(from, what, error); };
  CONVD_ASSIGN_OR_RETURN(const Place source, Resolve(from, what));
  CONVD_ASSIGN_OR_RETURN(const Place target, Resolve(to, what, &from));
  if (source.name.empty() || target.name.empty()) return fail(EBUSY);
  CONVD_RETURN_IF_ERROR(Find(from, what).status());
  const bool is_directory = source.node->is_directory;
  if (target.wants_folder && !is_directory) return fail(ENOTDIR);
  const std::vector<std::shared_ptr<Node>>& folders = target.folders;
  if (std::count(folders.begin(), folders.end(), source.node) > 0) return fail(EINVAL);
  if (target.node != nullptr) {
    if (is_directory && !target.node->is_directory) return fail(ENOTDIR);
    if (!is_directory && target.node->is_directory) return fail(EISDIR);
    if (target.node == source.node) return absl::OkStatus();
    if (!target.node->entries.empty()) return fail(ENOTEMPTY);
  }
  CONVD_RETURN_IF_ERROR(Begin(Kind::kRename, target.path));
  Change change;
  change.edits.push_back({source.folders.back(), source.name, nullptr});
  change.edits.push_back({folders.back(), target.name, source.node});
  Commit(std::move(change));
  return absl::OkStatus();
}

absl::Status SimulatedDisk::Remove(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const Place place, Find(path, "can't be removed"));
  if (!place.node->entries.empty()) return ErrnoStatus(path, "can't be removed", ENOTEMPTY);
  if (place.name.empty()) return ErrnoStatus(path, "can't be removed", EBUSY);
  CONVD_RETURN_IF_ERROR(Begin(Kind::kRemove, place.path));
  Link(place, nullptr);
  return absl::OkStatus();
}

absl::Status SimulatedDisk::RemoveAll(const std::string& path) {
  CONVD_RETURN_IF_ERROR(CheckOn(path));
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  const absl::StatusOr<Place> place = Find(name, "can't be removed");
  if (absl::IsNotFound(place.status())) return absl::OkStatus();
  CONVD_RETURN_IF_ERROR(place.status());
  const auto entries = place->node->entries;
  for (const auto& [entry, node] : entries) {
    CONVD_RETURN_IF_ERROR(RemoveAll(absl::StrCat(name, "/", entry)));
  }
  // Of a path with a .. at its end the last name may have gone with the rest.
  const absl::Status removed = Remove(name);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

absl::Status SimulatedDisk::SyncDirectory(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const Place place, FindFolder(path));
  bool ignored = false;
  CONVD_RETURN_IF_ERROR(Begin(Kind::kSyncDirectory, place.path, &ignored));
  if (ignored) return absl::OkStatus();
  // Backwards: with a change of two folders goes what the other one had before.
  std::set<std::shared_ptr<Node>> wanted = {place.node};
  std::vector<Change> durable, others;
  for (auto it = changes_.rbegin(); it != changes_.rend(); ++it) {
    bool chosen = false;
    const std::vector<std::shared_ptr<Node>> folders = it->folders();
    for (const std::shared_ptr<Node>& folder : folders) chosen = chosen || wanted.count(folder) > 0;
    if (chosen) wanted.insert(folders.begin(), folders.end());
    (chosen ? durable : others).push_back(std::move(*it));
  }
  std::for_each(durable.rbegin(), durable.rend(), ApplyDurably);
  changes_.assign(std::make_move_iterator(others.rbegin()), std::make_move_iterator(others.rend()));
  return absl::OkStatus();
}

absl::StatusOr<std::string> SimulatedDisk::Canonical(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(Place place, Find(path, "can't be resolved"));
  return std::move(place.path);
}

void SimulatedDisk::Link(const Place& place, std::shared_ptr<Node> node) {
  Change change;
  change.edits.push_back({place.folders.back(), place.name, std::move(node)});
  Commit(std::move(change));
}

void SimulatedDisk::Commit(Change change) {
  for (const Edit& edit : change.edits) {
    if (edit.node == nullptr) {
      edit.folder->entries.erase(edit.name);
    } else {
      edit.folder->entries[edit.name] = edit.node;
    }
  }
  changes_.push_back(std::move(change));
}

std::vector<std::shared_ptr<SimulatedDisk::Node>> SimulatedDisk::Change::folders() const {
  std::vector<std::shared_ptr<Node>> folders;
  for (const Edit& edit : edits) {
    if (folders.empty() || folders.back() != edit.folder) folders.push_back(edit.folder);
  }
  return folders;
}

void SimulatedDisk::ApplyDurably(const Change& change) {
  for (const Edit& edit : change.edits) {
    if (edit.node == nullptr) {
      edit.folder->durable_entries.erase(edit.name);
    } else {
      edit.folder->durable_entries[edit.name] = edit.node;
    }
  }
}

void SimulatedDisk::Restart(Survival survival) {
  CutEntries(survival);
  Settle(*root_, survival);
  RestartProcess();
}

void SimulatedDisk::RestartProcess() {
  crashed_ = false;
  crash_at_ = fail_at_ = 0;
  ++restarts_;
}

void SimulatedDisk::CutEntries(Survival survival) {
  // How many changes each folder has, and then how many of these survive. By change, not by
  // pointer: the same in every run.
  std::map<Node*, uint64_t> count;
  for (const Change& change : changes_) {
    for (const std::shared_ptr<Node>& folder : change.folders()) ++count[folder.get()];
  }
  std::set<Node*> drawn, cut;
  for (const Change& change : changes_) {
    const std::vector<std::shared_ptr<Node>> folders = change.folders();
    bool survives = true;
    for (const std::shared_ptr<Node>& folder : folders) {
      uint64_t& left = count[folder.get()];
      if (drawn.insert(folder.get()).second) {
        if (survival == Survival::kNothing) left = 0;
        if (survival == Survival::kBySeed) left = Below(left + 1);
      }
      survives = survives && left > 0 && cut.count(folder.get()) == 0;
    }
    for (const std::shared_ptr<Node>& folder : folders) {
      if (survives) {
        --count[folder.get()];
      } else {
        cut.insert(folder.get());
      }
    }
    if (survives) ApplyDurably(change);
  }
  changes_.clear();
}

void SimulatedDisk::Settle(Node& node, Survival survival) {
  node.entries = node.durable_entries;
  node.file.CutPower(survival, random_);
  for (const auto& [name, entry] : node.entries) Settle(*entry, survival);
}

absl::StatusOr<int64_t> SimulatedDisk::TreeBytes(const std::string& path) {
  CONVD_RETURN_IF_ERROR(CheckOn(path));
  CONVD_ASSIGN_OR_RETURN(const Place place, Find(path, "can't be examined"));
  return UsedBytes(*place.node);
}

absl::StatusOr<int64_t> SimulatedDisk::FreeBytes(const std::string& path) {
  CONVD_RETURN_IF_ERROR(CheckOn(path));
  CONVD_RETURN_IF_ERROR(Find(path, "can't be examined").status());
  return capacity_.has_value() ? std::max<int64_t>(0, *capacity_ - UsedBytes(*root_))
                               : std::numeric_limits<int64_t>::max();
}

int64_t SimulatedDisk::UsedBytes(const Node& folder) {
  int64_t bytes = static_cast<int64_t>(folder.file.data().size());
  for (const auto& [name, node] : folder.entries) bytes += UsedBytes(*node);
  return bytes;
}

}  // namespace convd
