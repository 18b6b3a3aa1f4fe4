#include "core/data/idx.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/image_storage.h"
#include "core/data/labels.h"
#include "core/data/numbers.h"
#include "core/data/pixels.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct IdxType {
  unsigned char code;
  NumberType type;
};
constexpr IdxType kTypes[] = {{0x08, {'u', 1, true}}, {0x09, {'i', 1, true}},
                              {0x0B, {'i', 2, true}}, {0x0C, {'i', 4, true}},
                              {0x0D, {'f', 4, true}}, {0x0E, {'f', 8, true}}};

const IdxType* FindType(char code) {
  for (const IdxType& type : kTypes) {
    if (type.code == static_cast<unsigned char>(code)) return &type;
  }
  return nullptr;
}

struct IdxHeader {
  NumberType type;
  std::vector<int64_t> dims;
  size_t data_offset = 0;

  // "a uint8 array of 10x28x28"
  std::string Text() const {
    return absl::StrCat(type.kind == 'i' ? "an " : "a ", type.Text(), " array of ",
                        absl::StrJoin(dims, "x"));
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
      // Files that aren't taken for IDX, since a CIFAR file may begin so, and yet may be meant.
      if (bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 0 && FindType(bytes[2]) != nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": begins as an IDX file of ",
                                                       static_cast<unsigned char>(bytes[3]),
                                                       " dimensions; want 1 to 4"));
      }
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": is ", DescribeFileFormat(bytes),
          "; want an IDX file, which begins with 00 00, an element type and 1 to 4 dimensions"));
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the IDX header is cut short: the file has ", bytes.size(), " bytes"));
  }
  IdxHeader header;
  header.type = FindType(bytes[2])->type;  // known, since it was taken for IDX
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

absl::StatusOr<PixelLayout> FindLayout(const std::string& name, const IdxHeader& header) {
  const std::vector<int64_t>& dims = header.dims;
  PixelLayout layout{{dims[0], 1, 1, 1}, {0, 0, 0, 1}};
  switch (dims.size()) {
    case 2:
      layout.size[1] = layout.size[2] = SquareSide(dims[1]);
      if (layout.size[1] == 0 && dims[1] != 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, ": holds ", header.Text(), "; its ", dims[1],
                         " pixels an image aren't a square, so their shape can't be told; want "
                         "count x height x width"));
      }
      break;
    case 3:
    case 4:
      std::copy(dims.begin() + 1, dims.end(), layout.size + 1);
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": holds ", header.Text(),
          "; images are count x height x width, with x channels after that, or count x pixels "
          "(this looks like a file of labels)"));
  }
  return layout;
}

struct UnlabelledImages {
  ImageSet shape;  // points nowhere
  ImageStorage storage;
};

absl::StatusOr<UnlabelledImages> ReadPixels(std::string_view bytes, const std::string& name,
                                            const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(PlainBytes plain,
                         InflateIfGzip(bytes, name, limits.decompressed_bytes, limits.arrays));
  CONVD_ASSIGN_OR_RETURN(const IdxHeader header, ParseHeader(plain.view, name));
  CONVD_ASSIGN_OR_RETURN(PixelLayout layout, FindLayout(name, header));
  const int64_t* const size = layout.size;
  CONVD_RETURN_IF_ERROR(CheckImageShape(name, size[0], size[1], size[2], size[3], limits));
  CONVD_RETURN_IF_ERROR(CheckSize(plain.view, name, header, layout.elements()));
  // Bounded above.
  for (int d = 2; d >= 0; --d) layout.stride[d] = layout.stride[d + 1] * size[d + 1];
  UnlabelledImages images;
  images.shape.count = size[0];
  images.shape.height = static_cast<int>(size[1]);
  images.shape.width = static_cast<int>(size[2]);
  images.shape.channels = static_cast<int>(size[3]);
  CONVD_ASSIGN_OR_RETURN(images.shape.type, PixelType(name, header.type));
  if (header.type.kind == 'u' && plain.inflated.size() > 0) {
    images.storage.pixels = std::move(plain.inflated);
    images.storage.pixels_offset = static_cast<int64_t>(header.data_offset);
  } else {
    CONVD_ASSIGN_OR_RETURN(
        images.storage.pixels,
        ConvertPixels(name, header.type, plain.view.data() + header.data_offset, layout, limits));
  }
  return images;
}

}  // namespace

bool IsWholeIdx(std::string_view bytes) {
  const absl::StatusOr<IdxHeader> header = ParseHeader(bytes, "");
  if (!header.ok()) return false;
  int64_t left = static_cast<int64_t>(bytes.size() - header->data_offset);
  if (std::find(header->dims.begin(), header->dims.end(), 0) != header->dims.end()) {
    return left == 0;
  }
  // By division, since products may overflow.
  for (const int64_t factor : header->dims) {
    if (left % factor != 0) return false;
    left /= factor;
  }
  return left == header->type.bytes;
}

absl::StatusOr<ImageSet> ReadIdxImages(std::string_view bytes, const std::string& name,
                                       const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(UnlabelledImages images, ReadPixels(bytes, name, limits));
  return OwnImages(images.shape, std::move(images.storage));
}

absl::StatusOr<HeapArray<int32_t>> ReadIdxLabels(std::string_view bytes, const std::string& name,
                                                 const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, name, limits.decompressed_bytes, limits.arrays));
  CONVD_ASSIGN_OR_RETURN(const IdxHeader header, ParseHeader(plain.view, name));
  const std::vector<int64_t>& dims = header.dims;
  if (dims.size() != 1 && !(dims.size() == 2 && dims[1] == 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": holds ", header.Text(), "; labels are an array of count, or count x 1, numbers",
        dims.size() >= 3 ? " (this looks like a file of images)" : ""));
  }
  const int64_t count = header.dims[0];
  if (count > limits.samples) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": says ", count, " labels; the limit is ", limits.samples));
  }
  CONVD_RETURN_IF_ERROR(CheckSize(plain.view, name, header, count));
  return ConvertLabels(name, header.type, plain.view.data() + header.data_offset, count, limits);
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
