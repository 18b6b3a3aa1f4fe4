#ifndef CONVD_CLIENT_CONVCTL_EXPLANATION_TEXT_H_
#define CONVD_CLIENT_CONVCTL_EXPLANATION_TEXT_H_

#include <string>
#include <string_view>

#include "convd/v1/explanation.pb.h"

namespace convd {

// A table of each plan's calls with its totals, for people; calls whose kernel isn't the planned
// one are marked. `what` is what was explained: "fashion@1". Any thread may call.
std::string ExplanationText(std::string_view what, const v1::Explanation& explanation);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_EXPLANATION_TEXT_H_
