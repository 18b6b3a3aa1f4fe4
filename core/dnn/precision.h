#ifndef CONVD_CORE_DNN_PRECISION_H_
#define CONVD_CORE_DNN_PRECISION_H_

#include <string_view>

#include "absl/status/status.h"
#include "convd/v1/model.pb.h"

namespace convd {

inline constexpr v1::Precision kPrecisions[] = {v1::PRECISION_F32, v1::PRECISION_BF16,
                                                v1::PRECISION_INT8};

// "f32", "bf16", "int8"; "" of what is none of them. Any thread may call.
std::string_view PrecisionName(v1::Precision precision);

// OK where oneDNN's effective instruction set has the precision. FAILED_PRECONDITION says what it
// lacks, INVALID_ARGUMENT that it is no precision; both begin with `field`. Any thread may call.
absl::Status CheckPrecision(std::string_view field, v1::Precision precision);

}  // namespace convd

#endif  // CONVD_CORE_DNN_PRECISION_H_
