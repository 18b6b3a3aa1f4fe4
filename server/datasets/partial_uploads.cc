#include "server/datasets/partial_uploads.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "core/storage/sha256.h"
#include "server/datasets/upload_files.h"
#include "server/datasets/upload_folder.h"

namespace convd {

// One that there is. Its lock is taken after PartialUploads's, and held while files are written.
struct PartialUpload {
  explicit PartialUpload(std::string the_id) : id(std::move(the_id)) {}

  const std::string id;
  absl::Mutex mu;
  // The clock's Monotonic(), as the wall's may be set meanwhile.
  absl::Duration used ABSL_GUARDED_BY(mu);
  const void* owner ABSL_GUARDED_BY(mu) = nullptr;  // the only one that may write
  std::function<void(const absl::Status&)> take_away ABSL_GUARDED_BY(mu);  // the owner's
  bool publishing ABSL_GUARDED_BY(mu) = false;
  absl::Status gone ABSL_GUARDED_BY(mu);  // why it was removed
};

namespace {

constexpr size_t kHashedAtOnce = size_t{1} << 20;
// How old the time of the last use may be that a restart finds.
constexpr absl::Duration kNoteUseAfter = absl::Hours(1);

absl::Status NoneOf(const std::string& id) {
  return absl::NotFoundError(absl::StrCat("upload_id: there is no upload \"", id, "\""));
}

absl::Status IsPublished(const std::string& id) {
  return absl::UnavailableError(absl::StrCat("upload_id: a dataset is being made of upload \"", id,
                                             "\"; try again when that has ended"));
}

absl::Status TakenOver(const std::string& id) {
  return absl::AbortedError(
      absl::StrCat("upload_id: another stream has taken over upload \"", id, "\""));
}

template <typename Field>
bool Same(const Field& a, const Field& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// The first field in which they differ; empty where they are the same.
std::string Difference(const v1::UploadHeader& a, const v1::UploadHeader& b) {
  if (a.name() != b.name()) return "name";
  if (a.files_size() != b.files_size()) return "files";
  for (int i = 0; i < a.files_size(); ++i) {
    if (!Same(a.files(i), b.files(i))) return absl::StrCat("files[", i, "]");
  }
  if (!std::equal(a.labels().begin(), a.labels().end(), b.labels().begin(), b.labels().end())) {
    return "labels";
  }
  return Same(a.image_size(), b.image_size()) ? "" : "image_size";
}

// Whether the same files may become a dataset another time: when there is room, when the name is
// free, when the disk works.
bool CanBeMended(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsAlreadyExists(status) ||
         absl::IsInternal(status) || absl::IsUnavailable(status) || absl::IsAborted(status);
}

}  // namespace

// What a stream holds. After it was taken away from it, it touches no file.
class KeptUpload final : public DatasetUpload {
 public:
  KeptUpload(PartialUploads& uploads, std::shared_ptr<PartialUpload> upload,
             v1::UploadHeader header, std::unique_ptr<UploadFiles> files,
             PartialUploads::Publish publish, absl::AnyInvocable<void()> ended)
      : uploads_(uploads),
        upload_(std::move(upload)),
        header_(std::move(header)),
        files_(std::move(files)),
        publish_(std::move(publish)),
        ended_(std::move(ended)) {}

  ~KeptUpload() override {
    {
      absl::MutexLock lock(&upload_->mu);
      if (upload_->owner == this) {
        NoteUse();
        upload_->owner = nullptr;
        upload_->take_away = nullptr;
      }
    }
    ended_();
  }

  void OnTakenAway(std::function<void(const absl::Status&)> call) override {
    {
      absl::MutexLock lock(&upload_->mu);
      if (upload_->owner == this) {
        upload_->take_away = std::move(call);
        return;
      }
    }
    call(TakenAway());
  }

