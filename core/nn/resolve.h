#ifndef CONVD_CORE_NN_RESOLVE_H_
#define CONVD_CORE_NN_RESOLVE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/network.pb.h"

namespace convd {

// What a network may ask for at most. Far beyond what a CPU trains; there so that no figure
// computed from a network overflows or allocates without bound.
constexpr int kMaxLayers = 1000;
constexpr int64_t kMaxExtent = 65536;            // height, width, kernel, stride, dilation; classes
constexpr int64_t kMaxParameters = 1LL << 28;    // of the network
constexpr int64_t kMaxActivations = 1LL << 28;   // elements of a layer's output, for one image
constexpr int64_t kMaxMultiplyAdds = 1LL << 36;  // of a layer's forward pass, for one image

// LeakyReLU's slope and ELU's alpha where the network gives none, as in Keras; 0 for the others.
float DefaultAlpha(v1::Activation activation);

// The kind's field in v1::Layer: "conv", "max_pool", ...; "" where none is set.
std::string_view KindField(const v1::Layer& layer);

// INVALID_ARGUMENT: layer "NAME": KIND.FIELD: WHAT.
absl::Status LayerError(const v1::Layer& layer, std::string_view field, std::string_view what);

// The network with every name, size and default filled in, and each field checked by itself (what
// needs shapes is Graph::Create's). INVALID_ARGUMENT naming the layer and the field. Any thread.
absl::StatusOr<v1::Network> ResolveNetwork(const v1::Network& network);

}  // namespace convd

#endif  // CONVD_CORE_NN_RESOLVE_H_
