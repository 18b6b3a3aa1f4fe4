#ifndef CONVD_CORE_NN_SUMMARY_H_
#define CONVD_CORE_NN_SUMMARY_H_

#include <string>

#include "core/nn/graph.h"

namespace convd {

// The table that Keras users know from model.summary(): layer (kind), output shape, parameters;
// then the total. Ends with a newline.
std::string Summary(const Graph& graph);

}  // namespace convd

#endif  // CONVD_CORE_NN_SUMMARY_H_
