#include "core/data/image_file.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/data/cifar10.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/idx.h"
#include "core/data/npz.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// CIFAR-10's batches have no magic, and one may begin like an IDX file: label 0 and pixels that are
// nearly black. Then the size decides: an IDX file ends where its header says.
bool IsCifar10InSpiteOfItsStart(std::string_view plain) {
  if (plain.size() % kCifar10RecordBytes != 0) return false;
  return !IsWholeIdx(plain);
}

}  // namespace

absl::StatusOr<ImageFileKind> DetectImageFile(std::string_view bytes, const std::string& name,
                                              const DataLimits& limits) {
  constexpr size_t kPrefix = 64;
  std::string prefix(bytes.substr(0, kPrefix));
  FileFormat format = DetectFileFormat(bytes);
  const bool zipped = format == FileFormat::kGzip;
  if (zipped) {
    prefix = GzipPrefix(bytes, kPrefix);
    format = DetectFileFormat(prefix);
    // Nothing comes out: damaged, or cut short, or a gzip file of nothing.
    if (prefix.empty()) {
      CONVD_RETURN_IF_ERROR(InflateGzip(bytes, name, limits.decompressed_bytes).status());
    }
  }
  switch (format) {
    case FileFormat::kZip:
      return ImageFileKind::kNpz;
    case FileFormat::kIdx: {
      if (!zipped) {
        return IsCifar10InSpiteOfItsStart(bytes) ? ImageFileKind::kCifar10 : ImageFileKind::kIdx;
      }
      CONVD_ASSIGN_OR_RETURN(const HeapArray<char> plain,
                             InflateGzip(bytes, name, limits.decompressed_bytes));
      const std::string_view view(plain.data(), static_cast<size_t>(plain.size()));
      return IsCifar10InSpiteOfItsStart(view) ? ImageFileKind::kCifar10 : ImageFileKind::kIdx;
    }
    case FileFormat::kUnknown: {
      // A record begins with its label. One beyond the classes is for the batch's reader to refuse,
      // where all else is right.
      if (static_cast<unsigned char>(prefix[0]) <= 9) return ImageFileKind::kCifar10;
      CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                             InflateIfGzip(bytes, name, limits.decompressed_bytes));
      if (plain.view.size() % kCifar10RecordBytes == 0) return ImageFileKind::kCifar10;
      break;
    }
    default:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": is ", zipped ? "a gzip file that holds one that is " : "",
                   DescribeFileFormat(zipped ? std::string_view(prefix) : bytes),
                   "; want an IDX file of images, a CIFAR-10 batch, or an npz with X and Y"));
}

absl::StatusOr<ImageSet> ReadImageFile(const NamedBytes& images, const NamedBytes* labels,
                                       const DataLimits& limits, std::string_view split) {
  if (labels != nullptr) {
    return ReadIdx(images.bytes, images.name, labels->bytes, labels->name, limits);
  }
  CONVD_ASSIGN_OR_RETURN(const ImageFileKind kind,
                         DetectImageFile(images.bytes, images.name, limits));
  switch (kind) {
    case ImageFileKind::kIdx:
      return ReadIdxImages(images.bytes, images.name, limits);
    case ImageFileKind::kCifar10:
      return ReadCifar10(images.bytes, images.name, limits);
    case ImageFileKind::kNpz:
      break;
  }
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(images.bytes, images.name, limits.decompressed_bytes));
  return ReadNpz(plain.view, images.name, limits, split);
}

}  // namespace convd
