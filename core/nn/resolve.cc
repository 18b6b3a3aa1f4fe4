#include "core/nn/resolve.h"

#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"

namespace convd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::RepeatedField;

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

absl::Status NetworkError(std::string_view field, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("network: ", View(field), ": ", View(what)));
}

// A field of a later protocol would be dropped without a word, and another network trained than was
// asked for.
absl::Status RefuseUnknownFields(const Message& message, const std::string& path) {
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (unknown.field_count() > 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": got field number ",
                                                   unknown.field(0).number(),
                                                   ", which this server does not know"));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    std::string child = absl::StrCat(path, ".", field->name());
    if (!field->is_repeated()) {
      CONVD_RETURN_IF_ERROR(
          RefuseUnknownFields(reflection->GetMessage(message, field), std::move(child)));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      CONVD_RETURN_IF_ERROR(RefuseUnknownFields(reflection->GetRepeatedMessage(message, field, i),
                                                absl::StrCat(child, "[", i, "]")));
    }
  }
  return absl::OkStatus();
}

// What Keras calls an unnamed layer of the kind.
std::string_view KerasName(v1::Layer::KindCase kind) {
  switch (kind) {
    case v1::Layer::kConv:
      return "conv2d";
    case v1::Layer::kMaxPool:
      return "max_pooling2d";
    case v1::Layer::kAveragePool:
      return "average_pooling2d";
    case v1::Layer::kDense:
      return "dense";
    case v1::Layer::kFlatten:
      return "flatten";
    case v1::Layer::kDropout:
      return "dropout";
    case v1::Layer::kActivation:
      return "activation";
    case v1::Layer::KIND_NOT_SET:
      break;
  }
  return "";
}

absl::Status ResolveNames(v1::Network& network) {
  std::set<std::string> taken;
  for (int i = 0; i < network.layers_size(); ++i) {
    const v1::Layer& layer = network.layers(i);
    const std::string path = absl::StrCat("network.layers[", i, "]");
    if (!layer.name().empty()) {
      CONVD_RETURN_IF_ERROR(CheckName(absl::StrCat(path, ".name"), layer.name()));
      if (!taken.insert(layer.name()).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ".name: got \"", layer.name(),
                         "\", which an earlier layer bears; want a name used once"));
      }
    }
    if (layer.kind_case() == v1::Layer::KIND_NOT_SET) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, layer.name().empty() ? "" : absl::StrCat(" \"", layer.name(), "\""),
                       ": no kind is set; want one of conv, max_pool, average_pool, dense, "
                       "flatten, dropout, activation"));
    }
  }
  // Keras counts the unnamed layers of a kind; a number that the user took is passed over.
  std::map<std::string_view, int> counts;
  for (v1::Layer& layer : *network.mutable_layers()) {
    if (!layer.name().empty()) continue;
    const std::string_view base = KerasName(layer.kind_case());
    do {
      const int n = counts[base]++;
      layer.set_name(n == 0 ? std::string(base) : absl::StrCat(View(base), "_", n));
    } while (!taken.insert(layer.name()).second);
  }
  return absl::OkStatus();
}

// A layer takes the one before it. Other inputs (residual graphs) have their place in the protocol
// and nothing behind it yet.
absl::Status ResolveInputs(v1::Network& network) {
  for (int i = 0; i < network.layers_size(); ++i) {
    v1::Layer& layer = *network.mutable_layers(i);
    std::string found;
    for (const std::string& input : layer.inputs()) {
      CONVD_RETURN_IF_ERROR(CheckName(
          absl::StrCat("layer \"", layer.name(), "\": inputs[", found.empty() ? 0 : 1, "]"),
          input));
      absl::StrAppend(&found, found.empty() ? "" : ", ", "\"", input, "\"");
      if (found.size() > 200) break;
    }
    if (i == 0) {
      if (layer.inputs_size() > 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("layer \"", layer.name(), "\": inputs: got ", found,
                         "; the first layer takes the network's input, so want none"));
      }
      continue;
    }
    const std::string& before = network.layers(i - 1).name();
    if (layer.inputs_size() == 0) layer.add_inputs(before);
    if (layer.inputs_size() != 1 || layer.inputs(0) != before) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer \"", layer.name(), "\": inputs: got ", found, "; want \"", before,
                       "\", the layer before it: branches are not supported yet"));
    }
  }
  return absl::OkStatus();
}

