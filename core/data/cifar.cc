#include "core/data/cifar.h"

#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/image_storage.h"
#include "core/data/label_names.h"
#include "core/status/status_macros.h"

namespace convd {

namespace {

struct LabelByte {
  const char* name;
  int largest;
};

// How one of the two lays out its records.
struct Kind {
  const char* name;
  absl::Span<const LabelByte> labels;  // before the pixels; the last is the image's

  int64_t record_bytes() const { return static_cast<int64_t>(labels.size()) + kCifarPixelBytes; }
};

constexpr LabelByte kCifar10Labels[] = {{"label", 9}};
constexpr LabelByte kCifar100Labels[] = {{"coarse label", 19}, {"fine label", 99}};
constexpr Kind kCifar10{"CIFAR-10", kCifar10Labels};
constexpr Kind kCifar100{"CIFAR-100", kCifar100Labels};
static_assert(std::size(kCifar10Labels) + kCifarPixelBytes == kCifar10RecordBytes);
static_assert(std::size(kCifar100Labels) + kCifarPixelBytes == kCifar100RecordBytes);

// The labels, or which one can't be.
absl::StatusOr<HeapArray<int32_t>> ReadLabels(const Kind& kind, std::string_view bytes,
                                              int64_t count, const std::string& name,
                                              ArrayMemory* arrays) {
  CONVD_ASSIGN_OR_RETURN(HeapArray<int32_t> labels,
                         HeapArray<int32_t>::Allocate(count, name, arrays));
  for (int64_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < kind.labels.size(); ++k) {
      const size_t offset = static_cast<size_t>(i * kind.record_bytes()) + k;
      const int label = static_cast<unsigned char>(bytes[offset]);
      if (label > kind.labels[k].largest) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, ": record ", i, " (offset ", offset, ") has ", kind.labels[k].name,
                         " ", label, "; ", kind.name, "'s are 0 to ", kind.labels[k].largest,
                         i == 0 ? absl::StrCat("; the file is ", DescribeFileFormat(bytes)) : ""));
      }
      labels[i] = label;
    }
  }
  return labels;
}

absl::StatusOr<ImageSet> ReadCifar(const Kind& kind, std::string_view bytes,
                                   const std::string& name, const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, name, limits.decompressed_bytes, limits.arrays));
  const int64_t size = static_cast<int64_t>(plain.view.size());
  constexpr int kSide = 32;
  constexpr int kPlane = kSide * kSide;
  const int64_t record = kind.record_bytes();
  const int64_t count = size / record;
  if (size % record != 0 || size == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is ", DescribeFileFormat(plain.view), "; a ", kind.name,
                     " batch is whole records of ", record, " bytes, but ", size, " bytes are ",
                     count, " records and ", size % record, " bytes"));
  }
  ImageSet shape;
  shape.count = count;
  shape.height = kSide;
  shape.width = kSide;
  shape.channels = 3;
  CONVD_RETURN_IF_ERROR(CheckImageShape(name, count, kSide, kSide, 3, limits));
  ImageStorage storage;
  CONVD_ASSIGN_OR_RETURN(storage.labels, ReadLabels(kind, plain.view, count, name, limits.arrays));
  CONVD_ASSIGN_OR_RETURN(storage.pixels,
                         HeapArray<char>::Allocate(3 * kPlane * count, name, limits.arrays));
  char* out = storage.pixels.data();
  for (int64_t i = 0; i < count; ++i) {
    const char* planes = plain.view.data() + (i + 1) * record - kCifarPixelBytes;
    for (int p = 0; p < kPlane; ++p) {
      for (int c = 0; c < 3; ++c) *out++ = planes[c * kPlane + p];
    }
  }
  return OwnImages(shape, std::move(storage));
}

}  // namespace

CifarKind DetectCifar(std::string_view bytes) {
  if (bytes.empty()) return CifarKind::kNone;
  const bool hundred = bytes.size() % kCifar100RecordBytes == 0;
  if (bytes.size() % kCifar10RecordBytes != 0) {
    return hundred ? CifarKind::kCifar100 : CifarKind::kNone;
  }
  for (size_t at = 0; hundred && at < bytes.size(); at += kCifar10RecordBytes) {
    if (static_cast<unsigned char>(bytes[at]) > kCifar10Labels[0].largest) {
      return CifarKind::kCifar100;
    }
  }
  return CifarKind::kCifar10;
}

absl::StatusOr<ImageSet> ReadCifar10(std::string_view bytes, const std::string& name,
                                     const DataLimits& limits) {
  return ReadCifar(kCifar10, bytes, name, limits);
}

absl::StatusOr<ImageSet> ReadCifar100(std::string_view bytes, const std::string& name,
                                      const DataLimits& limits) {
  return ReadCifar(kCifar100, bytes, name, limits);
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
