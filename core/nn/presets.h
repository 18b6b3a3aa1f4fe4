#ifndef CONVD_CORE_NN_PRESETS_H_
#define CONVD_CORE_NN_PRESETS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/network.pb.h"

namespace convd {

// The networks that come with convd, by name: "keras-mnist", "classic-cifar10", "lenet5". NOT_FOUND
// lists the known ones.
absl::StatusOr<v1::Network> Preset(std::string_view name);
std::vector<std::string> PresetNames();

}  // namespace convd

#endif  // CONVD_CORE_NN_PRESETS_H_
