#include "client/convctl/oip_request.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/convctl/exit_code.h"

namespace convd {

absl::StatusOr<OipInput> OipInputOf(const inference::ModelMetadataResponse& metadata) {
  const auto wrong = [&](const std::string& what) {
    return absl::UnimplementedError(
        absl::StrCat("the model's metadata: ", what,
                     "; want one input of UINT8 or FP32 and the shape [-1, up to 3 dimensions]"));
  };
  if (metadata.inputs_size() != 1) return wrong(absl::StrCat(metadata.inputs_size(), " inputs"));
  const auto& tensor = metadata.inputs(0);
  OipInput input;
  input.name = tensor.name();
  input.is_float = tensor.datatype() == "FP32";
  input.rank = tensor.shape_size() - 1;
  if (!input.is_float && tensor.datatype() != "UINT8") {
    return wrong(absl::StrCat("the datatype ", tensor.datatype().substr(0, 100)));
  }
  if (input.rank < 1 || input.rank > 3)
    return wrong(absl::StrCat(tensor.shape_size(), " dimensions"));
  // A server's word: each is bounded, so that their product can't overflow.
  const int64_t most = int64_t{1} << 20;
  for (int i = 0; i < input.rank; ++i) {
    input.shape[i] = tensor.shape(i + 1);
    if (input.shape[i] < 1 || input.shape[i] > most) {
      return wrong(absl::StrCat("the shape [", absl::StrJoin(tensor.shape(), ", "), "]"));
    }
  }
  return input;
}

absl::StatusOr<inference::ModelInferRequest> OipRequest(const v1::ModelVersion& model,
                                                        const OipInput& input,
                                                        const v1::Images& images) {
  if (!images.has_uint8() && !images.has_float32()) {
    return UsageError(
        "--from: PNG and JPEG files go with --protocol convd; the others take pixels");
  }
  const v1::RawImages& raw = images.has_uint8() ? images.uint8() : images.float32();
  const int64_t elements = int64_t{raw.height()} * raw.width() * raw.channels();
  if (elements != input.elements()) {
    return UsageError(absl::StrCat(
        "images of ", raw.height(), "x", raw.width(), "x", raw.channels(), ": the model takes [N, ",
        absl::StrJoin(input.shape.begin(), input.shape.begin() + input.rank, ", "), "]"));
  }
  if (images.has_float32() && !input.is_float) {
    return UsageError("--from: these pixels are float32; the model takes UINT8");
  }
  inference::ModelInferRequest request;
  request.set_model_name(model.name());
  request.set_model_version(OipVersion(model));
  auto& tensor = *request.add_inputs();
  tensor.set_name(input.name);
  tensor.set_datatype(input.is_float ? "FP32" : "UINT8");
  tensor.add_shape(raw.count());
  for (int i = 0; i < input.rank; ++i) tensor.add_shape(input.shape[i]);
  std::string& bytes = *request.add_raw_input_contents();
  if (input.is_float && images.has_uint8()) {
    bytes.reserve(raw.data().size() * sizeof(float));
    for (const char pixel : raw.data()) {
      const float value = static_cast<unsigned char>(pixel);
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  } else {
    bytes = raw.data();
  }
  return request;
}

std::string OipVersion(const v1::ModelVersion& model) {
  return model.version() > 0 ? absl::StrCat(model.version()) : model.label();
}

}  // namespace convd
