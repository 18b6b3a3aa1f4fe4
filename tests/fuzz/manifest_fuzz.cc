#include "server/models/manifest.h"
#include "tests/fuzz/promises.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  const std::string_view text = Bytes(data, size);
  const auto manifest = Manifest::Parse(text);
  if (!manifest.ok()) {
    Promise(absl::IsDataLoss(manifest.status()), "a damaged MANIFEST is DATA_LOSS");
    Promise(manifest.status().message().size() < 1024, "a refusal is short");
    return 0;
  }
  Promise(manifest->Text() == text, "there is one text for a MANIFEST");
  Promise(manifest->onnx.size >= 0 && manifest->onnx.size <= kMaxOnnxBytes &&
              manifest->card.size >= 0 && manifest->card.size <= kMaxCardBytes,
          "sizes are within their limits");
  return 0;
}
