#include "server/inference/infer_request.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/names/names.h"
#include "core/onnx/onnx_names.h"
#include "core/status/status_macros.h"
#include "server/inference/parameters.h"

namespace convd {
namespace {

using Input = inference::ModelInferRequest::InferInputTensor;
using Output = inference::ModelInferRequest::InferRequestedOutputTensor;
using Contents = inference::InferTensorContents;
using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;

// Of a list that somebody else made, so much at most is shown.
constexpr int kMaxShownSizes = 8;

template <typename Sizes>
std::string ShownShape(const Sizes& sizes) {
  const auto end = sizes.begin() + std::min<int>(sizes.size(), kMaxShownSizes);
  std::string shown = absl::StrCat("[", absl::StrJoin(sizes.begin(), end, ", "));
  if (end != sizes.end()) absl::StrAppend(&shown, ", ... (", sizes.size(), " sizes)");
  return shown + "]";
}

// How MLServer's clients say that a tensor is what it says it is.
constexpr char kContentType[] = "content_type";
constexpr char kPlainTensor[] = "np";

absl::Status CheckInputParameters(const Parameters& parameters) {
  CONVD_RETURN_IF_ERROR(CheckParameters("inputs[0].parameters", parameters, kContentType));
  const auto found = parameters.find(kContentType);
  if (found == parameters.end() || found->second.string_param() == kPlainTensor) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("inputs[0].parameters[\"", kContentType,
                                                 "\"]: got ", Shown(found->second.string_param()),
                                                 "; want \"", kPlainTensor, "\" or none"));
}

absl::Status CheckNameAndShape(const Input& input, Shape shape, int64_t max_images) {
  if (input.name() != kOnnxInput) {
    return absl::InvalidArgumentError(absl::StrCat("inputs[0].name: got ", Shown(input.name()),
                                                   "; this model takes \"", kOnnxInput, "\""));
  }
  const int64_t want[] = {shape.height, shape.width, shape.channels};
  if (input.shape_size() != 4 || !std::equal(want, want + 3, input.shape().begin() + 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("inputs[0].shape: got ", ShownShape(input.shape()), "; this model takes [N, ",
                     absl::StrJoin(want, ", "), "] (images, height, width, channels)"));
  }
  if (input.shape(0) < 1 || input.shape(0) > max_images) {
    return absl::InvalidArgumentError(absl::StrCat("inputs[0].shape[0]: got ", input.shape(0),
                                                   " images; want 1 to ", max_images,
                                                   " in one request"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ElementType> ReadType(const std::string& datatype) {
  if (datatype == "UINT8") return ElementType::kUint8;
  if (datatype == "FP32") return ElementType::kFloat32;
  return absl::InvalidArgumentError(absl::StrCat("inputs[0].datatype: got ", Shown(datatype),
                                                 "; this model takes UINT8 or FP32"));
}

struct ContentsSize {
  const char* field;
  int size;
};

// What the contents hold, but for one field.
absl::Status CheckNoOthers(const Contents& contents, const std::string& datatype,
                           absl::string_view used) {
  for (const ContentsSize& other : {ContentsSize{"bool_contents", contents.bool_contents_size()},
                                    {"int_contents", contents.int_contents_size()},
                                    {"int64_contents", contents.int64_contents_size()},
                                    {"uint_contents", contents.uint_contents_size()},
                                    {"uint64_contents", contents.uint64_contents_size()},
                                    {"fp32_contents", contents.fp32_contents_size()},
                                    {"fp64_contents", contents.fp64_contents_size()},
                                    {"bytes_contents", contents.bytes_contents_size()}}) {
    if (other.size == 0 || other.field == used) continue;
    return absl::InvalidArgumentError(absl::StrCat("inputs[0].contents.", other.field, ": got ",
                                                   other.size, " values; ", datatype,
                                                   " travels in ", used));
  }
  return absl::OkStatus();
}

absl::Status WrongSize(absl::string_view field, int64_t got, absl::string_view unit, int64_t want,
                       const Input& input) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", got, " ", unit, "; ",
                                                 input.datatype(), " ", ShownShape(input.shape()),
                                                 " takes ", want));
}

// Of a list's memory, its room to grow included.
template <typename List>
int64_t Held(const List& list) {
  return static_cast<int64_t>(list.SpaceUsedExcludingSelfLong());
}

absl::Status ReadContents(const Input& input, int64_t elements, InferTask& task) {
  const Contents& contents = input.contents();
  if (task.type == ElementType::kFloat32) {
    CONVD_RETURN_IF_ERROR(CheckNoOthers(contents, input.datatype(), "fp32_contents"));
    if (contents.fp32_contents_size() != elements) {
      return WrongSize("inputs[0].contents.fp32_contents", contents.fp32_contents_size(), "values",
                       elements, input);
    }
    task.bytes = absl::string_view(reinterpret_cast<const char*>(contents.fp32_contents().data()),
                                   static_cast<size_t>(elements) * sizeof(float));
    task.held_bytes = Held(contents.fp32_contents());
    return absl::OkStatus();
  }
  CONVD_RETURN_IF_ERROR(CheckNoOthers(contents, input.datatype(), "uint_contents"));
  if (contents.uint_contents_size() != elements) {
    return WrongSize("inputs[0].contents.uint_contents", contents.uint_contents_size(), "values",
                     elements, input);
  }
  auto bytes = std::make_shared<std::vector<uint8_t>>(elements);
  for (int i = 0; i < contents.uint_contents_size(); ++i) {
    const uint32_t value = contents.uint_contents(i);
    if (value > std::numeric_limits<uint8_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat("inputs[0].contents.uint_contents[", i,
                                                     "]: got ", value, "; a UINT8 is 0 to 255"));
    }
    (*bytes)[i] = static_cast<uint8_t>(value);
  }
  task.bytes = absl::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  task.held_bytes = elements + Held(contents.uint_contents());
  task.owner = std::move(bytes);
  return absl::OkStatus();
}

absl::Status ReadInputs(const inference::ModelInferRequest& request, Shape shape,
                        int64_t max_images, InferTask& task) {
  if (request.inputs_size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("inputs: got ", request.inputs_size(),
                                                   " tensors; this model takes one, \"", kOnnxInput,
                                                   "\""));
  }
  const Input& input = request.inputs(0);
  CONVD_RETURN_IF_ERROR(CheckInputParameters(input.parameters()));
  CONVD_ASSIGN_OR_RETURN(task.type, ReadType(input.datatype()));
  CONVD_RETURN_IF_ERROR(CheckNameAndShape(input, shape, max_images));
  task.count = input.shape(0);
  // The shape is the model's, so the products are bounded.
  const int64_t elements = task.count * shape.elements();
  task.raw = request.raw_input_contents_size() > 0;
  if (!task.raw) return ReadContents(input, elements, task);

