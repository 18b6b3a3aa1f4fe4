#include "core/data/cifar10.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/image_storage.h"
#include "core/data/label_names.h"
#include "core/status/status_macros.h"

namespace convd {

absl::StatusOr<ImageSet> ReadCifar10(std::string_view bytes, const std::string& name,
                                     const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, name, limits.decompressed_bytes));
  const int64_t size = static_cast<int64_t>(plain.view.size());
  constexpr int kSide = 32;
  constexpr int kPlane = kSide * kSide;
  const int64_t count = size / kCifar10RecordBytes;
  if (size % kCifar10RecordBytes != 0 || size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": is ", DescribeFileFormat(plain.view), "; a CIFAR-10 batch is whole records of ",
        kCifar10RecordBytes, " bytes, but ", size, " bytes are ", count, " records and ",
        size % kCifar10RecordBytes, " bytes"));
  }
  ImageSet shape;
  shape.count = count;
  shape.height = kSide;
  shape.width = kSide;
  shape.channels = 3;
  CONVD_RETURN_IF_ERROR(CheckImageShape(name, count, kSide, kSide, 3, limits));
  ImageStorage storage;
  CONVD_ASSIGN_OR_RETURN(storage.labels, HeapArray<int32_t>::Allocate(count, name));
  for (int64_t i = 0; i < count; ++i) {
    const size_t offset = static_cast<size_t>(i * kCifar10RecordBytes);
    const int label = static_cast<unsigned char>(plain.view[offset]);
    if (label > 9) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": record ", i, " (offset ", offset, ") has label ", label,
          "; CIFAR-10's are 0 to 9",
          i == 0 ? absl::StrCat("; the file is ", DescribeFileFormat(plain.view)) : ""));
    }
    storage.labels[i] = label;
  }
  CONVD_ASSIGN_OR_RETURN(storage.pixels, HeapArray<char>::Allocate(3 * kPlane * count, name));
  char* out = storage.pixels.data();
  for (int64_t i = 0; i < count; ++i) {
    const char* planes = plain.view.data() + i * kCifar10RecordBytes + 1;
    for (int p = 0; p < kPlane; ++p) {
      for (int c = 0; c < 3; ++c) *out++ = planes[c * kPlane + p];
    }
  }
  return OwnImages(shape, std::move(storage));
}

absl::StatusOr<std::vector<std::string>> ReadLabelNames(std::string_view bytes,
                                                        const std::string& name,
                                                        const DataLimits& limits) {
  std::vector<std::string> names;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(bytes.data(), bytes.size()), '\n')) {
    // One too many is refused below.
    if (static_cast<int64_t>(names.size()) > limits.classes + 1) break;
    names.emplace_back(absl::StripAsciiWhitespace(line));
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  CONVD_RETURN_IF_ERROR(CheckLabelNames(name, names, limits));
  return names;
}

}  // namespace convd
