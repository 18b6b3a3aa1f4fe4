#include "core/train/gradient_sum.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/dnn/kernels.h"

namespace convd {
namespace {

constexpr size_t kMostRoots = 4;
// Of 3 MiB that are read or written: some tenths of a millisecond from memory.
constexpr int64_t kPiece = 256 << 10;

}  // namespace

void GradientSum::Begin(int64_t leaves) {
  absl::MutexLock lock(&mutex_);
  idle_.clear();
  for (const AlignedBuffer& buffer : buffers_) idle_.push_back(buffer.data());
  last_level_ = 0;
  for (size_t level = 0;; ++level, leaves = (leaves + 1) / 2) {
    if (level == waiting_.size()) waiting_.emplace_back();
    waiting_[level].assign(leaves, nullptr);  // in the memory that it has
    last_level_ = level;
    if (waiting_[level].size() <= kMostRoots) break;
  }
}

float* GradientSum::NewLeaf(absl::FunctionRef<void()> cut) {
  {
    absl::MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      float* const leaf = idle_.back();
      idle_.pop_back();
      return leaf;
    }
  }
  AlignedBuffer buffer(floats_, cut);
  absl::MutexLock lock(&mutex_);
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data();
}

void GradientSum::Drop(float* gradient) {
  absl::MutexLock lock(&mutex_);
  idle_.push_back(gradient);
}

void GradientSum::Add(int64_t leaf, float* gradient, absl::FunctionRef<void()> cut) {
  int64_t index = leaf;
  for (size_t level = 0;; ++level) {
    float* sibling = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      std::vector<float*>& row = waiting_[level];
      const int64_t other = index ^ 1;
      if (level == last_level_) {
        row[index] = gradient;
        return;
      }
      if (other < static_cast<int64_t>(row.size())) {
        sibling = std::exchange(row[other], nullptr);
        if (sibling == nullptr) {  // it will find this one
          row[index] = gradient;
          return;
        }
      }
    }
    if (sibling != nullptr) {
      float* left = index % 2 == 0 ? gradient : sibling;
      float* right = index % 2 == 0 ? sibling : gradient;
      for (int64_t begin = 0; begin < floats_; begin += kPiece) {
        if (begin > 0) cut();
        ActiveKernels().add(std::min(kPiece, floats_ - begin), right + begin, left + begin);
      }
      Drop(right);
      gradient = left;
    }
    index /= 2;
  }
}

const float* GradientSum::Sum(int64_t begin, int64_t size) {
  std::array<float*, kMostRoots> roots{};
  size_t count = 0;
  {
    absl::MutexLock lock(&mutex_);
    for (float* root : waiting_[last_level_]) roots[count++] = root + begin;
  }
  for (; count > 1; count = (count + 1) / 2) {
    for (size_t i = 0; i + 1 < count; i += 2) {
      ActiveKernels().add(size, roots[i + 1], roots[i]);
      roots[i / 2] = roots[i];
    }
    if (count % 2 == 1) roots[count / 2] = roots[count - 1];
  }
  return roots[0];
}

}  // namespace convd
