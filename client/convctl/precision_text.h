#ifndef CONVD_CLIENT_CONVCTL_PRECISION_TEXT_H_
#define CONVD_CLIENT_CONVCTL_PRECISION_TEXT_H_

#include <string>

#include "convd/v1/model.pb.h"

namespace convd {

// "bf16". Unset is "f32": what doesn't say it is from before there was a choice. Any thread may
// call.
std::string PrecisionText(v1::Precision precision);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_PRECISION_TEXT_H_
