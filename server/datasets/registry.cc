#include "server/datasets/registry.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/data/dataset_files.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/datasets/data_dirs.h"
#include "server/datasets/dataset_folder.h"
#include "server/datasets/disk_arrays.h"
#include "server/datasets/new_dataset.h"
#include "server/datasets/partial_uploads.h"
#include "server/datasets/upload.h"
#include "server/record_text.h"

namespace convd {
namespace {

constexpr char kTemporaryPrefix[] = "dataset-";
constexpr char kNamesFolder[] = "names";
constexpr char kNameSuffix[] = ".textproto";
constexpr int kMaxUploads = 8;
constexpr size_t kMaxWarnings = 1000;

DataLimits WithArrays(DataLimits limits, ArrayMemory& arrays) {
  limits.arrays = &arrays;
  return limits;
}

class DiskDatasetRegistry final : public DatasetRegistry {
 public:
  DiskDatasetRegistry(FileSystem& fs, const Clock& clock, const std::string& state_dir,
                      DataDirs data_dirs, const DataLimits& limits, TakeRoom take_room)
      : fs_(fs),
        clock_(clock),
        state_dir_(state_dir),
        datasets_dir_(absl::StrCat(state_dir, "/datasets")),
        names_dir_(absl::StrCat(datasets_dir_, "/", kNamesFolder)),
        tmp_dir_(absl::StrCat(state_dir, "/tmp")),
        data_dirs_(std::move(data_dirs)),
        take_room_(std::move(take_room)),
        arrays_(fs, tmp_dir_, take_room_),
        limits_(WithArrays(limits, arrays_)),
        partial_(fs, clock,
                 {absl::StrCat(state_dir, "/uploads"), limits.upload_bytes, take_room_,
                  [this] { return NewTemporary(); },
                  [this](std::string text) { Warn(std::move(text)); }}) {}

  absl::Status Scan();

  absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest& request) override;
  absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(
      const v1::UploadHeader& header) override;
  absl::StatusOr<v1::Upload> GetUpload(const std::string& id,
                                       const std::function<absl::Status()>& go_on) override {
    return partial_.Get(id, go_on);
  }
  std::vector<v1::Upload> ListUploads() override { return partial_.List(); }
  absl::Status DeleteUpload(const std::string& id) override { return partial_.Delete(id); }
  std::vector<std::string> RemoveUnusedUploads() override { return partial_.RemoveUnused(); }
  absl::StatusOr<v1::Dataset> Get(const std::string& name) override;
  std::vector<v1::Dataset> List() override;
  absl::Status Delete(const std::string& name) override;
  absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) override;
  std::vector<std::string> TakeWarnings() override;

 private:
  // What one name stands for.
  struct Name {
    v1::Dataset record;  // at least name and sha256
    bool readable = true;
  };
  // What lies in one folder.
  struct Content {
    absl::Status error;  // DATA_LOSS where it is damaged
    v1::Dataset record;
    std::weak_ptr<const Dataset> loaded;
  };

  std::string ContentDir(const std::string& sha256) const {
    return absl::StrCat(datasets_dir_, "/", sha256);
  }
  std::string NamePath(const std::string& name) const {
    return absl::StrCat(names_dir_, "/", name, kNameSuffix);
  }
  std::string NewTemporary();
  void ScanTemporaries(const std::vector<std::string>& entries);
  void ScanName(const std::string& entry);
  void ScanContent(const std::string& entry);
  void DropOrphans();

