#include <cmath>

#include "core/onnx/onnx_model.h"
#include "tests/fuzz/fuzzed_networks.h"
#include "tests/fuzz/promises.h"
#include "tests/fuzz/wire_mutation.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  return convd::MutateWire(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  const auto parameters = ReadOnnxParameters(Bytes(data, size), FuzzedGraph());
  if (!parameters.ok()) {
    Promise(absl::IsInvalidArgument(parameters.status()), "a refusal is INVALID_ARGUMENT");
    Promise(parameters.status().message().size() < 1024, "a refusal is short");
    return 0;
  }
  Promise(static_cast<int64_t>(parameters->size()) == FuzzedGraph().parameter_count(),
          "all parameters are read");
  for (const float value : *parameters) Promise(std::isfinite(value), "parameters are finite");
  return 0;
}
