#include "core/data/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/data/heap_array.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Of the weights. 8 bits of pixel, these, and sums that may come to a little over 1 fit into 31.
constexpr int kWeightBits = 22;
constexpr int32_t kHalf = int32_t{1} << (kWeightBits - 1);

uint8_t Rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// One side's mapping: each output pixel is the weighted mean of the inputs in its window. The
// arithmetic is written in Pillow's order, so that doubles round as they do there.
class Side {
 public:
  Side(int from, int to)
      : from_(from), scale_(static_cast<double>(from) / to), support_(std::max(scale_, 1.0)) {}

  int Begin(int i) const { return std::max(static_cast<int>(Centre(i) - support_ + 0.5), 0); }
  int End(int i) const { return std::min(static_cast<int>(Centre(i) + support_ + 0.5), from_); }

  // A triangle over the window, not yet divided by its sum.
  double Height(int i, int at) const {
    return std::max(1.0 - std::fabs((at - Centre(i) + 0.5) * (1.0 / support_)), 0.0);
  }
  double Sum(int i) const {
    double sum = 0;
    for (int at = Begin(i), end = End(i); at < end; ++at) sum += Height(i, at);
    return sum;
  }
  int32_t Weight(int i, int at, double sum) const {
    return static_cast<int32_t>(0.5 + Height(i, at) / sum * (1 << kWeightBits));
  }

 private:
  double Centre(int i) const { return (i + 0.5) * scale_; }

  const int from_;
  const double scale_;
  const double support_;
};

// Rows of `from`'s width to rows of `width`.
class RowResizer {
 public:
  absl::Status Prepare(int from, int width, const std::string& name) {
    const Side side(from, width);
    int64_t weights = 0;
    for (int x = 0; x < width; ++x) weights += side.End(x) - side.Begin(x);
    CONVD_ASSIGN_OR_RETURN(windows_, HeapArray<Window>::Allocate(width, name));
    CONVD_ASSIGN_OR_RETURN(weights_, HeapArray<int32_t>::Allocate(weights, name));
    int32_t* weight = weights_.data();
    for (int x = 0; x < width; ++x) {
      const double sum = side.Sum(x);
      windows_[x] = {side.Begin(x), side.End(x) - side.Begin(x)};
      for (int i = 0; i < windows_[x].size; ++i) {
        *weight++ = side.Weight(x, windows_[x].begin + i, sum);
      }
    }
    return absl::OkStatus();
  }

  template <int kChannels>
  void Resize(const uint8_t* row, uint8_t* out) const {
    const int32_t* weight = weights_.data();
    for (const Window& window : windows_.span()) {
      int32_t sums[kChannels];
      std::fill_n(sums, kChannels, kHalf);
      const uint8_t* pixel = row + ptrdiff_t{window.begin} * kChannels;
      for (int i = 0; i < window.size; ++i) {
        for (int c = 0; c < kChannels; ++c) sums[c] += *pixel++ * weight[i];
      }
      for (int c = 0; c < kChannels; ++c) *out++ = Rounded(sums[c]);
      weight += window.size;
    }
  }

 private:
  struct Window {
    int begin;
    int size;
  };
  HeapArray<Window> windows_;
  HeapArray<int32_t> weights_;  // window by window
};

void CopyRow(const PixelView& from, int y, uint8_t* to) {
  const uint8_t* pixel = from.first + y * from.row_step;
  if (from.column_step == from.channels) {
    std::memcpy(to, pixel, size_t{1} * from.width * from.channels);
    return;
  }
  for (int x = 0; x < from.width; ++x, pixel += from.column_step) {
    for (int c = 0; c < from.channels; ++c) *to++ = pixel[c];
  }
}

template <int kChannels>
absl::Status Resize(const PixelView& from, int height, int width, uint8_t* to,
                    const std::string& name) {
  const int64_t row_elements = int64_t{width} * kChannels;
  RowResizer rows;
  CONVD_RETURN_IF_ERROR(rows.Prepare(from.width, width, name));
  CONVD_ASSIGN_OR_RETURN(auto row,
                         HeapArray<uint8_t>::Allocate(int64_t{from.width} * kChannels, name));
  CONVD_ASSIGN_OR_RETURN(auto resized, HeapArray<uint8_t>::Allocate(row_elements, name));
  CONVD_ASSIGN_OR_RETURN(auto heights, HeapArray<double>::Allocate(height, name));
  CONVD_ASSIGN_OR_RETURN(auto sums, HeapArray<int32_t>::Allocate(height * row_elements, name));
  std::fill_n(sums.data(), sums.size(), kHalf);
  const Side side(from.height, height);
  for (int y = 0; y < height; ++y) heights[y] = side.Sum(y);

  // Each input row is resized once, and added to all output rows whose windows it is in. Sums of
  // integers don't depend on their order, so nothing in between has to be kept.
  int first = 0;  // output row that isn't complete
  for (int at = 0; at < from.height; ++at) {
    while (first < height && side.End(first) <= at) ++first;
    CopyRow(from, at, row.data());
    rows.Resize<kChannels>(row.data(), resized.data());
    for (int y = first; y < height && side.Begin(y) <= at; ++y) {
      const int32_t weight = side.Weight(y, at, heights[y]);
      int32_t* const sum = sums.data() + y * row_elements;
      for (int64_t i = 0; i < row_elements; ++i) sum[i] += resized[i] * weight;
    }
  }
  std::transform(sums.data(), sums.data() + sums.size(), to, Rounded);
  return absl::OkStatus();
}

}  // namespace

absl::Status ResizeImage(const PixelView& from, int height, int width, uint8_t* to,
                         const std::string& name) {
  if (from.height == height && from.width == width) {
    for (int y = 0; y < height; ++y) CopyRow(from, y, to + int64_t{y} * width * from.channels);
    return absl::OkStatus();
  }
  return from.channels == 1 ? Resize<1>(from, height, width, to, name)
                            : Resize<3>(from, height, width, to, name);
}

}  // namespace convd
