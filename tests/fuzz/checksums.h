#ifndef CONVD_TESTS_FUZZ_CHECKSUMS_H_
#define CONVD_TESTS_FUZZ_CHECKSUMS_H_

#include <cstddef>
#include <cstdint>

// Makes checksums right again after libFuzzer has changed a file's bytes. It never guesses a CRC,
// so without this nearly all inputs would be refused at the checksum, and what lies behind it never
// be tried. Nothing but the checksums is written, within `size` bytes; what is too damaged to find
// them stays as it is.

namespace convd {

void RepairGzip(uint8_t* data, size_t size);
void RepairPng(uint8_t* data, size_t size);
void RepairTar(uint8_t* data, size_t size);
void RepairZip(uint8_t* data, size_t size);

}  // namespace convd

// Defines libFuzzer's hook: its own mutation, then `repair`, but for every eighth input, so that
// wrong checksums are tried, too.
#define CONVD_REPAIR_MUTATIONS(repair)                                                   \
  extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);       \
  extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, \
                                            unsigned int seed) {                         \
    const size_t mutated = LLVMFuzzerMutate(data, size, max_size);                       \
    if (seed % 8 != 0) repair(data, mutated);                                            \
    return mutated;                                                                      \
  }

#endif  // CONVD_TESTS_FUZZ_CHECKSUMS_H_
