#ifndef CONVD_CORE_DATA_HEAP_ARRAY_H_
#define CONVD_CORE_DATA_HEAP_ARRAY_H_

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace convd {

// An array whose size comes from data that isn't trusted: too little memory is an error to return,
// not an exception, and elements are left unset. 16-byte aligned. One thread at a time.
template <typename T>
class HeapArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HeapArray() = default;
  HeapArray(HeapArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  HeapArray& operator=(HeapArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HeapArray() { std::free(data_); }

  // RESOURCE_EXHAUSTED names `what` the memory is for. REQUIRES: 0 <= size.
  static absl::StatusOr<HeapArray> Allocate(int64_t size, const std::string& what) {
    HeapArray array;
    if (absl::Status status = array.Resize(size, what); !status.ok()) return status;
    return array;
  }

  // Keeps the first elements; unchanged on an error.
  absl::Status Resize(int64_t size, const std::string& what) {
    // gcc 14 reckons with a negative size otherwise, and warns.
    if (size >= 0 &&
        size <= std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(T))) {
      // realloc may return null for 0 bytes, and that would be no error.
      void* data = std::realloc(data_, size == 0 ? 1 : static_cast<size_t>(size) * sizeof(T));
      if (data != nullptr) {
        data_ = static_cast<T*>(data);
        size_ = size;
        return absl::OkStatus();
      }
    }
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": no memory for ", size, " elements of ", sizeof(T), " bytes"));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  absl::Span<const T> span() const { return {data_, static_cast<size_t>(size_)}; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_HEAP_ARRAY_H_
