#include <cmath>
#include <string>
#include <vector>

#include "core/train/checkpoint.h"
#include "tests/fuzz/fuzzed_networks.h"
#include "tests/fuzz/promises.h"
#include "tests/fuzz/wire_mutation.h"

namespace convd {
namespace {

const v1::TrainerState& Run() {
  static const v1::TrainerState* const run = new v1::TrainerState(
      StateOfRun(FuzzedGraph(), FuzzedRequest(), kFuzzedTrainSamples, kFuzzedValidationSamples));
  return *run;
}

// Whether it was read.
bool Read(std::string_view saved) {
  auto trainer = SavedTrainer::Read(saved, Run(), FuzzedGraph());
  if (!trainer.ok()) {
    Promise(absl::IsDataLoss(trainer.status()) || absl::IsFailedPrecondition(trainer.status()),
            "a refusal is DATA_LOSS or FAILED_PRECONDITION");
    Promise(trainer.status().message().size() < 4096, "a refusal is short");
    return false;
  }
  const v1::TrainerState& state = trainer->state();
  Promise(state.history_size() <= FuzzedRequest().epochs(),
          "there are as many epochs as asked for");
  Promise(state.seen() >= 0 && state.seen() <= kFuzzedTrainSamples,
          "it has seen no more than there is");
  Promise(state.steps() >= 0, "steps aren't negative");
  // Weights and momentum are always there.
  std::vector<float> values(static_cast<size_t>(FuzzedGraph().parameter_count()));
  for (const char* name : {"weights", "momentum"}) {
    const absl::Status status = trainer->ReadArray(name, absl::MakeSpan(values));
    Promise(status.ok() || absl::IsDataLoss(status), "a damaged array is DATA_LOSS");
    if (!status.ok()) break;
    for (const float value : values) Promise(std::isfinite(value), "values are finite");
  }
  return true;
}

// What is no whole checkpoint is taken for the state of this run, from its history on, which would
// hardly ever be met otherwise: with a right header, and each number of arrays that there can be.
void ReadAsState(std::string_view fields) {
  const std::string state = Run().SerializeAsString() + std::string(fields);
  uint64_t size = state.size();
  std::string saved("CVTS\1\0\0\0", 8);
  saved.append(reinterpret_cast<const char*>(&size), sizeof(size));
  saved += state;
  const std::string array(static_cast<size_t>(FuzzedGraph().parameter_count()) * sizeof(float),
                          '\0');
  int read = 0;
  for (int arrays = 1; arrays <= 4; ++arrays) {
    saved += array;
    read += Read(saved);
  }
  Promise(read <= 1, "a state has one number of arrays");
}

}  // namespace
}  // namespace convd

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  return convd::MutateWire(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = convd::Bytes(data, size);
  convd::Read(bytes);
  if (bytes.substr(0, 4) != "CVTS") convd::ReadAsState(bytes);
  return 0;
}
