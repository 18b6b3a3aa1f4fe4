#ifndef CONVD_CORE_DATA_GZIP_H_
#define CONVD_CORE_DATA_GZIP_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/heap_array.h"

namespace convd {

// Inflates a gzip file (RFC 1952) of one member or several. CRC and length of each are checked, and
// nothing but members may follow. INVALID_ARGUMENT names `name`, the offset (of the compressed
// bytes) and the cause, or says what else the file is, or that more than `limit` bytes
// come out, which is noticed before they do. Any thread may call.
absl::StatusOr<HeapArray<char>> InflateGzip(std::string_view bytes, const std::string& name,
                                            int64_t limit, ArrayMemory* arrays = nullptr);

// A file's bytes, inflated where they were gzip's.
struct PlainBytes {
  std::string_view view;     // into `inflated`, or what was given
  HeapArray<char> inflated;  // empty where nothing had to be
};

absl::StatusOr<PlainBytes> InflateIfGzip(std::string_view bytes, const std::string& name,
                                         int64_t limit, ArrayMemory* arrays = nullptr);

// The first bytes (at most `n`) of what a gzip file unpacks to, to see what it is; fewer where it
// is damaged or ends before. Costs no more than that.
std::string GzipPrefix(std::string_view bytes, size_t n);

}  // namespace convd

#endif  // CONVD_CORE_DATA_GZIP_H_
