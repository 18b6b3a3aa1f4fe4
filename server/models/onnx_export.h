#ifndef CONVD_SERVER_MODELS_ONNX_EXPORT_H_
#define CONVD_SERVER_MODELS_ONNX_EXPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "convd/v1/models.pb.h"
#include "server/models/repository.h"

namespace convd {

// The ONNX file of a version in the form that the request names, made anew of its checked weights;
// where it names none, the bytes of a published model.onnx. INVALID_ARGUMENT names `opset` or
// `entry`, before anything is read; else errors as ReadWeights has them. Any thread that may wait.
absl::StatusOr<std::string> ExportOnnx(const v1::ExportOnnxRequest& request,
                                       ModelRepository& models);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_ONNX_EXPORT_H_
