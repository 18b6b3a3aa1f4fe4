#include "core/data/pixel_statistics.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace convd {
namespace {

// Sums over the images that came in so far. In double those of bytes are exact.
template <typename T>
class Measure {
 public:
  explicit Measure(const ImageSet& shape)
      : height_(shape.height),
        width_(shape.width),
        sum_(static_cast<size_t>(shape.channels)),
        squares_(sum_.size()),
        border_(sum_.size()) {}

  void Add(const T* image) {
    const double pixels = static_cast<double>(height_ * width_);
    std::vector<double>& sum = of_image_;
    sum.assign(sum_.size(), 0);
    ForEach(image, 0, height_ * width_, [&](size_t c, double value) { sum[c] += value; });
    // Squares of differences, not of values: of a float's many digits few would be left. Two sets'
    // are the sum of each one's own and what their means lie apart (Chan, Golub and LeVeque).
    const double before = static_cast<double>(images_);
    for (size_t c = 0; c < sum.size(); ++c) {
      if (images_ > 0) {
        const double apart = (sum[c] - sum_[c] / before) / pixels;
        squares_[c] += apart * apart * pixels * (before / (before + 1));
      }
      sum_[c] += sum[c];
    }
    std::vector<double>& mean = sum;
    for (double& value : mean) value /= pixels;
    ForEach(image, 0, height_ * width_,
            [&](size_t c, double value) { squares_[c] += (value - mean[c]) * (value - mean[c]); });
    AddBorder(image);
    ++images_;
  }

  PixelStatistics Result() const {
    const double images = static_cast<double>(images_);
    const double pixels = images * static_cast<double>(height_ * width_);
    const double border = static_cast<double>(border_pixels_);
    PixelStatistics result;
    for (size_t c = 0; c < sum_.size(); ++c) {
      result.mean.push_back(sum_[c] / pixels);
      result.deviation.push_back(std::sqrt(squares_[c] / pixels));
      result.border_mean.push_back(border_[c] / border);
    }
    return result;
  }

 private:
  // Calls take(channel, value) for `count` pixels from `first` on.
  template <typename Take>
  void ForEach(const T* image, int64_t first, int64_t count, Take take) const {
    const size_t channels = sum_.size();
    const T* value = image + first * static_cast<int64_t>(channels);
    for (int64_t p = 0; p < count; ++p) {
      for (size_t c = 0; c < channels; ++c) take(c, static_cast<double>(*value++));
    }
  }

  void AddBorder(const T* image) {
    const auto add = [&](int64_t first, int64_t count) {
      ForEach(image, first, count, [&](size_t c, double value) { border_[c] += value; });
      border_pixels_ += count;
    };
    for (int64_t row = 0; row < height_; ++row) {
      if (row == 0 || row == height_ - 1 || width_ <= 2) {
        add(row * width_, width_);
      } else {
        add(row * width_, 1);
        add(row * width_ + width_ - 1, 1);
      }
    }
  }

  const int64_t height_;
  const int64_t width_;
  int64_t images_ = 0;
  int64_t border_pixels_ = 0;
  // A channel each.
  std::vector<double> sum_;
  std::vector<double> squares_;
  std::vector<double> border_;
  std::vector<double> of_image_;  // kept for its memory
};

template <typename T>
PixelStatistics MeasureAs(const ImageSet& images) {
  Measure<T> measure(images);
  for (int64_t i = 0; i < images.count; ++i) {
    measure.Add(reinterpret_cast<const T*>(images.image(i)));
  }
  return measure.Result();
}

}  // namespace

PixelStatistics MeasurePixels(const ImageSet& images) {
  return images.type == ElementType::kUint8 ? MeasureAs<uint8_t>(images) : MeasureAs<float>(images);
}

}  // namespace convd