  absl::Status Write(const std::string& file, int64_t offset, std::string_view data) override {
    bool hopeless = false;
    {
      absl::MutexLock lock(&upload_->mu);
      CONVD_RETURN_IF_ERROR(error_);
      if (upload_->owner != this) return error_ = TakenAwayLocked();
      error_ = files_->Check(file, static_cast<int64_t>(data.size()));
      hopeless = !error_.ok();
      if (error_.ok()) error_ = CheckOffset(file, offset);
      if (error_.ok()) error_ = files_->Append(file, data);
      upload_->used = uploads_.clock_.Monotonic();
      if (upload_->used - noted_ > kNoteUseAfter) NoteUse();
    }
    if (hopeless) Remove(error_);
    return error_;
  }

  absl::StatusOr<v1::Dataset> Commit() override {
    {
      absl::MutexLock lock(&upload_->mu);
      CONVD_RETURN_IF_ERROR(error_);
      if (upload_->owner != this) return error_ = TakenAwayLocked();
      error_ = files_->Close();
      CONVD_RETURN_IF_ERROR(error_);
      error_ = absl::FailedPreconditionError("this upload was committed already");
      upload_->publishing = true;
    }
    absl::StatusOr<v1::Dataset> dataset = Publish();
    {
      absl::MutexLock lock(&upload_->mu);
      upload_->publishing = false;
      upload_->used = uploads_.clock_.Monotonic();
    }
    if (dataset.ok()) {
      Remove(absl::AbortedError("the upload has become a dataset"));
    } else if (!CanBeMended(dataset.status())) {
      Remove(dataset.status());
    }
    return dataset;
  }

 private:
  friend class PartialUploads;

  absl::StatusOr<v1::Dataset> Publish() {
    if (files_->empty()) return absl::InvalidArgumentError("the upload has no files");
    return publish_(files_->folder());
  }

  absl::Status CheckOffset(const std::string& file, int64_t offset) const {
    const int64_t there = files_->Size(file);
    if (offset == there) return absl::OkStatus();
    return absl::OutOfRangeError(absl::StrCat("chunk.offset: got ", offset, "; of file \"", file,
                                              "\" ", there,
                                              " bytes are there, and want to be gone on from"));
  }

  absl::Status TakenAway() {
    absl::MutexLock lock(&upload_->mu);
    return TakenAwayLocked();
  }
  absl::Status TakenAwayLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload_->mu) {
    CONVD_RETURN_IF_ERROR(upload_->gone);
    return TakenOver(upload_->id);
  }

  // So that a restart knows. What it misses makes an upload seem older than it is.
  void NoteUse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload_->mu) {
    noted_ = upload_->used = uploads_.clock_.Monotonic();
    if (absl::Status status = WriteUploadRecord(uploads_.fs_, uploads_.Place(upload_->id), header_,
                                                uploads_.clock_.Now());
        !status.ok()) {
      uploads_.options_.warn(std::string(status.message()));
    }
  }

  void Remove(const absl::Status& why) {
    if (absl::Status status = uploads_.RemoveOwn(upload_, this, why); !status.ok()) {
      uploads_.options_.warn(std::string(status.message()));
    }
  }

  PartialUploads& uploads_;
  const std::shared_ptr<PartialUpload> upload_;
  const v1::UploadHeader header_;
  const std::unique_ptr<UploadFiles> files_;
  PartialUploads::Publish publish_;
  absl::AnyInvocable<void()> ended_;
  absl::Duration noted_ = -absl::InfiniteDuration();
  absl::Status error_;
};

std::string PartialUploads::Place(const std::string& id) const {
  return absl::StrCat(options_.folder, "/", id);
}

