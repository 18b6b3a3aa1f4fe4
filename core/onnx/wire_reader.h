#ifndef CONVD_CORE_ONNX_WIRE_READER_H_
#define CONVD_CORE_ONNX_WIRE_READER_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

// Walks the fields of one serialized Protocol Buffers message in place, without allocating: parsing
// hostile bytes into message objects may take a hundred times their size. One thread.
// https://protobuf.dev/programming-guides/encoding
class WireReader {
 public:
  struct Field {
    uint32_t number = 0;
    bool is_bytes = false;  // else `value`
    uint64_t value = 0;     // varint, fixed32 or fixed64
    std::string_view bytes;
    uint64_t offset = 0;  // of `bytes` in the file
  };

  // `offset` is where `message` starts in the file, for errors.
  WireReader(std::string_view message, uint64_t offset) : rest_(message), offset_(offset) {}

  bool done() const { return rest_.empty(); }

  // INVALID_ARGUMENT with the offset where the message is cut short or malformed.
  absl::StatusOr<Field> Next() {
    const uint64_t start = offset_;
    Field field;
    CONVD_ASSIGN_OR_RETURN(uint64_t tag, Varint());
    if (tag >> 32 != 0 || tag >> 3 == 0) return Malformed(start, "a field number out of range");
    field.number = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0: {
        CONVD_ASSIGN_OR_RETURN(field.value, Varint());
        return field;
      }
      case 1:
      case 5: {
        CONVD_ASSIGN_OR_RETURN(std::string_view fixed, Take((tag & 7) == 1 ? 8 : 4));
        for (size_t i = fixed.size(); i-- > 0;) {
          field.value = field.value << 8 | static_cast<unsigned char>(fixed[i]);
        }
        return field;
      }
      case 2: {
        CONVD_ASSIGN_OR_RETURN(uint64_t size, Varint());
        field.is_bytes = true;
        field.offset = offset_;
        CONVD_ASSIGN_OR_RETURN(field.bytes, Take(size));
        return field;
      }
      default:
        return Malformed(start, "a field of unknown wire type");
    }
  }

  // The next varint itself, for packed fields.
  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int i = 0; i < 10; ++i) {
      if (static_cast<size_t>(i) >= rest_.size()) return Malformed(offset_, "the end of the bytes");
      const auto byte = static_cast<unsigned char>(rest_[i]);
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) {
        Advance(i + 1);
        return value;
      }
    }
    return Malformed(offset_, "a number of more than ten bytes");
  }

 private:
  absl::StatusOr<std::string_view> Take(uint64_t size) {
    if (size > rest_.size()) {
      return Malformed(
          offset_, absl::StrCat("a field of ", size, " bytes where ", rest_.size(), " are left"));
    }
    std::string_view taken = rest_.substr(0, size);
    Advance(size);
    return taken;
  }

  void Advance(size_t n) {
    rest_.remove_prefix(n);
    offset_ += n;
  }

  static absl::Status Malformed(uint64_t offset, absl::string_view found) {
    return absl::InvalidArgumentError(
        absl::StrCat("offset ", offset, ": got ", found, "; want a whole ONNX model"));
  }

  std::string_view rest_;
  uint64_t offset_;
};

}  // namespace convd

#endif  // CONVD_CORE_ONNX_WIRE_READER_H_
