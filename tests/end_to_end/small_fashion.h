#ifndef CONVD_TESTS_END_TO_END_SMALL_FASHION_H_
#define CONVD_TESTS_END_TO_END_SMALL_FASHION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "convd/v1/images.pb.h"
#include "convd/v1/model.pb.h"

namespace convd {

// 28 x 28 grey images with labels 0 to 9.
struct LabelledPixels {
  std::string pixels;  // count * 784 bytes
  std::string labels;  // count bytes

  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  // Images [begin, begin + n) as a request holds them.
  v1::Images Raw(int64_t begin, int64_t n) const;
};

// The first images of Debian's Fashion-MNIST, read here without the project's own readers.
struct SmallFashion {
  LabelledPixels train;
  LabelledPixels test;
};

// Fails the test, and returns none, where the package dataset-fashion-mnist isn't installed.
SmallFashion ReadSmallFashion(int64_t train_images = 2000, int64_t test_images = 500);

// IDX files (http://yann.lecun.com/exdb/mnist) as bytes.
std::string IdxImages(const LabelledPixels& data);
std::string IdxLabels(const LabelledPixels& data);

// Writes the four files under their usual names.
void WriteIdxFiles(const SmallFashion& data, const std::string& folder);
void WriteFile(const std::string& path, const std::string& data);
std::string ReadFile(const std::string& path);

// keras-mnist on dataset "fashion" as the tests train it: batch 100, seed 0.
v1::TrainRequest SmallTraining(const std::string& model, int64_t epochs);

}  // namespace convd

#endif  // CONVD_TESTS_END_TO_END_SMALL_FASHION_H_