// One value stands for both axes, none for the default (0: there is none).
absl::Status ResolveAxes(const v1::Layer& layer, std::string_view field, int default_h,
                         int default_w, RepeatedField<int32_t>* values) {
  if (values->size() > 2 || (values->empty() && default_h == 0)) {
    return LayerError(layer, field,
                      absl::StrCat("got ", values->size(),
                                   " values; want one for both axes, or two: height, width"));
  }
  for (int32_t v : *values) {
    if (v < 1 || v > kMaxExtent) {
      return LayerError(layer, field, absl::StrCat("got ", v, "; want 1 to ", kMaxExtent));
    }
  }
  if (values->empty()) {
    values->Add(default_h);
    values->Add(default_w);
  } else if (values->size() == 1) {
    values->Add(values->Get(0));
  }
  return absl::OkStatus();
}

absl::Status CheckCount(const v1::Layer& layer, std::string_view field, int32_t value) {
  if (value >= 1 && value <= kMaxActivations) return absl::OkStatus();
  return LayerError(layer, field, absl::StrCat("got ", value, "; want 1 to ", kMaxActivations));
}

absl::StatusOr<v1::Padding> ResolvePadding(const v1::Layer& layer, v1::Padding padding) {
  if (padding == v1::PADDING_UNSPECIFIED) return v1::PADDING_VALID;
  if (padding == v1::PADDING_VALID || padding == v1::PADDING_SAME) return padding;
  return LayerError(layer, "padding",
                    absl::StrCat("got ", static_cast<int>(padding),
                                 "; want PADDING_VALID (1) or PADDING_SAME (2)"));
}

absl::Status CheckActivation(const v1::Layer& layer, v1::Activation activation, bool last) {
  if (!v1::Activation_IsValid(activation)) {
    return LayerError(layer, "activation",
                      absl::StrCat("got ", static_cast<int>(activation),
                                   "; want ACTIVATION_RELU, _LEAKY_RELU, _ELU, _SIGMOID, _TANH or "
                                   "_SOFTMAX"));
  }
  if (activation == v1::ACTIVATION_SOFTMAX && (!last || layer.has_conv())) {
    return LayerError(layer, "activation",
                      "got ACTIVATION_SOFTMAX, which only the network's last layer may have, a "
                      "dense or an activation layer that gives the class scores");
  }
  return absl::OkStatus();
}

template <typename Pool>
absl::Status ResolvePool(const v1::Layer& layer, Pool& pool) {
  CONVD_RETURN_IF_ERROR(ResolveAxes(layer, "size", 2, 2, pool.mutable_size()));
  CONVD_RETURN_IF_ERROR(
      ResolveAxes(layer, "stride", pool.size(0), pool.size(1), pool.mutable_stride()));
  CONVD_ASSIGN_OR_RETURN(v1::Padding padding, ResolvePadding(layer, pool.padding()));
  pool.set_padding(padding);
  return absl::OkStatus();
}

absl::Status ResolveConv(const v1::Layer& layer, v1::Conv2D& conv, bool last) {
  CONVD_RETURN_IF_ERROR(CheckCount(layer, "filters", conv.filters()));
  CONVD_RETURN_IF_ERROR(ResolveAxes(layer, "kernel", 0, 0, conv.mutable_kernel()));
  CONVD_RETURN_IF_ERROR(ResolveAxes(layer, "stride", 1, 1, conv.mutable_stride()));
  CONVD_RETURN_IF_ERROR(ResolveAxes(layer, "dilation", 1, 1, conv.mutable_dilation()));
  CONVD_ASSIGN_OR_RETURN(v1::Padding padding, ResolvePadding(layer, conv.padding()));
  conv.set_padding(padding);
  if (conv.groups() == 0) conv.set_groups(1);
  CONVD_RETURN_IF_ERROR(CheckCount(layer, "groups", conv.groups()));
  return CheckActivation(layer, conv.activation(), last);
}

absl::Status ResolveActivation(const v1::Layer& layer, v1::ActivationLayer& activation, bool last) {
  if (activation.activation() == v1::ACTIVATION_UNSPECIFIED) {
    return LayerError(layer, "activation", "is not set; want ACTIVATION_RELU or another");
  }
  CONVD_RETURN_IF_ERROR(CheckActivation(layer, activation.activation(), last));
  const bool takes_alpha = activation.activation() == v1::ACTIVATION_LEAKY_RELU ||
                           activation.activation() == v1::ACTIVATION_ELU;
  if (!takes_alpha) {
    if (!activation.has_alpha()) return absl::OkStatus();
    return LayerError(layer, "alpha",
                      absl::StrCat("got ", activation.alpha(), " with ",
                                   v1::Activation_Name(activation.activation()),
                                   "; only ACTIVATION_LEAKY_RELU and ACTIVATION_ELU take one"));
  }
  if (!activation.has_alpha()) activation.set_alpha(DefaultAlpha(activation.activation()));
  // A negative alpha would lose the input's sign, from which the gradient is told.
  if (!std::isfinite(activation.alpha()) || activation.alpha() < 0) {
    return LayerError(layer, "alpha",
                      absl::StrCat("got ", activation.alpha(), "; want a finite number from 0"));
  }
  return absl::OkStatus();
}