  // Finds, reads and publishes; every file must lie in `allowed`. `ours`: nobody changes them.
  absl::StatusOr<v1::Dataset> Ingest(const NewDataset& wanted, const std::string& path,
                                     const std::string& shown_path, const DataDirs& allowed,
                                     bool ours);
  absl::StatusOr<v1::Dataset> Publish(const NewDataset& wanted, const Dataset& dataset);
  absl::Status MoveContentIntoPlace(const Dataset& dataset, const v1::Dataset& record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  // Out of sight at once, then removed.
  absl::Status RemoveContent(const std::string& sha256) ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  absl::StatusOr<const Name*> Find(const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // OK where the name can be used.
  absl::Status CheckUndamaged(const Name& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Warn(std::string text);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string state_dir_;
  const std::string datasets_dir_;
  const std::string names_dir_;
  const std::string tmp_dir_;
  const DataDirs data_dirs_;
  const TakeRoom take_room_;
  DiskArrays arrays_;
  const DataLimits limits_;
  PartialUploads partial_;
  std::atomic<int64_t> temporaries_{0};
  std::atomic<int> uploads_{0};

  // Held while a dataset is being read, so that there is one at a time.
  absl::Mutex ingest_mu_ ABSL_ACQUIRED_BEFORE(publish_mu_);
  // Held while names and folders on disk change.
  absl::Mutex publish_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  // Never held while files are read or written.
  absl::Mutex mu_;
  std::map<std::string, Name> names_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Content> contents_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mu_);
};

void DiskDatasetRegistry::Warn(std::string text) {
  absl::MutexLock lock(&mu_);
  if (warnings_.size() < kMaxWarnings) warnings_.push_back(std::move(text));
}

std::vector<std::string> DiskDatasetRegistry::TakeWarnings() {
  absl::MutexLock lock(&mu_);
  return std::exchange(warnings_, {});
}

std::string DiskDatasetRegistry::NewTemporary() {
  // Unique among this process's, and everything older was removed when it began.
  return absl::StrCat(tmp_dir_, "/", kTemporaryPrefix, absl::ToUnixNanos(clock_.Now()), "-",
                      temporaries_.fetch_add(1, std::memory_order_relaxed));
}

absl::Status DiskDatasetRegistry::Scan() {
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(names_dir_));
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(tmp_dir_));
  CONVD_RETURN_IF_ERROR(partial_.Scan());
  // What is published later is only as durable as the folders above it.
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(datasets_dir_));
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(state_dir_));
  // A process that ended between a name's rename and the folder's sync left it in the kernel's
  // cache alone, and from here on it is shown.
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(names_dir_));
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> left, fs_.List(tmp_dir_));
  ScanTemporaries(left);
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(names_dir_));
  for (const std::string& entry : names) ScanName(entry);
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> contents, fs_.List(datasets_dir_));
  for (const std::string& entry : contents) ScanContent(entry);
  DropOrphans();
  return absl::OkStatus();
}

void DiskDatasetRegistry::ScanTemporaries(const std::vector<std::string>& entries) {
  for (const std::string& entry : entries) {
    if (!absl::StartsWith(entry, kTemporaryPrefix)) continue;
    const std::string path = absl::StrCat(tmp_dir_, "/", entry);
    const absl::Status status = fs_.RemoveAll(path);
    Warn(status.ok() ? absl::StrCat(path, ": removed; a registration or upload was interrupted")
                     : absl::StrCat(path, ": can't be removed: ", status.message()));
  }
}

void DiskDatasetRegistry::ScanName(const std::string& entry) {
  const std::string path = absl::StrCat(names_dir_, "/", entry);
  absl::string_view stem = entry;
  if (absl::EndsWith(entry, absl::StrCat(kNameSuffix, ".tmp"))) {
    // Of a write that was interrupted before it took effect.
    if (absl::Status status = fs_.Remove(path); !status.ok()) Warn(std::string(status.message()));
    return;
  }
  if (!absl::ConsumeSuffix(&stem, kNameSuffix) || !CheckName("name", std::string(stem)).ok()) {
    return Warn(absl::StrCat(absl::Utf8SafeCEscape(path), ": ignored: not a dataset's name"));
  }
  absl::StatusOr<v1::Dataset> record = ReadDatasetRecord(fs_, path);
  Name name;
  if (record.ok() && record->name() == stem && IsSha256(record->sha256())) {
    name.record = *std::move(record);
  } else {
    name.record.set_name(std::string(stem));
    name.readable = false;
    Warn(absl::StrCat("dataset \"", stem, "\" is damaged: ",
                      record.ok() ? absl::StrCat(path, ": name or sha256 can't be right")
                                  : std::string(record.status().message())));
  }
  absl::MutexLock lock(&mu_);
  names_.emplace(std::string(stem), std::move(name));
}

void DiskDatasetRegistry::ScanContent(const std::string& entry) {
  if (entry == kNamesFolder) return;
  const std::string path = ContentDir(entry);
  if (!IsSha256(entry)) {
    return Warn(absl::StrCat(absl::Utf8SafeCEscape(path), ": ignored: not a dataset's folder"));
  }
  absl::StatusOr<v1::Dataset> record = CheckDatasetFolder(fs_, path, entry);
  Content content;
  if (record.ok()) {
    content.record = *std::move(record);
  } else {
    content.error = record.status();
    Warn(absl::StrCat("a dataset is damaged: ", record.status().message()));
  }
  absl::MutexLock lock(&mu_);
  contents_.emplace(entry, std::move(content));
}

