#include "tests/conformance/onnx_runtime.h"

#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

extern char** environ;

namespace convd {
namespace {

const char kFolder[] = CONVD_SOURCE_DIR "/tests/conformance";

// A folder of its own, removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder() : path_(std::filesystem::temp_directory_path() / "convd-onnx-XXXXXX") {
    ok_ = mkdtemp(path_.data()) != nullptr;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (ok_) std::filesystem::remove_all(path_, ignored);
  }
  bool ok() const { return ok_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  bool ok_ = false;
};

absl::Status Write(const std::string& path, const char* data, size_t size) {
  std::ofstream file(path, std::ios::binary);
  file.write(data, static_cast<std::streamsize>(size));
  file.close();
  return file.good() ? absl::OkStatus() : absl::UnavailableError(path + ": cannot be written");
}

// The pixels as the entry wants them, written out a second way to what the engine does.
std::string EntryBytes(const ImageSet& images, OnnxEntry entry) {
  const auto* pixels = reinterpret_cast<const unsigned char*>(images.image(0));
  std::string bytes;
  if (TakesChannelsFirst(entry)) {
    const int64_t area = int64_t{images.height} * images.width;
    for (int64_t n = 0; n < images.count; ++n) {
      for (int64_t c = 0; c < images.channels; ++c) {
        for (int64_t i = 0; i < area; ++i) {
          bytes += static_cast<char>(pixels[(n * area + i) * images.channels + c]);
        }
      }
    }
  } else {
    bytes.assign(reinterpret_cast<const char*>(pixels), images.count * images.image_bytes());
  }
  if (TakesBytes(entry)) return bytes;
  std::string floats;
  for (const char byte : bytes) {
    const float value = static_cast<unsigned char>(byte);
    floats.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return floats;
}

absl::Status Run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (int error = posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ)) {
    return absl::UnavailableError(absl::StrCat(arguments[0], ": ", std::strerror(error)));
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::UnknownError(absl::StrCat(arguments[0], " ", arguments[1], ": status ", status));
  }
  return absl::OkStatus();
}

}  // namespace

bool OnnxRuntimeInstalled() {
  return std::filesystem::exists(absl::StrCat(kFolder, "/node_modules/onnxruntime-node"));
}

bool OnnxRuntimeRequired() { return getenv("CONVD_REQUIRE_CONFORMANCE") != nullptr; }

absl::StatusOr<std::vector<float>> RunOnnxRuntime(const std::string& model, const ImageSet& images,
                                                  OnnxEntry entry) {
  ScratchFolder scratch;
  if (!scratch.ok()) return absl::UnavailableError("no scratch folder");
  CONVD_RETURN_IF_ERROR(Write(scratch.File("model.onnx"), model.data(), model.size()));
  const std::string bytes_in = EntryBytes(images, entry);
  CONVD_RETURN_IF_ERROR(Write(scratch.File("images"), bytes_in.data(), bytes_in.size()));
  std::vector<int64_t> shape = {images.height, images.width, images.channels};
  if (TakesChannelsFirst(entry)) shape = {images.channels, images.height, images.width};
  CONVD_RETURN_IF_ERROR(Run(
      {"node", absl::StrCat(kFolder, "/onnx_runtime.mjs"), scratch.File("model.onnx"),
       scratch.File("images"), TakesBytes(entry) ? "uint8" : "float32", std::to_string(shape[0]),
       std::to_string(shape[1]), std::to_string(shape[2]), scratch.File("probabilities")}));
  std::ifstream file(scratch.File("probabilities"), std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  const std::string raw = bytes.str();
  std::vector<float> probabilities(raw.size() / sizeof(float));
  std::memcpy(probabilities.data(), raw.data(), probabilities.size() * sizeof(float));
  return probabilities;
}

}  // namespace convd
