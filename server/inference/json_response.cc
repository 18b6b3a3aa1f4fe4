#include "server/inference/json_response.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

namespace convd {
namespace {

// Members in the order in which they are put in.
using Json = nlohmann::ordered_json;

std::string Text(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

template <typename Field>
Json ListOf(const Field& values) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(value);
  return list;
}

// The shortest digits that are this float and no other.
void AppendFloats(const std::string& raw, std::string& json) {
  char digits[32];
  for (size_t at = 0; at + sizeof(float) <= raw.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, raw.data() + at, sizeof(value));
    const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), value);
    if (at > 0) json += ',';
    json.append(digits, end.ptr);
  }
}

// The elements of a BYTES tensor: each a length of four bytes, little-endian, and so many more.
void AppendTexts(const std::string& raw, std::string& json) {
  for (size_t at = 0; at + 4 <= raw.size();) {
    uint32_t size = 0;
    std::memcpy(&size, raw.data() + at, sizeof(size));
    if (at > 0) json += ',';
    json += Text(raw.substr(at + 4, size));
    at += 4 + size;
  }
}

Json TensorsOf(
    const google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>&
        tensors) {
  Json list = Json::array();
  for (const auto& tensor : tensors) {
    list.push_back({{"name", tensor.name()},
                    {"datatype", tensor.datatype()},
                    {"shape", ListOf(tensor.shape())}});
  }
  return list;
}

}  // namespace

JsonInferResponse WriteJsonInferResponse(const inference::ModelInferResponse& response,
                                         bool binary_output) {
  Json head = {{"model_name", response.model_name()}, {"model_version", response.model_version()}};
  if (!response.id().empty()) head["id"] = response.id();
  JsonInferResponse result;
  std::string& json = result.body;
  json = Text(head);
  json.pop_back();  // its brace, since the outputs' data is written without a tree
  json += ",\"outputs\":[";
  for (int i = 0; i < response.outputs_size(); ++i) {
    const auto& output = response.outputs(i);
    const std::string& raw = response.raw_output_contents(i);
    Json tensor = {{"name", output.name()},
                   {"datatype", output.datatype()},
                   {"shape", ListOf(output.shape())}};
    if (binary_output) tensor["parameters"] = {{"binary_data_size", raw.size()}};
    if (i > 0) json += ',';
    json += Text(tensor);
    if (binary_output) continue;
    json.pop_back();
    json += ",\"data\":[";
    if (output.datatype() == "BYTES") {
      AppendTexts(raw, json);
    } else {
      AppendFloats(raw, json);
    }
    json += "]}";
  }
  json += "]}";
  if (!binary_output) return result;
  result.json_bytes = json.size();
  for (const std::string& raw : response.raw_output_contents()) json += raw;
  return result;
}

std::string JsonOf(const inference::ServerMetadataResponse& response) {
  return Text({{"name", response.name()},
               {"version", response.version()},
               {"extensions", ListOf(response.extensions())}});
}

std::string JsonOf(const inference::ModelMetadataResponse& response) {
  return Text({{"name", response.name()},
               {"versions", ListOf(response.versions())},
               {"platform", response.platform()},
               {"inputs", TensorsOf(response.inputs())},
               {"outputs", TensorsOf(response.outputs())}});
}

std::string JsonOf(const inference::RepositoryIndexResponse& response) {
  Json list = Json::array();
  for (const auto& model : response.models()) {
    list.push_back({{"name", model.name()},
                    {"version", model.version()},
                    {"state", model.state()},
                    {"reason", model.reason()}});
  }
  return Text(list);
}

}  // namespace convd
