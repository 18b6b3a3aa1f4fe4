// An input is the card's text, a byte 0, and model.onnx. The MANIFEST is made for them, since no
// hash would ever be right otherwise; manifest_fuzz has what a MANIFEST may be.

#include <algorithm>
#include <string>

#include "server/models/manifest.h"
#include "server/models/version_folder.h"
#include "tests/fuzz/promises.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

void PromiseDataLoss(const absl::Status& status) {
  Promise(absl::IsDataLoss(status), "a damaged version is DATA_LOSS");
  Promise(status.message().substr(0, 3) == "/m/", "a refusal begins with the file's name");
}

void ReadVersion(std::string_view bytes) {
  const std::string_view text = bytes.substr(0, bytes.find('\0'));
  const std::string_view onnx = bytes.substr(std::min(bytes.size(), text.size() + 1));
  MemoryFileSystem fs;
  Promise(fs.CreateDirectories("/m/3").ok(), "there is a folder");
  const Manifest manifest{DescribeFile(onnx), DescribeFile(text)};
  Promise(WriteSynced(fs, "/m/3/model.onnx", onnx).ok() &&
              WriteSynced(fs, "/m/3/model.textproto", text).ok() &&
              WriteSynced(fs, "/m/3/MANIFEST", manifest.Text()).ok() &&
              WriteSynced(fs, "/m/3.evaluations.textproto", text).ok(),
          "its files are there");
  v1::ModelVersion version;
  version.set_name("m");
  version.set_version(3);

  const auto card = ReadCheckedCard(fs, "/m/3", version);
  if (!card.ok()) PromiseDataLoss(card.status());
  const auto weights = ReadCheckedWeights(fs, "/m/3", version);
  if (!weights.ok()) {
    PromiseDataLoss(weights.status());
  } else {
    Promise(card.ok() && card->size_bytes == weights->size_bytes, "the same files have one size");
    Promise(static_cast<int64_t>(weights->parameters.size()) == weights->graph.parameter_count(),
            "all parameters are read");
    Promise(weights->card.labels_size() == weights->graph.classes(), "each class has a label");
  }
  const auto evaluations = ReadEvaluations(fs, "/m/3.evaluations.textproto");
  if (!evaluations.ok()) PromiseDataLoss(evaluations.status());
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadVersion(convd::Bytes(data, size));
  return 0;
}