void DiskDatasetRegistry::DropOrphans() {
  absl::MutexLock publishing(&publish_mu_);
  std::set<std::string> orphans;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [sha256, content] : contents_) orphans.insert(sha256);
    for (const auto& [name, entry] : names_) {
      // It might be the name of any of them.
      if (!entry.readable) return;
      orphans.erase(entry.record.sha256());
    }
  }
  for (const std::string& sha256 : orphans) {
    const absl::Status status = RemoveContent(sha256);
    Warn(status.ok()
             ? absl::StrCat(ContentDir(sha256), ": removed; no name stood for it")
             : absl::StrCat(ContentDir(sha256), ": no name stands for it, but ", status.message()));
  }
}

absl::StatusOr<v1::Dataset> DiskDatasetRegistry::Register(
    const v1::RegisterDatasetRequest& request) {
  const NewDataset wanted = ReadNewDataset(request);
  CONVD_RETURN_IF_ERROR(CheckNewDataset("", wanted, limits_));
  CONVD_ASSIGN_OR_RETURN(const std::string path, data_dirs_.Resolve("path", request.path()));
  return Ingest(wanted, path, request.path(), data_dirs_, /*ours=*/false);
}

absl::StatusOr<v1::Dataset> DiskDatasetRegistry::Ingest(const NewDataset& wanted,
                                                        const std::string& path,
                                                        const std::string& shown_path,
                                                        const DataDirs& allowed, bool ours) {
  absl::MutexLock ingesting(&ingest_mu_);
  // Before anything is asked of the disk, whose answer would tell what lies elsewhere.
  CONVD_RETURN_IF_ERROR(CheckInside(allowed, path, wanted.files, limits_));
  CONVD_ASSIGN_OR_RETURN(
      DatasetFiles found,
      FindDatasetFiles(fs_, path, shown_path, wanted.files, limits_,
                       [&allowed](const std::string& shown, const std::string& entry) {
                         return allowed.Resolve(shown, entry);
                       }));
  // From here on files are opened by their canonical paths alone.
  const auto resolve = [&allowed, ours](DataFile& file) -> absl::Status {
    file.ours = ours;
    CONVD_ASSIGN_OR_RETURN(file.path, allowed.Resolve(file.name, file.path));
    return absl::OkStatus();
  };
  for (DatasetFiles::Split& split : found.splits) {
    for (DataFile& file : split.images) CONVD_RETURN_IF_ERROR(resolve(file));
    for (DataFile& file : split.labels) CONVD_RETURN_IF_ERROR(resolve(file));
  }
  for (DataFile* const names : {&found.cifar10_names, &found.cifar100_names}) {
    if (!wanted.labels.empty()) *names = {};
    if (!names->path.empty()) CONVD_RETURN_IF_ERROR(resolve(*names));
  }
  CONVD_ASSIGN_OR_RETURN(const Dataset dataset,
                         ReadDatasetFiles(fs_, found, wanted.labels, limits_, wanted.image_size));
  return Publish(wanted, dataset);
}

absl::StatusOr<v1::Dataset> DiskDatasetRegistry::Publish(const NewDataset& wanted,
                                                         const Dataset& dataset) {
  const std::string& name = wanted.name;
  const std::string sha256 = HashDataset(dataset);
  if (!IsSha256(sha256)) return absl::ResourceExhaustedError("no memory to hash the dataset");
  v1::Dataset record = DescribeDataset(dataset, sha256);
  const timespec now = absl::ToTimespec(clock_.Now());
  record.mutable_created()->set_seconds(now.tv_sec);
  record.mutable_created()->set_nanos(static_cast<int32_t>(now.tv_nsec));

  absl::MutexLock publishing(&publish_mu_);
  bool has_content = false;
  bool has_name = false;
  {
    absl::MutexLock lock(&mu_);
    const auto content = contents_.find(sha256);
    has_content = content != contents_.end() && content->second.error.ok();
    const auto there = names_.find(name);
    has_name = there != names_.end() && there->second.readable;
    if (has_name && there->second.record.sha256() != sha256) {
      return absl::AlreadyExistsError(absl::StrCat(
          "name: \"", name, "\" stands for other data (SHA-256 ", there->second.record.sha256(),
          ", not ", sha256, "); delete it first, or choose another name"));
    }
    if (has_name && has_content) return there->second.record;
  }
  if (!has_content) {
    CONVD_RETURN_IF_ERROR(take_room_(record.size_bytes()));
    CONVD_RETURN_IF_ERROR(MoveContentIntoPlace(dataset, record));
    absl::MutexLock lock(&mu_);
    Content& content = contents_[sha256];
    content.error = absl::OkStatus();
    content.record = record;
  }
  record.set_name(name);
  record.set_upload_id(wanted.upload_id);
  if (absl::Status status = WriteFileAtomically(fs_, NamePath(name), RecordText(record));
      !status.ok()) {
    // The rename may have happened and only its sync failed.
    if (!has_name) fs_.Remove(NamePath(name)).IgnoreError();
    if (!has_content && !has_name) RemoveContent(sha256).IgnoreError();
    return status;
  }
  absl::MutexLock lock(&mu_);
  names_[name] = {record, true};
  return record;
}

