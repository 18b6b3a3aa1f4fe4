#include "server/inference/json_request.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/inference/parameters.h"

namespace convd {
namespace {

using Json = nlohmann::json;
using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;

constexpr size_t kMaxDepth = 8;
// Of all but the pixels: names, sizes, parameters.
constexpr int kMaxValues = 4096;

// An input's "data", which is not kept as JSON values: they would take sixteen bytes each.
struct Numbers {
  std::string floats;  // little-endian
  // The first that is no UINT8.
  int64_t first_wide = -1;

  int64_t count() const { return static_cast<int64_t>(floats.size() / sizeof(float)); }
  void Add(double value, bool whole) {
    const float f = static_cast<float>(value);
    if (first_wide < 0 && !(whole && value >= 0 && value <= 255)) first_wide = count();
    floats.append(reinterpret_cast<const char*>(&f), sizeof(f));
  }
  std::string Bytes() const {
    std::string bytes(count(), '\0');
    for (int64_t i = 0; i < count(); ++i) {
      float f = 0;
      std::memcpy(&f, floats.data() + i * sizeof(f), sizeof(f));
      bytes[i] = static_cast<char>(static_cast<uint8_t>(f));
    }
    return bytes;
  }
};

// Builds a tree of JSON values but for inputs[i].data. What its methods return false for ends the
// reading.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  const absl::Status& status() const { return status_; }
  const Json& root() const { return root_; }
  std::vector<std::optional<Numbers>>& data() { return data_; }

  bool null() override { return Value(Json()); }
  bool boolean(bool value) override { return Value(value); }
  bool string(string_t& value) override { return Value(std::move(value)); }
  bool binary(binary_t&) override { return Fail("body: got binary JSON"); }
  bool number_integer(number_integer_t value) override {
    return InData() ? Number(static_cast<double>(value), true) : Value(value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    return InData() ? Number(static_cast<double>(value), true) : Value(value);
  }
  bool number_float(number_float_t value, const string_t&) override {
    return InData() ? Number(value, false) : Value(value);
  }
  bool start_object(size_t) override { return Container(Json::object()); }
  bool start_array(size_t) override {
    if (!InData()) return Container(Json::array());
    if (stack_.size() + ++data_depth_ > kMaxDepth) return TooDeep();
    in_array_ = true;
    return true;
  }
  bool end_object() override {
    stack_.pop_back();
    return true;
  }
  bool end_array() override {
    if (data_depth_ == 0) {
      stack_.pop_back();
      return true;
    }
    if (--data_depth_ == 0) numbers_ = nullptr;
    return true;
  }
  bool key(string_t& name) override {
    if (stack_.back()->contains(name)) return Fail(absl::StrCat(Shown(name), ": got it twice"));
    key_ = std::move(name);
    if (!IsInput(stack_.back()) || key_ != "data") return true;
    const size_t input = stack_[1]->size() - 1;
    data_.resize(input + 1);
    if (data_[input].has_value()) return Fail("\"data\": got it twice");
    numbers_ = &data_[input].emplace();
    in_array_ = false;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return Fail(absl::StrCat("body: not JSON from byte ", position, " on"));
  }

 private:
  bool InData() const { return numbers_ != nullptr; }
  bool IsInput(const Json* value) const {
    return stack_.size() == 3 && value == stack_[2] && root_.contains("inputs") &&
           stack_[1] == &root_.at("inputs");
  }
  bool Fail(std::string message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(message);
    return false;
  }
  bool TooDeep() {
    return Fail(absl::StrCat("body: got more than ", kMaxDepth, " objects and arrays in another"));
  }
  std::string DataField() const { return absl::StrCat("inputs[", data_.size() - 1, "].data"); }
  bool NoNumber() { return Fail(DataField() + ": want an array of numbers"); }
  bool Number(double value, bool whole) {
    if (!in_array_) return NoNumber();
    if (std::abs(value) > std::numeric_limits<float>::max()) {
      return Fail(absl::StrCat(DataField(), ": got ", value, "; no FP32 is as large"));
    }
    numbers_->Add(value, whole);
    return true;
  }
  Json* Add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *stack_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool Value(Json value) {
    if (InData()) return NoNumber();
    if (++values_ > kMaxValues) {
      return Fail(absl::StrCat("body: got more than ", kMaxValues, " values beside the inputs'"));
    }
    Add(std::move(value));
    return true;
  }
  bool Container(Json value) {
    if (InData()) return NoNumber();
    if (stack_.size() >= kMaxDepth) return TooDeep();
    if (++values_ > kMaxValues) {
      return Fail(absl::StrCat("body: got more than ", kMaxValues, " values beside the inputs'"));
    }
    stack_.push_back(Add(std::move(value)));
    return true;
  }

  absl::Status status_;
  Json root_;
  std::vector<Json*> stack_;  // open objects and arrays, of `root_`
  std::string key_;
  int values_ = 0;
  std::vector<std::optional<Numbers>> data_;  // by input
  Numbers* numbers_ = nullptr;                // that are being read
  size_t data_depth_ = 0;
  bool in_array_ = false;
};

absl::Status Want(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": want ", what));
}

