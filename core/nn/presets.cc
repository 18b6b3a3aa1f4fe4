#include "core/nn/presets.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/nn/network_text.h"

namespace convd {
namespace {

struct NamedNetwork {
  std::string_view name;
  std::string_view text;
};

// docs/networks/NAME.textproto holds the same; a test compares them.
constexpr NamedNetwork kPresets[] = {
    {"keras-mnist", R"pb(
       name: "keras-mnist"
       input { height: 28 width: 28 channels: 1 }
       layers { conv { filters: 32 kernel: 3 activation: ACTIVATION_RELU } }
       layers { max_pool { size: 2 } }
       layers { conv { filters: 64 kernel: 3 activation: ACTIVATION_RELU } }
       layers { max_pool { size: 2 } }
       layers { flatten {} }
       layers { dropout { rate: 0.5 } }
       layers { dense { units: 10 activation: ACTIVATION_SOFTMAX } }
     )pb"},
    {"classic-cifar10", R"pb(
       name: "classic-cifar10"
       input { height: 32 width: 32 channels: 3 }
       layers { conv { filters: 32 kernel: 3 activation: ACTIVATION_RELU } }
       layers { conv { filters: 64 kernel: 3 activation: ACTIVATION_RELU } }
       layers { max_pool { size: 2 } }
       layers { flatten {} }
       layers { dense { units: 10 activation: ACTIVATION_SOFTMAX } }
     )pb"},
    {"lenet5", R"pb(
       name: "lenet5"
       input { height: 28 width: 28 channels: 1 }
       layers { conv { filters: 6 kernel: 5 padding: PADDING_SAME activation: ACTIVATION_TANH } }
       layers { average_pool { size: 2 } }
       layers { conv { filters: 16 kernel: 5 activation: ACTIVATION_TANH } }
       layers { average_pool { size: 2 } }
       layers { flatten {} }
       layers { dense { units: 120 activation: ACTIVATION_TANH } }
       layers { dense { units: 84 activation: ACTIVATION_TANH } }
       layers { dense { units: 10 activation: ACTIVATION_SOFTMAX } }
     )pb"},
};

}  // namespace

absl::StatusOr<v1::Network> Preset(std::string_view name) {
  for (const NamedNetwork& preset : kPresets) {
    if (preset.name == name) return ParseNetwork(preset.text, preset.name);
  }
  const size_t shown = std::min<size_t>(name.size(), 80);
  return absl::NotFoundError(absl::StrCat(
      "preset: got \"", absl::CEscape(absl::string_view(name.data(), shown)),
      shown < name.size() ? "..." : "", "\"; want one of ", absl::StrJoin(PresetNames(), ", ")));
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const NamedNetwork& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

}  // namespace convd
