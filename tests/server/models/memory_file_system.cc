#include "tests/server/models/memory_file_system.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::Status NotFound(const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": no such file"));
}

std::string Name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

class MemoryFile : public WritableFile {
 public:
  MemoryFile(MemoryFileSystem& fs, std::string path, std::shared_ptr<MemoryFileSystem::Node> node)
      : fs_(fs), path_(std::move(path)), node_(std::move(node)) {}

  absl::Status Append(std::string_view data) override {
    CONVD_RETURN_IF_ERROR(fs_.Begin("append", path_));
    absl::MutexLock lock(&fs_.mu_);
    node_->data += data;
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    CONVD_RETURN_IF_ERROR(fs_.Begin("sync", path_));
    absl::MutexLock lock(&fs_.mu_);
    node_->synced_data = node_->data;
    return absl::OkStatus();
  }
  absl::Status Close() override { return fs_.Begin("close", path_); }

 private:
  MemoryFileSystem& fs_;
  const std::string path_;
  const std::shared_ptr<MemoryFileSystem::Node> node_;
};

class MemoryReadable : public ReadableFile {
 public:
  MemoryReadable(MemoryFileSystem& fs, std::string path,
                 std::shared_ptr<MemoryFileSystem::Node> node, int64_t size)
      : fs_(fs), path_(std::move(path)), node_(std::move(node)), size_(size) {}

  int64_t size() const override { return size_; }
  absl::Status ReadAt(int64_t offset, absl::Span<char> out) override {
    CONVD_RETURN_IF_ERROR(fs_.Begin("read", path_));
    absl::MutexLock lock(&fs_.mu_);
    const size_t begin = static_cast<size_t>(offset);
    if (begin > node_->data.size() || out.size() > node_->data.size() - begin) {
      return absl::AbortedError(absl::StrCat(path_, ": ends before what is to be read"));
    }
    std::copy_n(node_->data.begin() + offset, out.size(), out.begin());
    return absl::OkStatus();
  }
  absl::StatusOr<FileStamp> Stamp() override {
    CONVD_RETURN_IF_ERROR(fs_.Begin("stamp", path_));
    absl::MutexLock lock(&fs_.mu_);
    return MemoryFileSystem::StampOf(*node_);
  }

 private:
  MemoryFileSystem& fs_;
  const std::string path_;
  const std::shared_ptr<MemoryFileSystem::Node> node_;
  const int64_t size_;
};

namespace {

class MemoryMapped : public MappedFile {
 public:
  explicit MemoryMapped(std::string data) : data_(std::move(data)) {}
  std::string_view data() const override { return data_; }

 private:
  const std::string data_;
};

}  // namespace

MemoryFileSystem::MemoryFileSystem() : root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}

void MemoryFileSystem::FailAt(int64_t k, bool ever_after) {
  absl::MutexLock lock(&mu_);
  operations_ = 0;
  fail_at_ = k;
  fail_ever_after_ = ever_after;
}

int64_t MemoryFileSystem::operations() const {
  absl::MutexLock lock(&mu_);
  return operations_;
}

void MemoryFileSystem::OnOperation(
    std::function<void(std::string_view operation, const std::string& path)> call) {
  absl::MutexLock lock(&mu_);
  on_operation_ = std::move(call);
}

