#include <string>

#include "server/inference/infer_request.h"
#include "tests/fuzz/promises.h"
#include "tests/fuzz/wire_mutation.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  return convd::MutateWire(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  constexpr Shape kShape{2, 3, 1};
  constexpr int kClasses = 4;
  constexpr int64_t kMaxImages = 64;
  inference::ModelInferRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto refused = [](const absl::Status& status) {
    Promise(absl::IsInvalidArgument(status), "a refusal is INVALID_ARGUMENT");
    Promise(status.message().size() < 1024, "a refusal is short");
  };
  const absl::StatusOr<v1::ModelVersion> version = ReadNamedVersion(
      "model_name", request.model_name(), "model_version", request.model_version());
  if (version.ok()) {
    Promise(version->version() >= 0, "a number is positive, or absent");
    Promise(version->version() == 0 || version->label().empty(), "a number or a label");
  } else {
    refused(version.status());
  }

  const absl::StatusOr<InferTask> task = ReadInferRequest(request, kShape, kClasses, kMaxImages);
  if (!task.ok()) {
    refused(task.status());
    return 0;
  }
  const int64_t element = task->type == ElementType::kUint8 ? 1 : 4;
  Promise(task->count >= 1 && task->count <= kMaxImages, "as many images as may be");
  Promise(static_cast<int64_t>(task->bytes.size()) == task->count * kShape.elements() * element,
          "all pixels are there");
  Promise(std::string(task->bytes) == task->bytes, "pixels can be read");
  Promise(task->classification >= 0 && task->classification <= kClasses, "no more than classes");
  Promise(task->raw == (request.raw_input_contents_size() == 1), "answers come as requests did");
  return 0;
}
