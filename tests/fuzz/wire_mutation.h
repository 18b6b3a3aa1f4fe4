#ifndef CONVD_TESTS_FUZZ_WIRE_MUTATION_H_
#define CONVD_TESTS_FUZZ_WIRE_MUTATION_H_

#include <cstddef>
#include <cstdint>

namespace convd {

// libFuzzer's mutation of a serialized protobuf message, mostly of one field within it, whatever
// its depth, with the lengths around it made right: a field that grows by a byte is otherwise
// always seen as damage of the outermost message. As LLVMFuzzerCustomMutator.
size_t MutateWire(uint8_t* data, size_t size, size_t max_size, unsigned int seed);

}  // namespace convd

#endif  // CONVD_TESTS_FUZZ_WIRE_MUTATION_H_
