#include "server/start_reserve.h"

#include <memory>
#include <random>

#include "absl/cleanup/cleanup.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

std::string PathIn(const std::string& state_dir) { return state_dir + "/reserve"; }

// That no file system packs into less room.
std::string Noise(int64_t bytes) {
  std::mt19937_64 random(1);
  std::string noise;
  noise.reserve(static_cast<size_t>(bytes));
  while (static_cast<int64_t>(noise.size()) < bytes) {
    const uint64_t word = random();
    noise.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  return noise;
}

}  // namespace

absl::Status FreeStartReserve(FileSystem& fs, const std::string& state_dir) {
  CONVD_ASSIGN_OR_RETURN(const int64_t free, fs.FreeBytes(state_dir));
  if (free >= kStartReserveBytes || !fs.Exists(PathIn(state_dir))) return absl::OkStatus();
  return fs.Remove(PathIn(state_dir));
}

absl::Status FillStartReserve(FileSystem& fs, const std::string& state_dir) {
  const std::string path = PathIn(state_dir);
  const absl::StatusOr<int64_t> size = fs.Size(path);
  if (size.ok() && *size == kStartReserveBytes) return absl::OkStatus();
  absl::Cleanup remove = [&] { fs.Remove(path).IgnoreError(); };
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, fs.Create(path));
  CONVD_RETURN_IF_ERROR(file->Append(Noise(kStartReserveBytes)));
  // Some file systems find out only now that there is no room.
  CONVD_RETURN_IF_ERROR(file->Sync());
  CONVD_RETURN_IF_ERROR(file->Close());
  std::move(remove).Cancel();
  return absl::OkStatus();
}

}  // namespace convd
