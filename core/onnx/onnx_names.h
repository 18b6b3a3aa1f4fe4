#ifndef CONVD_CORE_ONNX_ONNX_NAMES_H_
#define CONVD_CORE_ONNX_ONNX_NAMES_H_

namespace convd {

// Names inside model.onnx that do not come from the network. No layer's name holds a slash, and
// none of a layer's own values ("NAME/kernel", "/bias", "/linear", "/output") ends like these.
constexpr char kOnnxInput[] = "images";
constexpr char kOnnxOutput[] = "probabilities";
constexpr char kOnnxScale[] = "preprocessing/scale";
constexpr char kOnnxLabels[] = "labels";  // metadata: a JSON array of strings

}  // namespace convd

#endif  // CONVD_CORE_ONNX_ONNX_NAMES_H_
