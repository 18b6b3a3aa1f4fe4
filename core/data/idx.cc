#include "core/data/idx.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct IdxType {
  unsigned char code;
  const char* name;
  int bytes;
  bool integer;
};
constexpr IdxType kTypes[] = {{0x08, "uint8", 1, true},    {0x09, "int8", 1, true},
                              {0x0B, "int16", 2, true},    {0x0C, "int32", 4, true},
                              {0x0D, "float32", 4, false}, {0x0E, "float64", 8, false}};

struct IdxHeader {
  IdxType type;
  std::vector<int64_t> dims;
  size_t data_offset = 0;

  std::string Text() const {
    return absl::StrCat("a ", type.name, " array of ", absl::StrJoin(dims, "x"));
  }
};

uint32_t BigEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

absl::StatusOr<IdxHeader> ParseHeader(std::string_view bytes, const std::string& name) {
  if (bytes.size() >= 4 || DetectFileFormat(bytes) != FileFormat::kUnknown) {
    if (DetectFileFormat(bytes) != FileFormat::kIdx) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": is ", DescribeFileFormat(bytes),
          "; want an IDX file, which begins with 00 00, an element type and 1 to 4 dimensions"));
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the IDX header is cut short: the file has ", bytes.size(), " bytes"));
  }
  IdxHeader header;
  header.type = *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const IdxType& type) {
    return type.code == static_cast<unsigned char>(bytes[2]);
  });
  const size_t rank = static_cast<size_t>(bytes[3]);
  header.data_offset = 4 + 4 * rank;
  if (bytes.size() < header.data_offset) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": the IDX header is cut short: ", rank,
                                                   " dimensions take ", header.data_offset,
                                                   " bytes, the file has ", bytes.size()));
  }
  for (size_t i = 0; i < rank; ++i) header.dims.push_back(BigEndian32(bytes.substr(4 + 4 * i)));
  return header;
}

// `elements` is known to be within the limits.
absl::Status CheckSize(std::string_view bytes, const std::string& name, const IdxHeader& header,
                       int64_t elements) {
  const int64_t want = static_cast<int64_t>(header.data_offset) + elements * header.type.bytes;
  const int64_t got = static_cast<int64_t>(bytes.size());
  if (got == want) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, got < want ? ": is cut short: " : ": has bytes past its end: ", "its header says ",
      header.Text(), ", which ends at offset ", want, "; the file (unpacked) has ", got, " bytes"));
}

int64_t IntegerAt(const char* bytes, const IdxType& type) {
  uint32_t value = 0;
  for (int i = 0; i < type.bytes; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  switch (type.code) {
    case 0x09:
      return static_cast<int8_t>(value);
    case 0x0B:
      return static_cast<int16_t>(value);
    case 0x0C:
      return static_cast<int32_t>(value);
    default:
      return value;
  }
}

struct UnlabelledImages {
  ImageSet shape;  // points nowhere
  ImageStorage storage;
};

absl::StatusOr<UnlabelledImages> ReadPixels(std::string_view bytes, const std::string& name,
                                            const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(PlainBytes plain, InflateIfGzip(bytes, name, limits.decompressed_bytes));
  CONVD_ASSIGN_OR_RETURN(const IdxHeader header, ParseHeader(plain.view, name));
  const size_t rank = header.dims.size();
  if (header.type.code != 0x08 || rank < 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": holds ", header.Text(),
        "; images are uint8 arrays of count x height x width, or with x channels after that",
        rank == 1 ? " (this looks like a file of labels)" : ""));
  }
  const int64_t channels = rank == 4 ? header.dims[3] : 1;
  const int64_t count = header.dims[0];
  CONVD_RETURN_IF_ERROR(
      CheckImageShape(name, count, header.dims[1], header.dims[2], channels, limits));
  UnlabelledImages images;
  images.shape.count = count;
  images.shape.height = static_cast<int>(header.dims[1]);
  images.shape.width = static_cast<int>(header.dims[2]);
  images.shape.channels = static_cast<int>(channels);
  const int64_t elements = count * images.shape.image_elements();
  CONVD_RETURN_IF_ERROR(CheckSize(plain.view, name, header, elements));
  if (plain.inflated.size() > 0) {
    images.storage.pixels = std::move(plain.inflated);
    images.storage.pixels_offset = static_cast<int64_t>(header.data_offset);
  } else {
    CONVD_ASSIGN_OR_RETURN(images.storage.pixels, HeapArray<char>::Allocate(elements, name));
    std::memcpy(images.storage.pixels.data(), plain.view.data() + header.data_offset,
                static_cast<size_t>(elements));
  }
  return images;
}

}  // namespace

absl::StatusOr<ImageSet> ReadIdxImages(std::string_view bytes, const std::string& name,
                                       const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(UnlabelledImages images, ReadPixels(bytes, name, limits));
  return OwnImages(images.shape, std::move(images.storage));
}

absl::StatusOr<HeapArray<int32_t>> ReadIdxLabels(std::string_view bytes, const std::string& name,
                                                 const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, name, limits.decompressed_bytes));
  CONVD_ASSIGN_OR_RETURN(const IdxHeader header, ParseHeader(plain.view, name));
  if (!header.type.integer || header.dims.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": holds ", header.Text(), "; labels are an integer array of one dimension",
        header.dims.size() >= 3 ? " (this looks like a file of images)" : ""));
  }
  const int64_t count = header.dims[0];
  if (count > limits.samples) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, ": says ", count, " labels; the limit is ", limits.samples));
  }
  CONVD_RETURN_IF_ERROR(CheckSize(plain.view, name, header, count));
  CONVD_ASSIGN_OR_RETURN(HeapArray<int32_t> labels, HeapArray<int32_t>::Allocate(count, name));
  const char* data = plain.view.data() + header.data_offset;
  for (int64_t i = 0; i < count; ++i) {
    labels[i] = static_cast<int32_t>(IntegerAt(data + i * header.type.bytes, header.type));
  }
  CONVD_RETURN_IF_ERROR(CheckLabels(name, labels.span(), limits.classes));
  return labels;
}

absl::StatusOr<ImageSet> ReadIdx(std::string_view images, const std::string& images_name,
                                 std::string_view labels, const std::string& labels_name,
                                 const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(UnlabelledImages read, ReadPixels(images, images_name, limits));
  CONVD_ASSIGN_OR_RETURN(read.storage.labels, ReadIdxLabels(labels, labels_name, limits));
  if (read.storage.labels.size() != read.shape.count) {
    return absl::InvalidArgumentError(
        absl::StrCat(labels_name, ": has ", read.storage.labels.size(), " labels, but ",
                     images_name, " has ", read.shape.count, " images; want as many"));
  }
  return OwnImages(read.shape, std::move(read.storage));
}

}  // namespace convd
