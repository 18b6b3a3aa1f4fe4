#include <optional>
#include <string>

#include "server/inference/json_request.h"
#include "tests/fuzz/promises.h"

// JSON, and after a zero byte binary data, as the two lie in a body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  std::string body(Bytes(data, size));
  std::optional<size_t> json_bytes;
  if (const size_t zero = body.find('\0'); zero != body.npos) {
    json_bytes = zero;
    body.erase(zero, 1);
  }
  const absl::StatusOr<JsonInferRequest> read = ReadJsonInferRequest(body, json_bytes);
  if (!read.ok()) {
    Promise(absl::IsInvalidArgument(read.status()), "a refusal is INVALID_ARGUMENT");
    Promise(read.status().message().size() < 1024, "a refusal is short");
    return 0;
  }
  const inference::ModelInferRequest& request = read->request;
  Promise(request.inputs_size() == request.raw_input_contents_size(), "every input has contents");
  size_t bytes = 0;
  for (const std::string& raw : request.raw_input_contents()) bytes += raw.size();
  // A number takes two bytes of JSON, itself and what parts it from the next, and four as a float.
  Promise(bytes <= 2 * body.size() + 4, "contents are bounded by the body");
  std::string wire;
  Promise(request.SerializeToString(&wire), "it is valid as a message, too");
  return 0;
}
