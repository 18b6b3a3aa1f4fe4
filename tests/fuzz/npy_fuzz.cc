#include <cstring>
#include <string>

#include "core/data/npy.h"
#include "tests/fuzz/npz_mutation.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

void ReadHeader(std::string_view bytes) {
  const auto header = ParseNpyHeader(bytes, kFuzzedFile, FuzzedLimits());
  if (!header.ok()) return PromiseRefusal(header.status());
  int64_t elements = 1;
  for (const int64_t size : header->shape) {
    Promise(size >= 0, "sizes aren't negative");
    if (header->elements != 0) elements *= size;
  }
  Promise(header->elements == 0 || elements == header->elements,
          "elements are the shape's product");
  Promise(header->elements <= FuzzedLimits().array_elements, "elements are within their limit");
  Promise(header->type.bytes > 0, "an element has bytes");
  Promise(header->data_offset +
                  static_cast<size_t>(header->elements) * static_cast<size_t>(header->type.bytes) ==
              bytes.size(),
          "exactly the array follows its header");
  Promise(!header->Text().empty() && !header->type.Text().empty(), "a header can be described");
  if (!IsReadNumber(header->type)) return;
  double sum = 0;
  for (int64_t i = 0; i < header->elements; ++i) {
    sum += NpyElement(*header, bytes.data() + header->data_offset, i);
  }
  volatile double kept = sum;
  (void)kept;
}

}  // namespace
}  // namespace convd

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  const size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  std::string file(convd::Bytes(data, mutated));
  if (seed % 8 != 0) convd::FitNpy(file);
  if (file.size() > max_size) return mutated;
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadHeader(convd::Bytes(data, size));
  return 0;
}