  if (input.has_contents()) {
    return absl::InvalidArgumentError(
        "inputs[0].contents: got them beside raw_input_contents; want one of the two");
  }
  if (request.raw_input_contents_size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("raw_input_contents: got ",
                                                   request.raw_input_contents_size(),
                                                   " tensors; want one for each of inputs, 1"));
  }
  task.bytes = request.raw_input_contents(0);
  task.held_bytes = static_cast<int64_t>(task.bytes.size());
  const int64_t bytes = elements * (task.type == ElementType::kUint8 ? 1 : sizeof(float));
  if (static_cast<int64_t>(task.bytes.size()) != bytes) {
    return WrongSize("raw_input_contents[0]", task.bytes.size(), "bytes", bytes, input);
  }
  return absl::OkStatus();
}

constexpr char kClassification[] = "classification";

absl::Status ReadOutputs(const inference::ModelInferRequest& request, int classes,
                         InferTask& task) {
  if (request.outputs_size() == 0) return absl::OkStatus();
  for (int i = 0; i < request.outputs_size(); ++i) {
    if (request.outputs(i).name() == kOnnxOutput) continue;
    return absl::InvalidArgumentError(absl::StrCat("outputs[", i, "].name: got ",
                                                   Shown(request.outputs(i).name()),
                                                   "; this model has \"", kOnnxOutput, "\""));
  }
  if (request.outputs_size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("outputs: got \"", kOnnxOutput, "\" ",
                                                   request.outputs_size(), " times; want it once"));
  }
  const Output& output = request.outputs(0);
  CONVD_RETURN_IF_ERROR(
      CheckParameters("outputs[0].parameters", output.parameters(), kClassification));
  const auto found = output.parameters().find(kClassification);
  if (found == output.parameters().end()) return absl::OkStatus();
  const std::string field = absl::StrCat("outputs[0].parameters[\"", kClassification, "\"]");
  if (found->second.parameter_choice_case() != inference::InferParameter::kInt64Param) {
    return absl::InvalidArgumentError(field + ": want int64_param, a number of classes");
  }
  const int64_t wanted = found->second.int64_param();
  if (wanted < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": got ", wanted, "; want a number of classes from 1 on"));
  }
  // Who asks for more gets all there are, as of Triton.
  task.classification = static_cast<int>(std::min<int64_t>(wanted, classes));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ModelVersion> ReadNamedVersion(std::string_view name_field,
                                                  std::string_view name,
                                                  std::string_view version_field,
                                                  std::string_view version) {
  CONVD_RETURN_IF_ERROR(CheckName(name_field, name));
  v1::ModelVersion id;
  id.set_name(std::string(name));
  if (version.empty()) return id;
  CONVD_RETURN_IF_ERROR(CheckName(version_field, version));
  if (!std::all_of(version.begin(), version.end(), absl::ascii_isdigit)) {
    id.set_label(std::string(version));
    return id;
  }
  int64_t number = 0;
  // A number has one form only, so that what a client sent is what the answer says.
  if (version[0] == '0' || !absl::SimpleAtoi(std::string(version), &number)) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(version_field), ": got \"", std::string(version),
                     "\"; want a version's number from 1 on, a label, or nothing for the version "
                     "that answers for the name"));
  }
  id.set_version(number);
  return id;
}

absl::StatusOr<InferTask> ReadInferRequest(const inference::ModelInferRequest& request, Shape shape,
                                           int classes, int64_t max_images) {
  InferTask task;
  CONVD_RETURN_IF_ERROR(CheckParameters("parameters", request.parameters()));
  CONVD_RETURN_IF_ERROR(ReadOutputs(request, classes, task));
  CONVD_RETURN_IF_ERROR(ReadInputs(request, shape, max_images, task));
  return task;
}

}  // namespace convd