absl::Status PartialUploads::Scan() {
  // A link would lead what is removed below to wherever it points.
  const absl::StatusOr<PathInfo> folder = fs_.Examine(options_.folder);
  if (folder.ok() && folder->kind != PathInfo::Kind::kFolder) {
    CONVD_RETURN_IF_ERROR(fs_.RemoveAll(options_.folder));
    options_.warn(absl::StrCat(options_.folder, ": removed; it is no folder"));
  }
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(options_.folder));
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> entries, fs_.List(options_.folder));
  std::vector<std::pair<absl::Time, std::string>> found;
  const auto drop = [&](const std::string& entry, absl::string_view why) {
    const std::string shown = absl::Utf8SafeCEscape(Place(entry));
    const absl::Status status = fs_.RemoveAll(Place(entry));
    options_.warn(status.ok() ? absl::StrCat(shown, ": removed; ", why)
                              : absl::StrCat(shown, ": can't be removed: ", status.message()));
  };
  for (const std::string& entry : entries) {
    const absl::StatusOr<absl::Time> used = CheckUploadFolder(fs_, Place(entry), entry);
    if (used.ok()) {
      // Only the wall clock says how long ago that was, in another process's life, before another
      // boot even. One that was wrong must not keep it for ever.
      found.emplace_back(std::min(*used, clock_.Now()), entry);
    } else if (absl::IsInvalidArgument(used.status()) || absl::IsDataLoss(used.status()) ||
               absl::IsNotFound(used.status())) {
      drop(entry, absl::StrCat("no upload that can be gone on with: ", used.status().message()));
    } else {
      // What can't be read now may be read at another start. Till then it isn't touched.
      options_.warn(
          absl::StrCat(absl::Utf8SafeCEscape(Place(entry)), ": ", used.status().message()));
    }
  }
  std::sort(found.rbegin(), found.rend());
  absl::MutexLock lock(&mu_);
  for (const auto& [used, id] : found) {
    if (clock_.Now() - used > kKept) {
      drop(id,
           absl::StrCat("an upload that was not gone on with for ", absl::FormatDuration(kKept)));
    } else if (uploads_.size() >= kMax) {
      drop(id, absl::StrCat("there are more than ", kMax, " uploads, and it is the oldest"));
    } else {
      const auto upload = std::make_shared<PartialUpload>(id);
      absl::MutexLock its_lock(&upload->mu);
      upload->used = clock_.Monotonic() - (clock_.Now() - used);
      uploads_[id] = upload;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<PartialUploads::Pointer> PartialUploads::Find(const std::string& id) {
  CONVD_RETURN_IF_ERROR(CheckName("upload_id", id));
  absl::MutexLock lock(&mu_);
  const auto there = uploads_.find(id);
  if (there == uploads_.end()) return NoneOf(id);
  return there->second;
}

bool PartialUploads::IsOpen(const std::string& id) {
  const absl::StatusOr<Pointer> upload = Find(id);
  if (!upload.ok()) return false;
  absl::MutexLock lock(&(*upload)->mu);
  return (*upload)->owner != nullptr;
}

absl::StatusOr<std::unique_ptr<DatasetUpload>> PartialUploads::Begin(
    const v1::UploadHeader& sent, Publish publish, absl::AnyInvocable<void()> ended) {
  v1::UploadHeader header = sent;
  header.DiscardUnknownFields();  // none is kept
  const std::string& id = header.upload_id();
  std::unique_ptr<KeptUpload> kept;
  std::function<void(const absl::Status&)> take_away;
  {
    absl::MutexLock lock(&mu_);
    Pointer& upload = uploads_[id];
    const bool is_new = upload == nullptr;
    if (is_new) {
      absl::Status status = absl::OkStatus();
      if (uploads_.size() > kMax) {
        status = absl::ResourceExhaustedError(
            absl::StrCat("header.upload_id: there are ", kMax,
                         " uploads already that wait to be gone on with; end or delete one "
                         "(ListUploads has them), or wait until one has been unused for ",
                         absl::FormatDuration(kKept)));
      }
      if (status.ok())
        status = MakeUploadFolder(fs_, options_.temporary(), Place(id), header, clock_.Now());
      if (!status.ok()) {
        uploads_.erase(id);
        return status;
      }
      upload = std::make_shared<PartialUpload>(id);
    }
    absl::MutexLock its_lock(&upload->mu);
    if (upload->publishing) return IsPublished(id);
    CONVD_ASSIGN_OR_RETURN(const v1::Upload record, ReadUploadRecord(fs_, Place(id), id));
    if (const std::string field = Difference(record.header(), header); !field.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("header.", field, ": is not what upload \"", id,
                       "\" was begun with; send the same header, or use another upload_id"));
    }
    auto files = std::make_unique<UploadFiles>(fs_, UploadFilesFolder(Place(id)),
                                               options_.max_bytes, options_.take_room);
    CONVD_RETURN_IF_ERROR(files->Find());
    kept = std::make_unique<KeptUpload>(*this, upload, header, std::move(files), std::move(publish),
                                        std::move(ended));
    upload->owner = kept.get();
    take_away = std::exchange(upload->take_away, nullptr);
    kept->upload_->mu.AssertHeld();  // which is `upload`'s
    if (is_new) {
      kept->noted_ = upload->used = clock_.Monotonic();
    } else {
      kept->NoteUse();
    }
  }
  if (take_away) take_away(TakenOver(id));
  return kept;
}

absl::StatusOr<v1::Upload> PartialUploads::Describe(PartialUpload& upload) {
  upload.mu.AssertHeld();
  CONVD_ASSIGN_OR_RETURN(v1::Upload described, ReadUploadRecord(fs_, Place(upload.id), upload.id));
  const absl::Duration unused = clock_.Monotonic() - upload.used;
  described.mutable_used()->set_seconds(absl::ToUnixSeconds(clock_.Now() - unused));
  described.set_open(upload.owner != nullptr);
  described.set_being_read(upload.publishing);
  if (upload.publishing) return described;
  UploadFiles files(fs_, UploadFilesFolder(Place(upload.id)), options_.max_bytes,
                    options_.take_room);
  CONVD_RETURN_IF_ERROR(files.Find());
  for (const auto& [name, bytes] : files.Sizes()) {
    v1::UploadedFile& file = *described.add_files();
    file.set_file(name);
    file.set_size_bytes(bytes);
  }
  return described;
}

std::vector<v1::Upload> PartialUploads::List() {
  std::map<std::string, Pointer> uploads;
  {
    absl::MutexLock lock(&mu_);
    uploads = uploads_;
  }
  std::vector<v1::Upload> listed;
  for (const auto& [id, upload] : uploads) {
    absl::MutexLock lock(&upload->mu);
    if (!upload->gone.ok()) continue;
    absl::StatusOr<v1::Upload> described = Describe(*upload);
    v1::Upload& shown = listed.emplace_back();
    if (described.ok()) shown = *std::move(described);
    // Of 64 uploads these might be much.
    shown.mutable_header()->clear_files();
    shown.mutable_header()->clear_labels();
    shown.mutable_header()->set_upload_id(id);
  }
  return listed;
}

absl::StatusOr<v1::Upload> PartialUploads::Get(const std::string& id,
                                               const std::function<absl::Status()>& go_on) {
  CONVD_ASSIGN_OR_RETURN(const Pointer upload, Find(id));
  v1::Upload answer;
  {
    absl::MutexLock lock(&upload->mu);
    if (!upload->gone.ok()) return NoneOf(id);
    upload->used = clock_.Monotonic();
    CONVD_ASSIGN_OR_RETURN(answer, Describe(*upload));
    if (upload->publishing) return answer;
  }
  // From here on the files may grow, but what they have stays as it is.
  const absl::Status hashed = SyncAndHash(go_on, answer);
  if (hashed.ok()) return answer;
  absl::MutexLock lock(&upload->mu);
  return upload->gone.ok() ? hashed : NoneOf(id);
}

absl::Status PartialUploads::SyncAndHash(const std::function<absl::Status()>& go_on,
                                         v1::Upload& upload) {
  const std::string folder = UploadFilesFolder(Place(upload.header().upload_id()));
  for (v1::UploadedFile& file : *upload.mutable_files()) {
    const std::string path = absl::StrCat(folder, "/", file.file());
    CONVD_RETURN_IF_ERROR(go_on());
    CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> synced, fs_.OpenToAppend(path));
    CONVD_RETURN_IF_ERROR(synced->Sync());
    CONVD_RETURN_IF_ERROR(synced->Close());
    CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> data, fs_.Open(path));
    Sha256 hash;
    std::string piece;
    for (int64_t at = 0; at < file.size_bytes(); at += static_cast<int64_t>(piece.size())) {
      CONVD_RETURN_IF_ERROR(go_on());
      piece.resize(static_cast<size_t>(std::min<int64_t>(kHashedAtOnce, file.size_bytes() - at)));
      CONVD_RETURN_IF_ERROR(data->ReadAt(at, absl::MakeSpan(piece)));
      hash.Update(piece);
    }
    file.set_sha256(hash.Hex());
    if (file.sha256().empty()) return absl::ResourceExhaustedError("no memory to hash the upload");
  }
  return fs_.SyncDirectory(folder);
}

