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
  explicit AlignedBuffer(int64_t floats) : AlignedBuffer(floats, [] {}) {}
  // Calls `cut` between pieces: memory that nobody has touched yet takes some 0.5 ms a megabyte.
  template <typename F>
  AlignedBuffer(int64_t floats, F cut)
      : size_(floats), data_(static_cast<float*>(std::aligned_alloc(64, RoundedBytes(floats)))) {
    if (data_ == nullptr) throw std::bad_alloc();  // as new would; caught where plans are built
    const size_t bytes = RoundedBytes(floats);
    for (size_t begin = 0; begin < bytes; begin += kPiece) {
      if (begin > 0) cut();
      std::memset(reinterpret_cast<char*>(data_.get()) + begin, 0,
                  bytes - begin < kPiece ? bytes - begin : kPiece);
    }
  }

  float* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  static constexpr size_t kPiece = 1 << 20;
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
