#include "core/train/gradient_sum.h"

#include <utility>

#include "core/dnn/kernels.h"

namespace convd {

void GradientSum::Begin(int64_t leaves) {
  absl::MutexLock lock(&mutex_);
  idle_.clear();
  for (const AlignedBuffer& buffer : buffers_) idle_.push_back(buffer.data());
  size_t levels = 0;
  for (;; leaves = (leaves + 1) / 2) {
    if (levels == waiting_.size()) waiting_.emplace_back();
    waiting_[levels++].assign(leaves, nullptr);  // in the memory that it has
    if (leaves == 1) break;
  }
  levels_ = levels;
}

float* GradientSum::NewLeaf() {
  absl::MutexLock lock(&mutex_);
  if (idle_.empty()) {
    buffers_.emplace_back(floats_);
    return buffers_.back().data();
  }
  float* leaf = idle_.back();
  idle_.pop_back();
  return leaf;
}

void GradientSum::Drop(float* gradient) {
  absl::MutexLock lock(&mutex_);
  idle_.push_back(gradient);
}

void GradientSum::Add(int64_t leaf, float* gradient) {
  int64_t index = leaf;
  for (size_t level = 0;; ++level) {
    float* sibling = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      std::vector<float*>& row = waiting_[level];
      const int64_t other = index ^ 1;
      if (row.size() == 1) {
        row[0] = gradient;
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
      ActiveKernels().add(floats_, right, left);
      Drop(right);
      gradient = left;
    }
    index /= 2;
  }
}

const float* GradientSum::Result() {
  absl::MutexLock lock(&mutex_);
  return waiting_[levels_ - 1][0];
}

}  // namespace convd
