#ifndef CONVD_CLIENT_CONVCTL_MODEL_DIFF_H_
#define CONVD_CLIENT_CONVCTL_MODEL_DIFF_H_

#include <string>
#include <vector>

#include "convd/v1/models.pb.h"

namespace convd {

struct CardDifference {
  std::string field;  // "request.batch_size", "network.layers[2].conv.filters"
  std::string a, b;   // "-" where the card has no such field
};

// In what two versions' cards differ, in the cards' order of fields. Left out is what any two
// versions differ in (number, job, times) or what only repeats the rest (history but for its last
// epoch, ranges for int8, figures by class). Any thread may call.
std::vector<CardDifference> CompareCards(const v1::ModelCard& a, const v1::ModelCard& b);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_MODEL_DIFF_H_
