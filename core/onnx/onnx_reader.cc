#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/finite.h"
#include "core/onnx/dense_rows.h"
#include "core/onnx/onnx_model.h"
#include "core/onnx/onnx_names.h"
#include "core/onnx/wire_reader.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// onnx.proto's field numbers and values, of what is read here.
constexpr uint32_t kModelGraph = 7;
constexpr uint32_t kModelOpsetImport = 8;
constexpr uint32_t kOpsetDomain = 1;
constexpr uint32_t kOpsetVersion = 2;
constexpr uint32_t kGraphInitializer = 5;
constexpr uint32_t kGraphSparseInitializer = 15;
constexpr uint32_t kTensorDims = 1;
constexpr uint32_t kTensorDataType = 2;
constexpr uint32_t kTensorName = 8;
constexpr uint32_t kTensorRawData = 9;
constexpr uint32_t kTensorDocString = 12;
constexpr uint64_t kFloat = 1;

// A tensor of the network's has four dimensions at most; more are counted, not kept.
constexpr size_t kMaxDims = 8;
constexpr size_t kMaxShown = 80;

struct Initializer {
  std::string_view name;
  std::vector<int64_t> dims;
  uint64_t type = 0;
  std::string_view raw;
  uint64_t offset = 0;     // of the tensor in the file
  uint32_t odd_field = 0;  // a field that WriteOnnx never writes
};

std::string Quoted(std::string_view name) {
  return absl::StrCat(
      "\"", absl::CEscape(absl::string_view(name.data(), std::min(name.size(), kMaxShown))),
      name.size() > kMaxShown ? "...\"" : "\"");
}

absl::Status InitializerError(const Initializer& initializer, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("initializer ", Quoted(initializer.name),
                                                 " at offset ", initializer.offset, ": ", what));
}

void AddDim(uint64_t dim, Initializer& initializer) {
  if (initializer.dims.size() < kMaxDims) initializer.dims.push_back(static_cast<int64_t>(dim));
}

absl::StatusOr<Initializer> ReadInitializer(const WireReader::Field& message) {
  Initializer initializer;
  initializer.offset = message.offset;
  WireReader reader(message.bytes, message.offset);
  while (!reader.done()) {
    CONVD_ASSIGN_OR_RETURN(WireReader::Field field, reader.Next());
    if (field.number == kTensorName && field.is_bytes) {
      initializer.name = field.bytes;
    } else if (field.number == kTensorRawData && field.is_bytes) {
      initializer.raw = field.bytes;
    } else if (field.number == kTensorDataType && !field.is_bytes) {
      initializer.type = field.value;
    } else if (field.number == kTensorDims && !field.is_bytes) {
      AddDim(field.value, initializer);
    } else if (field.number == kTensorDims) {
      WireReader packed(field.bytes, field.offset);
      while (!packed.done()) {
        CONVD_ASSIGN_OR_RETURN(uint64_t dim, packed.Varint());
        AddDim(dim, initializer);
      }
    } else if (field.number != kTensorDocString) {
      initializer.odd_field = field.number;
    }
  }
  return initializer;
}

absl::Status CheckInitializer(const Initializer& initializer, const std::vector<int64_t>& shape,
                              int64_t elements) {
  if (initializer.odd_field != 0) {
    return InitializerError(initializer,
                            absl::StrCat("got TensorProto's field number ", initializer.odd_field,
                                         "; want its values in raw_data, inside this file"));
  }
  if (initializer.type != kFloat) {
    return InitializerError(initializer,
                            absl::StrCat("got data type ", initializer.type, "; want FLOAT (1)"));
  }
  if (initializer.dims != shape) {
    return InitializerError(
        initializer, absl::StrCat("got shape {", absl::StrJoin(initializer.dims, ", "), "}; want {",
                                  absl::StrJoin(shape, ", "), "}"));
  }
  if (initializer.raw.size() != elements * sizeof(float)) {
    return InitializerError(initializer,
                            absl::StrCat("got ", initializer.raw.size(), " bytes of values; want ",
                                         elements * sizeof(float)));
  }
  return absl::OkStatus();
}

absl::Status CopyFinite(const Initializer& initializer, float* out) {
  std::memcpy(out, initializer.raw.data(), initializer.raw.size());
  const size_t elements = initializer.raw.size() / sizeof(float);
  const size_t i = FirstNonFinite({out, elements});
  if (i == elements) return absl::OkStatus();
  return InitializerError(initializer,
                          absl::StrCat("element ", i, ": got ", out[i], "; want finite numbers"));
}

// Preprocessing is part of the model: other pixels would give other answers.
absl::Status CheckScale(const Initializer& initializer, const Graph& graph) {
  CONVD_RETURN_IF_ERROR(CheckInitializer(initializer, {}, 1));
  float scale;
  CONVD_RETURN_IF_ERROR(CopyFinite(initializer, &scale));
  if (scale == graph.scale()) return absl::OkStatus();
  return InitializerError(initializer,
                          absl::StrCat("got ", scale, "; want the network's ", graph.scale()));
}

