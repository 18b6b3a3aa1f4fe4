#ifndef CONVD_CLIENT_CONVCTL_METRICS_TEXT_H_
#define CONVD_CLIENT_CONVCTL_METRICS_TEXT_H_

#include <string>

#include "convd/v1/model.pb.h"

namespace convd {

// Loss and accuracy, then a table of the classes: support, precision, recall, F1. Any thread may
// call.
std::string MetricsText(const v1::Metrics& metrics);

// True classes down, predicted ones across; columns bear the class's index. Empty where the matrix
// is not classes x classes.
std::string ConfusionText(const v1::Metrics& metrics);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_METRICS_TEXT_H_