absl::StatusOr<PartialUploads::Hidden> PartialUploads::Hide(PartialUpload& upload,
                                                            const absl::Status& why) {
  upload.mu.AssertHeld();
  Hidden hidden;
  hidden.path = options_.temporary();
  const absl::Status renamed = fs_.Rename(Place(upload.id), hidden.path);
  if (!renamed.ok() && !absl::IsNotFound(renamed)) return renamed;
  // What comes back after a power cut can be gone on with, or is removed when it is old.
  if (absl::Status status = fs_.SyncDirectory(options_.folder); !status.ok()) {
    options_.warn(std::string(status.message()));
  }
  hidden.take_away = std::exchange(upload.take_away, nullptr);
  upload.gone = why;
  upload.owner = nullptr;
  uploads_.erase(upload.id);
  return hidden;
}

absl::Status PartialUploads::RemoveOwn(const Pointer& upload, const void* owner,
                                       const absl::Status& why) {
  Hidden hidden;
  {
    absl::MutexLock lock(&mu_);
    absl::MutexLock its_lock(&upload->mu);
    if (upload->owner != owner) return absl::OkStatus();
    CONVD_ASSIGN_OR_RETURN(hidden, Hide(*upload, why));
  }
  return fs_.RemoveAll(hidden.path);
}

