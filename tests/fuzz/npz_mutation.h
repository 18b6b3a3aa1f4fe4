#ifndef CONVD_TESTS_FUZZ_NPZ_MUTATION_H_
#define CONVD_TESTS_FUZZ_NPZ_MUTATION_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace convd {

// Cuts or lengthens the elements of an .npy file to what its header says, which is otherwise
// refused before anything looks at shape and type.
void FitNpy(std::string& file);

// libFuzzer's mutation of an .npz file: of a member, fitted as above, in an archive that is whole;
// at times of the archive's own bytes. As LLVMFuzzerCustomMutator.
size_t MutateNpz(uint8_t* data, size_t size, size_t max_size, unsigned int seed);

}  // namespace convd

#endif  // CONVD_TESTS_FUZZ_NPZ_MUTATION_H_
