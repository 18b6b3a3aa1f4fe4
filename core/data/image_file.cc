#include "core/data/image_file.h"

#include "absl/strings/str_cat.h"
#include "core/data/cifar.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/idx.h"
#include "core/data/npz.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// For what begins neither as an IDX file of that size nor as any other kind, which are CIFAR's
// files.
absl::StatusOr<ImageFileKind> DetectByRecords(std::string_view plain, const std::string& name) {
  switch (DetectCifar(plain)) {
    case CifarKind::kCifar10:
      return ImageFileKind::kCifar10;
    case CifarKind::kCifar100:
      return ImageFileKind::kCifar100;
    case CifarKind::kNone:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": is ", DescribeFileFormat(plain),
      "; want an IDX file of images, an npz with X and Y, or whole records of CIFAR-10 (",
      kCifar10RecordBytes, " bytes) or CIFAR-100 (", kCifar100RecordBytes, " bytes)"));
}

}  // namespace

absl::StatusOr<ImageFileKind> DetectImageFile(std::string_view bytes, const std::string& name,
                                              const DataLimits& limits) {
  constexpr size_t kPrefix = 512;  // a tar archive says what it is in its first 512 bytes
  std::string prefix(bytes.substr(0, kPrefix));
  FileFormat format = DetectFileFormat(bytes);
  const bool zipped = format == FileFormat::kGzip;
  if (zipped) {
    prefix = GzipPrefix(bytes, kPrefix);
    format = DetectFileFormat(prefix);
    // Nothing comes out: damaged, or cut short, or a gzip file of nothing.
    if (prefix.empty()) {
      CONVD_RETURN_IF_ERROR(
          InflateGzip(bytes, name, limits.decompressed_bytes, limits.arrays).status());
    }
  }
  switch (format) {
    case FileFormat::kZip:
      return ImageFileKind::kNpz;
    case FileFormat::kIdx:
    case FileFormat::kUnknown: {
      CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                             InflateIfGzip(bytes, name, limits.decompressed_bytes, limits.arrays));
      // CIFAR's files have no magic, and one may begin like an IDX file: with label 0 and pixels
      // that are nearly black. Then the size decides: an IDX file ends where its header says.
      if (format == FileFormat::kIdx &&
          (IsWholeIdx(plain.view) || DetectCifar(plain.view) == CifarKind::kNone)) {
        return ImageFileKind::kIdx;
      }
      return DetectByRecords(plain.view, name);
    }
    default:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": is ", zipped ? "a gzip file that holds one that is " : "",
                   DescribeFileFormat(zipped ? std::string_view(prefix) : bytes),
                   "; want an IDX file of images, an npz with X and Y, or a CIFAR-10 or CIFAR-100 "
                   "file"));
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
    case ImageFileKind::kCifar100:
      return ReadCifar100(images.bytes, images.name, limits);
    case ImageFileKind::kNpz:
      break;
  }
  CONVD_ASSIGN_OR_RETURN(
      const PlainBytes plain,
      InflateIfGzip(images.bytes, images.name, limits.decompressed_bytes, limits.arrays));
  return ReadNpz(plain.view, images.name, limits, split);
}

}  // namespace convd
