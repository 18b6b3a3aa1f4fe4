#ifndef CONVD_CORE_NN_NETWORK_TEXT_H_
#define CONVD_CORE_NN_NETWORK_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "convd/v1/network.pb.h"

namespace convd {

// The longest text that ParseNetwork reads.
constexpr size_t kMaxNetworkText = 1 << 20;

// A network out of its textproto form. `file` is how errors name the text. INVALID_ARGUMENT with
// the line and the column (from 1) of the first mistake. The network is not checked further; that
// is Graph::Create's. Any thread may call; the text may be hostile.
absl::StatusOr<v1::Network> ParseNetwork(std::string_view text, std::string_view file);

}  // namespace convd

#endif  // CONVD_CORE_NN_NETWORK_TEXT_H_