absl::Status MemoryFileSystem::Begin(std::string_view operation, const std::string& path) {
  std::function<void(std::string_view, const std::string&)> call;
  {
    absl::MutexLock lock(&mu_);
    call = on_operation_;
    ++operations_;
    if (fail_at_ > 0 && (operations_ == fail_at_ || (fail_ever_after_ && operations_ > fail_at_))) {
      return absl::InternalError(absl::StrCat(
          path, ": ", absl::string_view(operation.data(), operation.size()), " made to fail"));
    }
  }
  if (call) call(operation, path);
  return absl::OkStatus();
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::Find(const std::string& path) const {
  std::shared_ptr<Node> node = root_;
  for (const std::string& part :
       std::vector<std::string>(absl::StrSplit(path, '/', absl::SkipEmpty()))) {
    const auto it = node->entries.find(part);
    if (it == node->entries.end()) return nullptr;
    node = it->second;
  }
  return node;
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::Parent(const std::string& path) const {
  std::shared_ptr<Node> node = Find(path.substr(0, path.rfind('/')));
  return node != nullptr && node->is_directory ? node : nullptr;
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::Survivor(const Node& node,
                                                                   bool entries_survive) {
  auto survivor = std::make_shared<Node>();
  survivor->is_directory = node.is_directory;
  survivor->data = survivor->synced_data = node.synced_data;
  for (const auto& [name, child] : entries_survive ? node.entries : node.synced_entries) {
    survivor->entries[name] = Survivor(*child, entries_survive);
  }
  survivor->synced_entries = survivor->entries;
  return survivor;
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::AfterPowerCut(bool entries_survive) const {
  auto fs = std::make_unique<MemoryFileSystem>();
  absl::MutexLock lock(&mu_);
  absl::MutexLock theirs(&fs->mu_);
  fs->root_ = Survivor(*root_, entries_survive);
  return fs;
}

void MemoryFileSystem::CollectFiles(const Node& node, const std::string& path,
                                    std::vector<std::string>& files) {
  if (!node.is_directory) files.push_back(path);
  for (const auto& [name, child] : node.entries) CollectFiles(*child, path + "/" + name, files);
}

std::vector<std::string> MemoryFileSystem::AllFiles() const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> files;
  CollectFiles(*root_, "", files);
  return files;
}

std::string& MemoryFileSystem::Bytes(const std::string& path) {
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Node> node = root_;
  for (const std::string& part :
       std::vector<std::string>(absl::StrSplit(path, '/', absl::SkipEmpty()))) {
    node->is_directory = true;
    std::shared_ptr<Node>& child = node->entries[part];
    if (child == nullptr) child = std::make_shared<Node>();
    node = child;
  }
  return node->data;
}

void MemoryFileSystem::SetTime(const std::string& path, absl::Time time) {
  absl::MutexLock lock(&mu_);
  Node& node = *Find(path);
  node.time = time;
  node.size_then = static_cast<int64_t>(node.data.size());
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::Create(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("create", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> parent = Parent(path);
  if (parent == nullptr) return NotFound(path);
  auto node = std::make_shared<Node>();
  parent->entries[Name(path)] = node;
  return std::make_unique<MemoryFile>(*this, path, std::move(node));
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::OpenToAppend(
    const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("open to append", path));
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (node->is_directory) return absl::InternalError(absl::StrCat(path, ": is a folder"));
  return std::make_unique<MemoryFile>(*this, path, std::move(node));
}

absl::StatusOr<std::string> MemoryFileSystem::Read(const std::string& path, int64_t limit) {
  CONVD_RETURN_IF_ERROR(Begin("read", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (node->is_directory) return absl::InternalError(absl::StrCat(path, ": is a folder"));
  if (static_cast<int64_t>(node->data.size()) > limit) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": more than ", limit, " bytes"));
  }
  return node->data;
}

absl::StatusOr<std::unique_ptr<MappedFile>> MemoryFileSystem::Map(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(std::string data, Read(path, INT64_MAX));
  return std::make_unique<MemoryMapped>(std::move(data));
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryFileSystem::Open(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("open", path));
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (node->is_directory) return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder"));
  const int64_t size = static_cast<int64_t>(node->data.size());
  return std::make_unique<MemoryReadable>(*this, path, std::move(node), size);
}

absl::StatusOr<FileStamp> MemoryFileSystem::Stamp(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("stamp", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  return StampOf(*node);
}

FileStamp MemoryFileSystem::StampOf(const Node& node) {
  std::string held = node.data;
  for (const auto& [name, entry] : node.entries) {
    absl::StrAppend(&held, name, "/", reinterpret_cast<uintptr_t>(entry.get()), "/");
  }
  FileStamp stamp;
  stamp.size = static_cast<int64_t>(node.data.size());
  stamp.inode = reinterpret_cast<uintptr_t>(&node);
  const int64_t hash = static_cast<int64_t>(std::hash<std::string>()(held) >> 16);
  stamp.modified = node.time.value_or(absl::FromUnixNanos(hash));
  stamp.changed = stamp.modified;
  if (node.time) stamp.size = node.size_then;
  return stamp;
}

absl::StatusOr<int64_t> MemoryFileSystem::Size(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("size", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  return static_cast<int64_t>(node->data.size());
}

bool MemoryFileSystem::Exists(const std::string& path) {
  absl::MutexLock lock(&mu_);
  return Find(path) != nullptr;
}

bool MemoryFileSystem::IsDirectory(const std::string& path) {
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  return node != nullptr && node->is_directory;
}

absl::StatusOr<std::vector<std::string>> MemoryFileSystem::List(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("list", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (!node->is_directory) return absl::InternalError(absl::StrCat(path, ": is no folder"));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

absl::Status MemoryFileSystem::CreateDirectories(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("create directories", path));
  absl::MutexLock lock(&mu_);
  std::shared_ptr<Node> node = root_;
  for (const std::string& part :
       std::vector<std::string>(absl::StrSplit(path, '/', absl::SkipEmpty()))) {
    std::shared_ptr<Node>& child = node->entries[part];
    if (child == nullptr) {
      child = std::make_shared<Node>();
      child->is_directory = true;
    }
    if (!child->is_directory) return absl::InternalError(absl::StrCat(path, ": a file is there"));
    node = child;
  }
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::Rename(const std::string& from, const std::string& to) {
  CONVD_RETURN_IF_ERROR(Begin("rename", to));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(from);
  const std::shared_ptr<Node> parent = Parent(to);
  if (node == nullptr || parent == nullptr) return NotFound(node == nullptr ? from : to);
  std::shared_ptr<Node>& place = parent->entries[Name(to)];
  if (place != nullptr && place->is_directory && !place->entries.empty()) {
    return absl::AlreadyExistsError(absl::StrCat(to, ": is not empty"));
  }
  place = node;
  Parent(from)->entries.erase(Name(from));
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::Remove(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("remove", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> parent = Parent(path);
  if (parent == nullptr || parent->entries.erase(Name(path)) == 0) return NotFound(path);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RemoveAll(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("remove all", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> parent = Parent(path);
  if (parent != nullptr) parent->entries.erase(Name(path));
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::SyncDirectory(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("sync directory", path));
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  node->synced_entries = node->entries;
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryFileSystem::Canonical(const std::string& path) {
  CONVD_RETURN_IF_ERROR(Begin("canonical", path));
  absl::MutexLock lock(&mu_);
  if (Find(path) == nullptr) return NotFound(path);
  return path;
}

absl::StatusOr<int64_t> MemoryFileSystem::TreeBytes(const std::string& path) {
  absl::MutexLock lock(&mu_);
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  return NodeBytes(*node);
}

absl::StatusOr<int64_t> MemoryFileSystem::FreeBytes(const std::string&) {
  return std::numeric_limits<int64_t>::max();
}

int64_t MemoryFileSystem::NodeBytes(const Node& node) {
  int64_t bytes = static_cast<int64_t>(node.data.size());
  for (const auto& [name, entry] : node.entries) bytes += NodeBytes(*entry);
  return bytes;
}

}  // namespace convd
