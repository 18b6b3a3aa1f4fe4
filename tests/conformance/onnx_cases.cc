#include "tests/conformance/onnx_cases.h"

#include <zlib.h>

#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/nn/network_text.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "tests/core/nn/random_parameters.h"

namespace convd {
namespace {

constexpr int kSide = 28;

absl::StatusOr<ImageSet> ImagesFor(const Shape& shape, int64_t count) {
  CONVD_ASSIGN_OR_RETURN(
      std::vector<unsigned char> grey,
      FashionMnist("t10k-images-idx3-ubyte.gz", /*header=*/16, count * kSide * kSide));
  const int top = (shape.height - kSide) / 2, left = (shape.width - kSide) / 2;
  auto pixels = std::make_shared<std::vector<unsigned char>>(count * shape.elements());
  for (int64_t n = 0; n < count; ++n) {
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) {
        for (int c = 0; c < shape.channels; ++c) {
          const int64_t at =
              ((n * shape.height + top + y) * shape.width + left + x) * shape.channels + c;
          (*pixels)[at] = grey[((n + c) % count * kSide + y) * kSide + x];
        }
      }
    }
  }
  ImageSet images;
  images.count = count;
  images.height = shape.height;
  images.width = shape.width;
  images.channels = shape.channels;
  images.pixels = pixels->data();
  images.owner = pixels;
  return images;
}

}  // namespace

absl::StatusOr<std::vector<unsigned char>> FashionMnist(const std::string& file, int64_t header,
                                                        int64_t count) {
  const std::string path = "/usr/share/datasets/fashion-mnist/" + file;
  gzFile opened = gzopen(path.c_str(), "rb");
  if (opened == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(path, ": cannot be opened; is Debian's dataset-fashion-mnist installed?"));
  }
  std::vector<unsigned char> bytes(count);
  const bool read = gzseek(opened, header, SEEK_SET) == header &&
                    gzread(opened, bytes.data(), bytes.size()) == static_cast<int>(bytes.size());
  gzclose(opened);
  if (!read) return absl::DataLossError(absl::StrCat(path, ": is too short"));
  return bytes;
}

absl::StatusOr<OnnxCase> LoadOnnxCase(const std::string& name, int64_t count) {
  const std::string path = absl::StrCat(CONVD_SOURCE_DIR, "/docs/networks/", name, ".textproto");
  std::ifstream file(path);
  if (!file.good()) return absl::NotFoundError(path);
  std::stringstream text;
  text << file.rdbuf();
  CONVD_ASSIGN_OR_RETURN(v1::Network network, ParseNetwork(text.str(), path));
  CONVD_ASSIGN_OR_RETURN(Graph graph, Graph::Create(network));
  OnnxCase result;
  result.graph = std::make_shared<const Graph>(std::move(graph));
  result.parameters = RandomParameters(*result.graph, 7);
  CONVD_ASSIGN_OR_RETURN(result.model, WriteOnnx(*result.graph, result.parameters, {}));
  CONVD_ASSIGN_OR_RETURN(result.images, ImagesFor(result.graph->input(), count));
  return result;
}

}  // namespace convd