absl::Status DiskDatasetRegistry::MoveContentIntoPlace(const Dataset& dataset,
                                                       const v1::Dataset& record) {
  const std::string tmp = NewTemporary();
  // Not there any more after the rename; the first error is the one to tell.
  absl::Cleanup remove = [&] { fs_.RemoveAll(tmp).IgnoreError(); };
  CONVD_RETURN_IF_ERROR(WriteDatasetFolder(fs_, tmp, dataset, record));
  const std::string place = ContentDir(record.sha256());
  // A damaged one makes way.
  if (fs_.Exists(place)) CONVD_RETURN_IF_ERROR(RemoveContent(record.sha256()));
  CONVD_RETURN_IF_ERROR(fs_.Rename(tmp, place));
  if (absl::Status status = fs_.SyncDirectory(datasets_dir_); !status.ok()) {
    RemoveContent(record.sha256()).IgnoreError();
    return status;
  }
  return absl::OkStatus();
}

absl::Status DiskDatasetRegistry::RemoveContent(const std::string& sha256) {
  {
    absl::MutexLock lock(&mu_);
    contents_.erase(sha256);
  }
  const std::string tmp = NewTemporary();
  const absl::Status status = fs_.Rename(ContentDir(sha256), tmp);
  if (absl::IsNotFound(status)) return absl::OkStatus();
  CONVD_RETURN_IF_ERROR(status);
  return fs_.RemoveAll(tmp);
}

absl::StatusOr<const DiskDatasetRegistry::Name*> DiskDatasetRegistry::Find(
    const std::string& name) const {
  CONVD_RETURN_IF_ERROR(CheckName("dataset", name));
  const auto there = names_.find(name);
  if (there != names_.end()) return &there->second;
  return absl::NotFoundError(absl::StrCat("dataset: there is none named \"", name, "\""));
}

absl::Status DiskDatasetRegistry::CheckUndamaged(const Name& name) const {
  const std::string start = absl::StrCat("dataset \"", name.record.name(),
                                         "\" is damaged; delete it, or register it "
                                         "again: ");
  if (!name.readable) return absl::DataLossError(absl::StrCat(start, "its record can't be read"));
  const auto content = contents_.find(name.record.sha256());
  if (content == contents_.end()) {
    return absl::DataLossError(absl::StrCat(start, "its arrays are missing"));
  }
  if (content->second.error.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(start, content->second.error.message()));
}

absl::StatusOr<v1::Dataset> DiskDatasetRegistry::Get(const std::string& name) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const Name* const found, Find(name));
  CONVD_RETURN_IF_ERROR(CheckUndamaged(*found));
  return found->record;
}

std::vector<v1::Dataset> DiskDatasetRegistry::List() {
  absl::MutexLock lock(&mu_);
  std::vector<v1::Dataset> datasets;
  for (const auto& [name, entry] : names_) {
    if (CheckUndamaged(entry).ok()) datasets.push_back(entry.record);
  }
  return datasets;
}

