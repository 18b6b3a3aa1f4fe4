#ifndef CONVD_TESTS_FUZZ_PROMISES_H_
#define CONVD_TESTS_FUZZ_PROMISES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

// What readers promise of any bytes. A promise that doesn't hold ends the process, which libFuzzer
// takes for a finding.

namespace convd {

inline std::string_view Bytes(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// What the fuzzers pass as a file's name: errors have to begin with it.
inline constexpr char kFuzzedFile[] = "f";

// So small that no input takes more than the 64 MB that scripts/fuzz allows a call of malloc.
DataLimits FuzzedLimits();

void Promise(bool holds, const char* what);

// A reader's refusal names the file and blames the input, not the server.
void PromiseRefusal(const absl::Status& status);

// An error as above, or images within FuzzedLimits(), every byte and label of which can be read.
void PromiseImages(const absl::StatusOr<ImageSet>& images);

// DecodeImage, in both of its forms, which have to agree.
void PromiseDecodedImage(std::string_view file);

}  // namespace convd

#endif  // CONVD_TESTS_FUZZ_PROMISES_H_
