#include "server/models/onnx_export.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/nn/graph.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::StatusOr<OnnxOptions> Options(const v1::ExportOnnxRequest& request) {
  OnnxOptions options;
  if (request.opset() != 0) {
    CONVD_RETURN_IF_ERROR(CheckOpset(request.opset()));
    options.opset = request.opset();
  }
  switch (request.entry()) {
    case v1::ONNX_ENTRY_UNSPECIFIED:
    case v1::ONNX_ENTRY_UINT8_NHWC:
      return options;
    case v1::ONNX_ENTRY_UINT8_NCHW:
      options.entry = OnnxEntry::kUint8Nchw;
      return options;
    case v1::ONNX_ENTRY_FLOAT32_NHWC:
      options.entry = OnnxEntry::kFloat32Nhwc;
      return options;
    case v1::ONNX_ENTRY_FLOAT32_NCHW:
      options.entry = OnnxEntry::kFloat32Nchw;
      return options;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "entry: got ", static_cast<int>(request.entry()), "; want ONNX_ENTRY_UINT8_NHWC (",
          static_cast<int>(v1::ONNX_ENTRY_UINT8_NHWC), "), ONNX_ENTRY_UINT8_NCHW (",
          static_cast<int>(v1::ONNX_ENTRY_UINT8_NCHW), "), ONNX_ENTRY_FLOAT32_NHWC (",
          static_cast<int>(v1::ONNX_ENTRY_FLOAT32_NHWC), ") or ONNX_ENTRY_FLOAT32_NCHW (",
          static_cast<int>(v1::ONNX_ENTRY_FLOAT32_NCHW), ")"));
  }
}

}  // namespace

absl::StatusOr<std::string> ExportOnnx(const v1::ExportOnnxRequest& request,
                                       ModelRepository& models) {
  CONVD_ASSIGN_OR_RETURN(const OnnxOptions options, Options(request));
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, models.Get(request.model()));
  // By its number, since a label may move between the two.
  const v1::ModelCard& card = model.card();
  CONVD_ASSIGN_OR_RETURN(const std::vector<float> parameters, models.ReadWeights(card.model()));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(card.network()));
  return WriteOnnx(graph, parameters,
                   std::vector<std::string>(card.labels().begin(), card.labels().end()), options);
}

}  // namespace convd
