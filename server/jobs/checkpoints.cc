#include "server/jobs/checkpoints.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/storage/sha256.h"

namespace convd {
namespace {

constexpr std::string_view kMagic = "CONVDCP1";
constexpr size_t kHashSize = 64;
constexpr size_t kMaxHeader = 1 << 20;
constexpr char kTemporary[] = "checkpoint-";

std::string LittleEndian(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

// Takes the file apart; `file` stays the caller's.
absl::Status Parse(const std::string& path, std::string_view bytes, const std::string& job_id,
                   v1::CheckpointHeader& header, std::string_view& saved) {
  const auto damaged = [&path](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(path, ": ", what));
  };
  if (bytes.size() < kMagic.size() + 4 + kHashSize || bytes.substr(0, kMagic.size()) != kMagic) {
    return damaged("isn't a checkpoint, or is cut short");
  }
  const std::string_view hashed = bytes.substr(0, bytes.size() - kHashSize);
  if (Sha256Hex(hashed) != bytes.substr(hashed.size())) {
    return damaged("its bytes and its SHA-256 don't match");
  }
  std::string_view rest = hashed.substr(kMagic.size());
  uint32_t size = 0;
  for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>(rest[i]);
  rest.remove_prefix(4);
  if (size > kMaxHeader || size > rest.size() ||
      !header.ParseFromArray(rest.data(), static_cast<int>(size))) {
    return damaged("its header can't be read");
  }
  if (header.job_id() != job_id) return damaged("is another job's");
  saved = rest.substr(size);
  return absl::OkStatus();
}

}  // namespace

JobCheckpoints::JobCheckpoints(FileSystem& fs, const std::string& state_dir, Warn warn)
    : fs_(fs),
      folder_(state_dir + "/checkpoints"),
      tmp_(state_dir + "/tmp"),
      warn_(std::move(warn)) {}

absl::Status JobCheckpoints::Sweep(const std::set<std::string>& live) {
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(folder_));
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(folder_.substr(0, folder_.rfind('/'))));
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> made, fs_.List(tmp_));
  for (const std::string& name : made) {
    if (absl::StartsWith(name, kTemporary)) {
      CONVD_RETURN_IF_ERROR(fs_.RemoveAll(absl::StrCat(tmp_, "/", name)));
    }
  }
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> jobs, fs_.List(folder_));
  for (const std::string& job : jobs) {
    if (live.count(job) == 0) CONVD_RETURN_IF_ERROR(fs_.RemoveAll(Folder(job)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> JobCheckpoints::Numbers(const std::string& job_id) const {
  std::vector<int64_t> numbers;
  const absl::StatusOr<std::vector<std::string>> names = fs_.List(Folder(job_id));
  if (absl::IsNotFound(names.status())) return numbers;
  CONVD_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    int64_t number = 0;
    if (absl::SimpleAtoi(name, &number) && number > 0 && absl::StrCat(number) == name) {
      numbers.push_back(number);
    }
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

absl::Status JobCheckpoints::Write(const v1::CheckpointHeader& header,
                                   absl::FunctionRef<absl::Status(Sink)> save) {
  const std::string folder = Folder(header.job_id());
  const std::string temporary = absl::StrCat(tmp_, "/", kTemporary, header.job_id());
  CONVD_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, Numbers(header.job_id()));
  absl::Cleanup remove = [&] { fs_.Remove(temporary).IgnoreError(); };
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, fs_.Create(temporary));
  Sha256 hash;
  const auto append = [&](std::string_view bytes) {
    hash.Update(bytes);
    return file->Append(bytes);
  };
  const std::string text = header.SerializeAsString();
  CONVD_RETURN_IF_ERROR(append(kMagic));
  CONVD_RETURN_IF_ERROR(append(LittleEndian(static_cast<uint32_t>(text.size()))));
  CONVD_RETURN_IF_ERROR(append(text));
  CONVD_RETURN_IF_ERROR(save(append));
  const std::string digest = hash.Hex();
  if (digest.size() != kHashSize) {
    return absl::ResourceExhaustedError(absl::StrCat(temporary, ": no memory for its SHA-256"));
  }
  CONVD_RETURN_IF_ERROR(file->Append(digest));
  CONVD_RETURN_IF_ERROR(file->Sync());
  CONVD_RETURN_IF_ERROR(file->Close());
  if (numbers.empty()) {
    CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(folder));
    CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(folder_));
  }
  const int64_t number = numbers.empty() ? 1 : numbers.back() + 1;
  CONVD_RETURN_IF_ERROR(fs_.Rename(temporary, absl::StrCat(folder, "/", number)));
  std::move(remove).Cancel();
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(folder));
  // The new one and the one before it stay. A removal that a crash undoes is made up for by the
  // next.
  for (size_t i = 0; i + 1 < numbers.size(); ++i) {
    fs_.Remove(absl::StrCat(folder, "/", numbers[i])).IgnoreError();
  }
  return absl::OkStatus();
}

absl::StatusOr<JobCheckpoints::Found> JobCheckpoints::Find(const std::string& job_id) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, Numbers(job_id));
  for (size_t i = numbers.size(); i-- > 0;) {
    const std::string path = absl::StrCat(Folder(job_id), "/", numbers[i]);
    Found found;
    absl::StatusOr<std::unique_ptr<MappedFile>> file = fs_.Map(path);
    absl::Status status = file.status();
    if (status.ok()) {
      found.file = *std::move(file);
      status = Parse(path, found.file->data(), job_id, found.header, found.saved);
    }
    if (status.ok()) return found;
    warn_(absl::StrCat(status.message(),
                       "; the job goes on from an older checkpoint, or begins "
                       "anew, to the same result"));
  }
  return absl::NotFoundError(absl::StrCat(Folder(job_id), ": holds no checkpoint"));
}

void JobCheckpoints::Remove(const std::string& job_id) {
  const absl::Status removed = fs_.RemoveAll(Folder(job_id));
  if (!removed.ok()) warn_(std::string(removed.message()));
}

}  // namespace convd
