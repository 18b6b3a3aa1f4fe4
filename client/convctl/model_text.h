#ifndef CONVD_CLIENT_CONVCTL_MODEL_TEXT_H_
#define CONVD_CLIENT_CONVCTL_MODEL_TEXT_H_

#include <string>
#include <vector>

#include "convd/v1/models.pb.h"

namespace convd {

// Versions as tables and lines for people. Any thread may call.

std::string ModelsTable(const std::vector<v1::Model>& models);
std::string PolicyText(const v1::ModelPolicy& policy);
// Everything about one version: its network's table, history, accuracies at each precision and
// evaluations too.
std::string ModelDetails(const v1::Model& model);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_MODEL_TEXT_H_
