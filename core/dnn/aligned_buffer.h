#ifndef CONVD_CORE_DNN_ALIGNED_BUFFER_H_
#define CONVD_CORE_DNN_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace convd {

// Zeroed floats on a cache line's border. Owns them; movable. Allocated when a plan is built, never
// in a step.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t floats)
      : size_(floats), data_(static_cast<float*>(std::aligned_alloc(64, RoundedBytes(floats)))) {
    if (data_ == nullptr) throw std::bad_alloc();  // as new would; caught where plans are built
    std::memset(data_.get(), 0, RoundedBytes(floats));
  }

  float* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  static size_t RoundedBytes(int64_t floats) {
    return (static_cast<size_t>(floats) * 4 + 127) & ~size_t{63};
  }

  int64_t size_ = 0;
  std::unique_ptr<float, Free> data_;
};

}  // namespace convd

#endif  // CONVD_CORE_DNN_ALIGNED_BUFFER_H_
