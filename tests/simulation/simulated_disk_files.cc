#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {

using Kind = SimulatedDisk::Operation::Kind;

// A file from its opening to its closing, or to the end of the machine it was opened on.
class SimulatedDisk::OpenFile {
 public:
  OpenFile(SimulatedDisk& disk, std::string path, std::shared_ptr<Node> node)
      : disk_(disk), path_(std::move(path)), node_(std::move(node)), restarts_(disk.restarts_) {}

  const std::string& path() const { return path_; }
  const std::string& data() const { return node_->file.data(); }
  int64_t size() const { return static_cast<int64_t>(data().size()); }

  absl::Status CheckUsable() const {
    CONVD_RETURN_IF_ERROR(disk_.CheckOn(path_));
    if (restarts_ == disk_.restarts_) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(path_, ": was opened before a crash"));
  }

  absl::Status Write(int64_t offset, std::string_view data) {
    CONVD_RETURN_IF_ERROR(CheckUsable());
    if (data.empty()) return absl::OkStatus();
    absl::Status status = disk_.Begin(Kind::kWrite, path_);
    if (!status.ok()) data = data.substr(0, disk_.Below(data.size() + 1));
    if (disk_.capacity_.has_value()) {
      const int64_t room = std::max<int64_t>(0, *disk_.capacity_ - UsedBytes(*disk_.root_));
      const int64_t fits = std::max<int64_t>(0, size() + room - offset);
      if (fits < static_cast<int64_t>(data.size())) {
        data = data.substr(0, static_cast<size_t>(fits));
        status.Update(ErrnoStatus(path_, "can't be written", ENOSPC));
      }
    }
    if (!data.empty()) node_->file.Write(offset, data);
    return status;
  }

  absl::Status Truncate(int64_t size) {
    CONVD_RETURN_IF_ERROR(CheckUsable());
    CONVD_RETURN_IF_ERROR(disk_.Begin(Kind::kTruncate, path_));
    node_->file.Truncate(size);
    return absl::OkStatus();
  }

  absl::Status Sync() {
    CONVD_RETURN_IF_ERROR(CheckUsable());
    bool ignored = false;
    if (absl::Status status = disk_.Begin(Kind::kSync, path_, &ignored); !status.ok()) {
      if (!disk_.crashed_) node_->file.FailSync();
      return status;
    }
    if (!ignored) node_->file.Sync();
    return absl::OkStatus();
  }

 private:
  SimulatedDisk& disk_;
  const std::string path_;
  const std::shared_ptr<Node> node_;
  const int64_t restarts_;
};

// The first error stays, as with files on a real disk.
class SimulatedDisk::Appender final : public WritableFile {
 public:
  explicit Appender(OpenFile file) : file_(std::move(file)) {}

  absl::Status Append(std::string_view data) override {
    CONVD_RETURN_IF_ERROR(CheckOpen());
    error_ = file_.Write(size_, data);
    size_ += static_cast<int64_t>(data.size());
    return error_;
  }

  absl::Status Sync() override {
    CONVD_RETURN_IF_ERROR(CheckOpen());
    return error_ = file_.Sync();
  }

  absl::Status Close() override {
    if (!closed_) error_.Update(file_.CheckUsable());
    closed_ = true;
    return error_;
  }

 private:
  absl::Status CheckOpen() const {
    CONVD_RETURN_IF_ERROR(error_);
    if (!closed_) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(file_.path(), ": is closed"));
  }

  OpenFile file_;
  int64_t size_ = 0;
  bool closed_ = false;
  absl::Status error_;
};

class SimulatedDisk::RandomAccess final : public RandomAccessFile {
 public:
  explicit RandomAccess(OpenFile file) : file_(std::move(file)) {}

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t size) override {
    CONVD_RETURN_IF_ERROR(file_.CheckUsable());
    if (offset >= file_.size()) return std::string();
    return file_.data().substr(static_cast<size_t>(offset), static_cast<size_t>(size));
  }
  absl::Status WriteAt(int64_t offset, std::string_view data) override {
    return file_.Write(offset, data);
  }
  absl::Status Truncate(int64_t size) override { return file_.Truncate(size); }
  absl::Status Sync() override { return file_.Sync(); }
  absl::StatusOr<int64_t> Size() override {
    CONVD_RETURN_IF_ERROR(file_.CheckUsable());
    return file_.size();
  }

 private:
  OpenFile file_;
};

absl::StatusOr<std::unique_ptr<WritableFile>> SimulatedDisk::Create(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(Place place, Resolve(path, "can't be created"));
  CONVD_ASSIGN_OR_RETURN(std::shared_ptr<Node> node, CreateFile(path, place));
  node->file.Truncate(0);
  return std::make_unique<Appender>(OpenFile(*this, place.path, std::move(node)));
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> SimulatedDisk::OpenRandomAccess(
    const std::string& path, bool create) {
  CONVD_ASSIGN_OR_RETURN(Place place, Resolve(path, "can't be opened"));
  if (place.node == nullptr && create) {
    CONVD_RETURN_IF_ERROR(CreateFile(path, place).status());
  } else {
    CONVD_RETURN_IF_ERROR(FindFile(path).status());
  }
  return std::make_unique<RandomAccess>(OpenFile(*this, place.path, place.node));
}

}  // namespace convd
