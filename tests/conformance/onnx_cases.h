#ifndef CONVD_TESTS_CONFORMANCE_ONNX_CASES_H_
#define CONVD_TESTS_CONFORMANCE_ONNX_CASES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/nn/graph.h"

namespace convd {

// A network with weights, its model.onnx, and images for it.
struct OnnxCase {
  std::shared_ptr<const Graph> graph;
  std::vector<float> parameters;
  std::string model;
  ImageSet images;
};

// `count` bytes after the header of a file of Debian's dataset-fashion-mnist, without the reader
// that is tested elsewhere.
absl::StatusOr<std::vector<unsigned char>> FashionMnist(const std::string& file, int64_t header,
                                                        int64_t count);

// docs/networks/NAME.textproto with random weights, and the first `count` of Fashion-MNIST's test
// images from Debian's dataset-fashion-mnist. A network of larger images gets them in the middle of
// black ones; one of more channels gets the images that follow as its further channels.
absl::StatusOr<OnnxCase> LoadOnnxCase(const std::string& name, int64_t count);

}  // namespace convd

#endif  // CONVD_TESTS_CONFORMANCE_ONNX_CASES_H_