absl::Status ResolveLayer(v1::Layer& layer, bool last) {
  switch (layer.kind_case()) {
    case v1::Layer::kConv:
      return ResolveConv(layer, *layer.mutable_conv(), last);
    case v1::Layer::kMaxPool:
      return ResolvePool(layer, *layer.mutable_max_pool());
    case v1::Layer::kAveragePool:
      return ResolvePool(layer, *layer.mutable_average_pool());
    case v1::Layer::kDense:
      CONVD_RETURN_IF_ERROR(CheckCount(layer, "units", layer.dense().units()));
      return CheckActivation(layer, layer.dense().activation(), last);
    case v1::Layer::kDropout: {
      const float rate = layer.dropout().rate();
      if (rate >= 0 && rate < 1) return absl::OkStatus();
      return LayerError(layer, "rate",
                        absl::StrCat("got ", rate, "; want at least 0 and less than 1"));
    }
    case v1::Layer::kActivation:
      return ResolveActivation(layer, *layer.mutable_activation(), last);
    case v1::Layer::kFlatten:
    case v1::Layer::KIND_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status ResolveInput(v1::Network& network) {
  if (!network.has_input()) {
    return NetworkError("input", "is not set; want height, width and channels");
  }
  const std::pair<std::string_view, int64_t> extents[] = {
      {"input.height", network.input().height()},
      {"input.width", network.input().width()},
      {"input.channels", network.input().channels()}};
  for (const auto& [field, value] : extents) {
    if (value < 1 || value > kMaxExtent) {
      return NetworkError(field, absl::StrCat("got ", value, "; want 1 to ", kMaxExtent));
    }
  }
  if (!network.preprocessing().has_scale()) {
    network.mutable_preprocessing()->set_scale(1.0f / 255);
  }
  const float scale = network.preprocessing().scale();
  if (!std::isfinite(scale) || scale <= 0) {
    return NetworkError("preprocessing.scale",
                        absl::StrCat("got ", scale, "; want a finite number above 0"));
  }
  return absl::OkStatus();
}

}  // namespace

float DefaultAlpha(v1::Activation activation) {
  if (activation == v1::ACTIVATION_LEAKY_RELU) return 0.3f;
  if (activation == v1::ACTIVATION_ELU) return 1.0f;
  return 0;
}

std::string_view KindField(const v1::Layer& layer) {
  const auto* field = layer.GetDescriptor()->FindFieldByNumber(layer.kind_case());
  return field == nullptr ? std::string_view() : std::string_view(field->name());
}

absl::Status LayerError(const v1::Layer& layer, std::string_view field, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("layer \"", layer.name(),
                                                 "\": ", View(KindField(layer)), ".", View(field),
                                                 ": ", View(what)));
}

absl::StatusOr<v1::Network> ResolveNetwork(const v1::Network& network) {
  if (network.layers_size() < 1 || network.layers_size() > kMaxLayers) {
    return NetworkError("layers",
                        absl::StrCat("got ", network.layers_size(), "; want 1 to ", kMaxLayers));
  }
  CONVD_RETURN_IF_ERROR(RefuseUnknownFields(network, "network"));
  v1::Network resolved = network;
  if (resolved.name().empty()) resolved.set_name("sequential");  // as Keras calls an unnamed one
  CONVD_RETURN_IF_ERROR(CheckName("network.name", resolved.name()));
  CONVD_RETURN_IF_ERROR(ResolveInput(resolved));
  if (resolved.loss() == v1::LOSS_UNSPECIFIED) resolved.set_loss(v1::LOSS_SOFTMAX_CROSS_ENTROPY);
  if (resolved.loss() != v1::LOSS_SOFTMAX_CROSS_ENTROPY) {
    return NetworkError("loss", absl::StrCat("got ", static_cast<int>(resolved.loss()),
                                             "; want LOSS_SOFTMAX_CROSS_ENTROPY (1)"));
  }
  CONVD_RETURN_IF_ERROR(ResolveNames(resolved));
  CONVD_RETURN_IF_ERROR(ResolveInputs(resolved));
  for (int i = 0; i < resolved.layers_size(); ++i) {
    CONVD_RETURN_IF_ERROR(
        ResolveLayer(*resolved.mutable_layers(i), i + 1 == resolved.layers_size()));
  }
  return resolved;
}

}  // namespace convd