absl::Status DiskDatasetRegistry::Delete(const std::string& name) {
  absl::MutexLock publishing(&publish_mu_);
  std::string sha256;
  bool last = true;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const Name* const found, Find(name));
    sha256 = found->record.sha256();
    for (const auto& [other, entry] : names_) {
      // One that can't be read might be another name for the same.
      if (other != name && (!entry.readable || entry.record.sha256() == sha256)) last = false;
    }
    last = last && found->readable;
  }
  const absl::Status status = fs_.Remove(NamePath(name));
  if (!status.ok() && !absl::IsNotFound(status)) return status;
  {
    absl::MutexLock lock(&mu_);
    names_.erase(name);
  }
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(names_dir_));
  if (last) {
    // The name is gone, which is what was asked for; what stays is removed at the next start.
    if (absl::Status removed = RemoveContent(sha256); !removed.ok()) {
      Warn(absl::StrCat("after dataset \"", name, "\" was deleted: ", removed.message()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Dataset>> DiskDatasetRegistry::Load(const std::string& name) {
  v1::Dataset record;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const Name* const found, Find(name));
    CONVD_RETURN_IF_ERROR(CheckUndamaged(*found));
    const auto content = contents_.find(found->record.sha256());  // there: it is undamaged
    if (std::shared_ptr<const Dataset> loaded = content->second.loaded.lock()) return loaded;
    record = content->second.record;
  }
  absl::StatusOr<std::shared_ptr<const Dataset>> mapped =
      MapDataset(fs_, ContentDir(record.sha256()), record);
  absl::MutexLock lock(&mu_);
  // Meanwhile it may have been deleted, or loaded by somebody else.
  CONVD_ASSIGN_OR_RETURN(const Name* const found, Find(name));
  if (!mapped.ok()) {
    const bool missing = absl::IsNotFound(mapped.status()) || absl::IsDataLoss(mapped.status());
    return absl::Status(
        missing ? absl::StatusCode::kDataLoss : mapped.status().code(),
        absl::StrCat("dataset \"", name, "\" can't be read: ", mapped.status().message()));
  }
  const auto content = contents_.find(found->record.sha256());
  if (content == contents_.end() || content->first != record.sha256()) return mapped;
  if (std::shared_ptr<const Dataset> loaded = content->second.loaded.lock()) return loaded;
  content->second.loaded = *mapped;
  return mapped;
}

absl::StatusOr<std::unique_ptr<DatasetUpload>> DiskDatasetRegistry::BeginUpload(
    const v1::UploadHeader& header) {
  const NewDataset wanted = ReadNewDataset(header);
  CONVD_RETURN_IF_ERROR(CheckNewDataset("header.", wanted, limits_));
  CONVD_RETURN_IF_ERROR(CheckUploadHeader(header));
  CONVD_RETURN_IF_ERROR(take_room_(0));
  // Whose stream broke may come back before that is seen, and then ends the old one. Those that
  // were taken over and haven't ended yet, as where they wait for their turn, are bounded, too.
  const int open = uploads_.fetch_add(1, std::memory_order_relaxed);
  if (open >= kMaxUploads && (open >= 2 * kMaxUploads || !partial_.IsOpen(header.upload_id()))) {
    uploads_.fetch_sub(1, std::memory_order_relaxed);
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxUploads, " uploads already; try again later"));
  }
  const auto publish = [this, wanted](const std::string& dir) -> absl::StatusOr<v1::Dataset> {
    CONVD_ASSIGN_OR_RETURN(const DataDirs allowed, DataDirs::Open(fs_, {dir}, "an upload"));
    CONVD_ASSIGN_OR_RETURN(const std::string path, fs_.Canonical(dir));
    return Ingest(wanted, path, "the upload", allowed, /*ours=*/true);
  };
  if (!header.upload_id().empty()) {
    auto upload = partial_.Begin(header, publish,
                                 [this] { uploads_.fetch_sub(1, std::memory_order_relaxed); });
    if (!upload.ok()) uploads_.fetch_sub(1, std::memory_order_relaxed);
    return upload;
  }
  UploadPlan plan;
  plan.files = std::make_unique<UploadFiles>(fs_, NewTemporary(), limits_.upload_bytes, take_room_);
  plan.publish = [publish, dir = plan.files->folder()] { return publish(dir); };
  plan.ended = [this](const absl::Status& status) {
    if (!status.ok()) Warn(std::string(status.message()));
    uploads_.fetch_sub(1, std::memory_order_relaxed);
  };
  return NewUpload(fs_, std::move(plan));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DatasetRegistry>> DatasetRegistry::Open(
    FileSystem& fs, const Clock& clock, const std::string& state_dir,
    const std::vector<std::string>& data_dirs, const DataLimits& limits, TakeRoom take_room) {
  CONVD_ASSIGN_OR_RETURN(DataDirs dirs, DataDirs::Open(fs, data_dirs, "--data-dir"));
  auto registry = std::make_unique<DiskDatasetRegistry>(fs, clock, state_dir, std::move(dirs),
                                                        limits, std::move(take_room));
  CONVD_RETURN_IF_ERROR(registry->Scan());
  return registry;
}

}  // namespace convd
