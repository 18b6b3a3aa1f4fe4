#include "tests/end_to_end/small_fashion.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <iterator>

namespace convd {
namespace {

constexpr int64_t kPixels = 28 * 28;

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

// `count` bytes behind the first `skip` of a gzip file.
std::string ReadGzip(const std::string& path, int64_t skip, int64_t count) {
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    ADD_FAILURE() << path << " isn't there; apt-get install dataset-fashion-mnist";
    return "";
  }
  std::string data(count, '\0');
  const bool read = gzseek(file, skip, SEEK_SET) == skip &&
                    gzread(file, data.data(), static_cast<unsigned>(count)) == count;
  gzclose(file);
  if (!read) ADD_FAILURE() << path << " is too short";
  return data;
}

LabelledPixels ReadFirst(const std::string& stem, int64_t count) {
  const std::string prefix = "/usr/share/datasets/fashion-mnist/" + stem;
  return {ReadGzip(prefix + "-images-idx3-ubyte.gz", 16, count * kPixels),
          ReadGzip(prefix + "-labels-idx1-ubyte.gz", 8, count)};
}

}  // namespace

v1::Images LabelledPixels::Raw(int64_t begin, int64_t n) const {
  v1::Images images;
  v1::RawImages& raw = *images.mutable_uint8();
  raw.set_count(n);
  raw.set_height(28);
  raw.set_width(28);
  raw.set_channels(1);
  raw.set_data(pixels.substr(begin * kPixels, n * kPixels));
  return images;
}

SmallFashion ReadSmallFashion(int64_t train_images, int64_t test_images) {
  return {ReadFirst("train", train_images), ReadFirst("t10k", test_images)};
}

std::string IdxImages(const LabelledPixels& data) {
  return BigEndian(0x803) + BigEndian(static_cast<uint32_t>(data.count())) + BigEndian(28) +
         BigEndian(28) + data.pixels;
}

std::string IdxLabels(const LabelledPixels& data) {
  return BigEndian(0x801) + BigEndian(static_cast<uint32_t>(data.count())) + data.labels;
}

void WriteIdxFiles(const SmallFashion& data, const std::string& folder) {
  WriteFile(folder + "/train-images-idx3-ubyte", IdxImages(data.train));
  WriteFile(folder + "/train-labels-idx1-ubyte", IdxLabels(data.train));
  WriteFile(folder + "/t10k-images-idx3-ubyte", IdxImages(data.test));
  WriteFile(folder + "/t10k-labels-idx1-ubyte", IdxLabels(data.test));
}

void WriteFile(const std::string& path, const std::string& data) {
  std::ofstream file(path, std::ios::binary);
  file << data;
  file.close();
  if (!file) ADD_FAILURE() << "can't write " << path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) ADD_FAILURE() << "can't read " << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

v1::TrainRequest SmallTraining(const std::string& model, int64_t epochs) {
  v1::TrainRequest request;
  request.set_model(model);
  request.set_preset("keras-mnist");
  request.mutable_dataset()->set_name("fashion");
  request.set_batch_size(100);
  request.set_epochs(epochs);
  return request;
}

}  // namespace convd
