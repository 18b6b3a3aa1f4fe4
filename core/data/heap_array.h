#ifndef CONVD_CORE_DATA_HEAP_ARRAY_H_
#define CONVD_CORE_DATA_HEAP_ARRAY_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/data/array_memory.h"

namespace convd {

// An array whose size comes from data that isn't trusted: too little memory is an error to return,
// not an exception, and elements are left unset. On the heap, or where it is given an ArrayMemory
// and has more than kHeapBytes, there. 16-byte aligned. One thread at a time.
template <typename T>
class HeapArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HeapArray() = default;
  // `memory`, where it isn't null, outlives the last Resize.
  explicit HeapArray(ArrayMemory* memory) : memory_(memory) {}
  HeapArray(HeapArray&& other) noexcept
      : memory_(other.memory_),
        elsewhere_(std::move(other.elsewhere_)),
        room_(std::exchange(other.room_, 0)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  HeapArray& operator=(HeapArray&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(elsewhere_, other.elsewhere_);
    std::swap(room_, other.room_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HeapArray() {
    if (elsewhere_ == nullptr) std::free(data_);
  }

  // RESOURCE_EXHAUSTED names `what` the memory is for. REQUIRES: 0 <= size.
  static absl::StatusOr<HeapArray> Allocate(int64_t size, const std::string& what,
                                            ArrayMemory* memory = nullptr) {
    HeapArray array(memory);
    if (absl::Status status = array.Resize(size, what); !status.ok()) return status;
    return array;
  }

  // Keeps the first elements; unchanged on an error.
  absl::Status Resize(int64_t size, const std::string& what) {
    // gcc 14 reckons with a negative size otherwise, and warns.
    if (size >= 0 &&
        size <= std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(T))) {
      const int64_t bytes = size * static_cast<int64_t>(sizeof(T));
      if (elsewhere_ != nullptr && bytes <= room_) {
        size_ = size;
        return absl::OkStatus();
      }
      if (memory_ != nullptr && bytes > ArrayMemory::kHeapBytes) {
        return MoveElsewhere(size, bytes, what);
      }
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
  absl::Status MoveElsewhere(int64_t size, int64_t bytes, const std::string& what) {
    absl::StatusOr<std::unique_ptr<ScratchMemory>> place = memory_->Allocate(bytes);
    if (!place.ok()) {
      return absl::Status(place.status().code(),
                          absl::StrCat(what, ": ", place.status().message()));
    }
    T* const data = reinterpret_cast<T*>((*place)->data());
    std::copy_n(data_, std::min(size_, size), data);
    if (elsewhere_ == nullptr) std::free(data_);
    elsewhere_ = *std::move(place);
    room_ = bytes;
    data_ = data;
    size_ = size;
    return absl::OkStatus();
  }

  ArrayMemory* memory_ = nullptr;
  std::unique_ptr<ScratchMemory> elsewhere_;  // what `data_` points to, unless that is the heap
  int64_t room_ = 0;                          // of `elsewhere_`, in bytes
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_HEAP_ARRAY_H_