absl::Status CheckKeys(absl::string_view field, const Json& object,
                       std::initializer_list<absl::string_view> known) {
  if (!object.is_object()) return Want(field, "an object");
  for (const auto& [key, value] : object.items()) {
    bool found = false;
    for (const absl::string_view name : known) found = found || name == key;
    if (!found) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": got ", Shown(key), ", which this server doesn't know"));
    }
  }
  return absl::OkStatus();
}

// Left as it is where the object has none.
absl::Status ReadString(absl::string_view field, const Json& object, const char* key,
                        std::string& to) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_string()) return Want(absl::StrCat(field, key), "a string");
  to = found->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadParameters(const std::string& field, const Json& object, Parameters& to) {
  const auto found = object.find("parameters");
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_object()) return Want(field, "an object");
  for (const auto& [name, value] : found->items()) {
    inference::InferParameter& parameter = to[name];
    if (value.is_boolean()) {
      parameter.set_bool_param(value.get<bool>());
    } else if (value.is_string()) {
      parameter.set_string_param(value.get<std::string>());
    } else if (value.is_number_float()) {
      parameter.set_double_param(value.get<double>());
    } else if (value.is_number_unsigned() &&
               value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      parameter.set_uint64_param(value.get<uint64_t>());
    } else if (value.is_number_integer()) {
      parameter.set_int64_param(value.get<int64_t>());
    } else {
      return Want(absl::StrCat(field, "[", Shown(name), "]"), "a boolean, a number or a string");
    }
  }
  return absl::OkStatus();
}

// Takes the parameter out, where it is there.
absl::StatusOr<std::optional<bool>> TakeFlag(const std::string& field, const char* name,
                                             Parameters& parameters) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return std::nullopt;
  if (found->second.parameter_choice_case() != inference::InferParameter::kBoolParam) {
    return Want(absl::StrCat(field, "[\"", name, "\"]"), "true or false");
  }
  const bool flag = found->second.bool_param();
  parameters.erase(found);
  return flag;
}

absl::StatusOr<std::string> RawContents(const std::string& field, const std::string& datatype,
                                        const Numbers& numbers) {
  // Of other types than these the datatype is refused later.
  if (datatype != "UINT8") return numbers.floats;
  if (numbers.first_wide >= 0) {
    return Want(absl::StrCat(field, ".data[", numbers.first_wide, "]"),
                "a whole number of 0 to 255, as of UINT8");
  }
  return numbers.Bytes();
}

// `binary`: what follows the JSON and hasn't been taken yet.
absl::Status ReadInput(const std::string& field, const Json& object,
                       const std::optional<Numbers>& numbers, absl::string_view& binary,
                       inference::ModelInferRequest& request) {
  CONVD_RETURN_IF_ERROR(CheckKeys(field, object, {"name", "shape", "datatype", "parameters"}));
  auto& input = *request.add_inputs();
  CONVD_RETURN_IF_ERROR(ReadString(field + ".", object, "name", *input.mutable_name()));
  CONVD_RETURN_IF_ERROR(ReadString(field + ".", object, "datatype", *input.mutable_datatype()));
  CONVD_RETURN_IF_ERROR(ReadParameters(field + ".parameters", object, *input.mutable_parameters()));
  const auto shape = object.find("shape");
  if (shape == object.end() || !shape->is_array()) return Want(field + ".shape", "an array");
  for (const Json& size : *shape) {
    if (!size.is_number_integer()) return Want(field + ".shape", "whole numbers");
    if (size.is_number_unsigned() &&
        size.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return Want(field + ".shape", "numbers of 64 bits");
    }
    input.add_shape(size.get<int64_t>());
  }
  const auto binary_size = input.parameters().find("binary_data_size");
  if (binary_size == input.parameters().end()) {
    if (!numbers.has_value()) return Want(field + ".data", "the pixels");
    CONVD_ASSIGN_OR_RETURN(*request.add_raw_input_contents(),
                           RawContents(field, input.datatype(), *numbers));
    return absl::OkStatus();
  }
  const std::string size_field = field + ".parameters[\"binary_data_size\"]";
  if (numbers.has_value()) {
    return absl::InvalidArgumentError(size_field + ": got it beside data; want one of the two");
  }
  const int64_t size = binary_size->second.int64_param();
  if (binary_size->second.parameter_choice_case() != inference::InferParameter::kInt64Param ||
      size < 0) {
    return Want(size_field, "a number of bytes");
  }
  if (size > static_cast<int64_t>(binary.size())) {
    return absl::InvalidArgumentError(absl::StrCat(size_field, ": got ", size, "; ", binary.size(),
                                                   " bytes are left of the body"));
  }
  request.add_raw_input_contents(std::string(binary.substr(0, size)));
  binary.remove_prefix(size);
  input.mutable_parameters()->erase("binary_data_size");
  return absl::OkStatus();
}