absl::Status PartialUploads::Delete(const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(const Pointer upload, Find(id));
  const absl::Status why =
      absl::AbortedError(absl::StrCat("upload_id: upload \"", id, "\" was deleted"));
  Hidden hidden;
  {
    absl::MutexLock lock(&mu_);
    absl::MutexLock its_lock(&upload->mu);
    if (!upload->gone.ok()) return NoneOf(id);
    if (upload->publishing) return IsPublished(id);
    CONVD_ASSIGN_OR_RETURN(hidden, Hide(*upload, why));
  }
  if (hidden.take_away) hidden.take_away(why);
  return fs_.RemoveAll(hidden.path);
}

std::vector<std::string> PartialUploads::RemoveUnused() {
  std::vector<std::string> removed;
  std::vector<std::string> paths;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = clock_.Monotonic();
    const std::map<std::string, Pointer> uploads = uploads_;
    for (const auto& [id, upload] : uploads) {
      absl::MutexLock its_lock(&upload->mu);
      if (upload->owner != nullptr || now - upload->used <= kKept) continue;
      const absl::StatusOr<Hidden> hidden = Hide(*upload, NoneOf(id));
      if (!hidden.ok()) {
        options_.warn(std::string(hidden.status().message()));
        continue;
      }
      paths.push_back(hidden->path);
      removed.push_back(id);
    }
  }
  for (const std::string& path : paths) {
    if (absl::Status status = fs_.RemoveAll(path); !status.ok()) {
      options_.warn(std::string(status.message()));
    }
  }
  return removed;
}

}  // namespace convd
