#ifndef CONVD_SERVER_MODELS_SERVED_PRECISION_H_
#define CONVD_SERVER_MODELS_SERVED_PRECISION_H_

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "convd/v1/model.pb.h"

// What a version is computed in. Functions only; any thread may call.

namespace convd {

// CheckPrecision, or what a test puts in its place: OK where the CPU has it, else an error that
// begins with the field.
using PrecisionCheck = std::function<absl::Status(std::string_view, v1::Precision)>;

// The precision that a request names; where it names none the version's own, which is f32 where
// the card doesn't say. The card may be anybody's, so its word may be none that there is.
v1::Precision ChoosePrecision(const v1::ModelCard& card, v1::Precision requested);

// Whether this version can be computed in what ChoosePrecision says. INVALID_ARGUMENT where the
// request names none that there is; FAILED_PRECONDITION, with what to do, where `check` says so or
// the version lacks what the precision takes.
absl::Status CheckServed(const v1::ModelCard& card, v1::Precision requested,
                         const PrecisionCheck& check);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_SERVED_PRECISION_H_