absl::StatusOr<JsonInferRequest> ReadRequest(Reader& reader, absl::string_view binary) {
  const Json& root = reader.root();
  if (!root.is_object()) return Want("body", "an object");
  CONVD_RETURN_IF_ERROR(CheckKeys(
      "body", root, {"id", "model_name", "model_version", "parameters", "inputs", "outputs"}));
  JsonInferRequest result;
  inference::ModelInferRequest& request = result.request;
  CONVD_RETURN_IF_ERROR(ReadString("", root, "id", *request.mutable_id()));
  CONVD_RETURN_IF_ERROR(ReadString("", root, "model_name", *request.mutable_model_name()));
  CONVD_RETURN_IF_ERROR(ReadString("", root, "model_version", *request.mutable_model_version()));
  CONVD_RETURN_IF_ERROR(ReadParameters("parameters", root, *request.mutable_parameters()));
  CONVD_ASSIGN_OR_RETURN(
      const std::optional<bool> all_binary,
      TakeFlag("parameters", "binary_data_output", *request.mutable_parameters()));
  result.binary_output = all_binary.value_or(false);

  const auto inputs = root.find("inputs");
  if (inputs == root.end() || !inputs->is_array()) return Want("inputs", "an array");
  reader.data().resize(inputs->size());
  for (size_t i = 0; i < inputs->size(); ++i) {
    CONVD_RETURN_IF_ERROR(ReadInput(absl::StrCat("inputs[", i, "]"), (*inputs)[i], reader.data()[i],
                                    binary, request));
    reader.data()[i].reset();  // no pixels twice
  }
  if (!binary.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("body: got ", binary.size(), " bytes after the last input's"));
  }

  const auto outputs = root.find("outputs");
  if (outputs == root.end()) return result;
  if (!outputs->is_array()) return Want("outputs", "an array");
  for (size_t i = 0; i < outputs->size(); ++i) {
    const std::string field = absl::StrCat("outputs[", i, "]");
    const Json& object = (*outputs)[i];
    CONVD_RETURN_IF_ERROR(CheckKeys(field, object, {"name", "parameters"}));
    auto& output = *request.add_outputs();
    CONVD_RETURN_IF_ERROR(ReadString(field + ".", object, "name", *output.mutable_name()));
    CONVD_RETURN_IF_ERROR(
        ReadParameters(field + ".parameters", object, *output.mutable_parameters()));
    CONVD_ASSIGN_OR_RETURN(
        const std::optional<bool> binary_data,
        TakeFlag(field + ".parameters", "binary_data", *output.mutable_parameters()));
    if (binary_data.has_value()) result.binary_output = *binary_data;
  }
  return result;
}

}  // namespace

absl::StatusOr<JsonInferRequest> ReadJsonInferRequest(absl::string_view body,
                                                      std::optional<size_t> json_bytes) {
  const size_t json = json_bytes.value_or(body.size());
  if (json > body.size()) {
    return absl::InvalidArgumentError(absl::StrCat("Inference-Header-Content-Length: got ", json,
                                                   "; the body has ", body.size(), " bytes"));
  }
  if (json == 0 && json_bytes.has_value()) {
    return Want("Inference-Header-Content-Length",
                "the size of a JSON header, which has to be there");
  }
  Reader reader;
  if (!Json::sax_parse(body.begin(), body.begin() + json, &reader) && reader.status().ok()) {
    return Want("body", "JSON");
  }
  CONVD_RETURN_IF_ERROR(reader.status());
  return ReadRequest(reader, body.substr(json));
}

}  // namespace convd