// At another opset the operators may mean something else than what the card's network does.
// Domains beside ONNX's own, which some programs list, have no part in our files.
absl::Status CheckOpsetImport(const WireReader::Field& message, bool& seen) {
  if (!message.is_bytes) {
    return absl::InvalidArgumentError("opset_import: got a number; want a message");
  }
  std::string_view domain;
  uint64_t version = 0;
  WireReader reader(message.bytes, message.offset);
  while (!reader.done()) {
    CONVD_ASSIGN_OR_RETURN(WireReader::Field field, reader.Next());
    if (field.number == kOpsetDomain && field.is_bytes) domain = field.bytes;
    if (field.number == kOpsetVersion && !field.is_bytes) version = field.value;
  }
  if (!domain.empty() && domain != "ai.onnx") return absl::OkStatus();
  if (seen) return absl::InvalidArgumentError("opset_import: got ONNX's own twice; want it once");
  seen = true;
  if (version >= kMinOpset && version <= kMaxOpset) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("opset_import: got version ", version, "; want ", kMinOpset, " to ", kMaxOpset));
}

// What a file of the graph's may hold beside the parameters: a few hundred bytes a node, and a
// label and its JSON a class.
uint64_t MaxBytes(const Graph& graph) {
  return graph.parameter_count() * sizeof(float) + graph.layers().size() * 4096 +
         uint64_t{static_cast<uint32_t>(graph.classes())} * 4096 + 65536;
}

// The initializers by name; those of names that the graph does not have are refused, so the map is
// no larger than the graph.
absl::StatusOr<std::map<std::string_view, Initializer>> FindInitializers(std::string_view bytes,
                                                                         const Graph& graph) {
  std::map<std::string_view, Initializer> wanted;
  wanted[kOnnxScale];
  for (const Parameter& parameter : graph.parameters()) wanted[parameter.name];

  bool graph_seen = false;
  bool opset_seen = false;
  WireReader model(bytes, 0);
  while (!model.done()) {
    CONVD_ASSIGN_OR_RETURN(WireReader::Field in_model, model.Next());
    if (in_model.number == kModelOpsetImport) {
      CONVD_RETURN_IF_ERROR(CheckOpsetImport(in_model, opset_seen));
    }
    if (in_model.number != kModelGraph) continue;
    if (!in_model.is_bytes || graph_seen) {
      return absl::InvalidArgumentError("graph: got two, or one of another type; want one");
    }
    graph_seen = true;
    WireReader reader(in_model.bytes, in_model.offset);
    while (!reader.done()) {
      CONVD_ASSIGN_OR_RETURN(WireReader::Field field, reader.Next());
      if (field.number == kGraphSparseInitializer) {
        return absl::InvalidArgumentError(absl::StrCat("graph: got a sparse initializer at offset ",
                                                       field.offset, "; want dense ones only"));
      }
      if (field.number != kGraphInitializer) continue;
      if (!field.is_bytes) {
        return absl::InvalidArgumentError("graph: got an initializer that is no message");
      }
      CONVD_ASSIGN_OR_RETURN(Initializer initializer, ReadInitializer(field));
      auto found = wanted.find(initializer.name);
      if (found == wanted.end()) {
        return InitializerError(initializer, "the network has no parameter of this name");
      }
      if (found->second.offset != 0) {
        return InitializerError(initializer, absl::StrCat("is there twice; the first is at offset ",
                                                          found->second.offset));
      }
      found->second = std::move(initializer);
    }
  }
  for (const auto& [name, initializer] : wanted) {
    if (initializer.offset == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("initializer ", Quoted(name), ": is missing; want each of the network's"));
    }
  }
  if (!opset_seen) {
    return absl::InvalidArgumentError(
        absl::StrCat("opset_import: is missing; want one of ", kMinOpset, " to ", kMaxOpset));
  }
  return wanted;
}

}  // namespace

absl::StatusOr<std::vector<float>> ReadOnnxParameters(std::string_view bytes, const Graph& graph) {
  if (bytes.size() > MaxBytes(graph)) {
    return absl::InvalidArgumentError(absl::StrCat("got ", bytes.size(), " bytes; want at most ",
                                                   MaxBytes(graph), " for ",
                                                   graph.parameter_count(), " parameters"));
  }
  CONVD_ASSIGN_OR_RETURN(auto initializers, FindInitializers(bytes, graph));
  CONVD_RETURN_IF_ERROR(CheckScale(initializers[kOnnxScale], graph));
  for (const Parameter& parameter : graph.parameters()) {
    CONVD_RETURN_IF_ERROR(
        CheckInitializer(initializers[parameter.name], parameter.shape, parameter.elements));
  }
  // The sizes hold, so there are as many bytes in the file as are allocated here.
  std::vector<float> parameters(graph.parameter_count());
  std::vector<float> rows;
  for (size_t l = 0; l < graph.layers().size(); ++l) {
    const GraphLayer& layer = graph.layers()[l];
    for (int index : {layer.kernel, layer.bias}) {
      if (index < 0) continue;
      const Parameter& parameter = graph.parameters()[index];
      float* out = parameters.data() + parameter.offset;
      const bool dense = layer.kind == LayerKind::kDense && index == layer.kernel;
      if (dense) rows.resize(parameter.elements);
      CONVD_RETURN_IF_ERROR(CopyFinite(initializers[parameter.name], dense ? rows.data() : out));
      if (dense) {
        RowsFromFile(FlattenedImage(graph, static_cast<int>(l)), layer.out.channels, rows.data(),
                     out);
      }
    }
  }
  return parameters;
}

}  // namespace convd
