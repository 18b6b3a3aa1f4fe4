#ifndef CONVD_SERVER_MODELS_MANIFEST_H_
#define CONVD_SERVER_MODELS_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace convd {

// One file of a version's folder as MANIFEST lists it: "SHA256 SIZE NAME\n", the hash in lower-case
// hex.
struct ManifestEntry {
  std::string sha256;
  int64_t size = 0;
};

// MANIFEST of a version's folder. It is written last, so a folder that has a right one is whole. A
// plain value.
struct Manifest {
  ManifestEntry onnx;  // model.onnx
  ManifestEntry card;  // model.textproto

  std::string Text() const;
  // The bytes may be hostile: DATA_LOSS names the line.
  static absl::StatusOr<Manifest> Parse(std::string_view text);
};

inline constexpr char kOnnxFile[] = "model.onnx";
inline constexpr char kCardFile[] = "model.textproto";
inline constexpr char kManifestFile[] = "MANIFEST";

// Larger files are neither written nor read. protobuf, and with it ONNX, ends at 2 GiB.
inline constexpr int64_t kMaxOnnxBytes = (int64_t{1} << 31) - 1;
inline constexpr int64_t kMaxCardBytes = int64_t{64} << 20;

ManifestEntry DescribeFile(std::string_view bytes);
// DATA_LOSS naming `path` where what is there, `got`, is not what `entry` says.
absl::Status CheckFile(const std::string& path, const ManifestEntry& got,
                       const ManifestEntry& entry);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_MANIFEST_H_
