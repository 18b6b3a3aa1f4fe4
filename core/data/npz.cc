#include "core/data/npz.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/heap_array.h"
#include "core/data/image_storage.h"
#include "core/data/labels.h"
#include "core/data/npy.h"
#include "core/data/pixels.h"
#include "core/data/zip_archive.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct Array {
  std::string name;  // file and member, for messages
  NpyHeader header;
  HeapArray<char> file;

  const char* data() const { return file.data() + header.data_offset; }
};

std::string Contents(const std::vector<std::string>& members) {
  constexpr size_t kMaxShown = 20;
  std::string text;
  for (size_t i = 0; i < members.size() && i < kMaxShown; ++i) {
    absl::StrAppend(&text, i > 0 ? ", " : "", absl::Utf8SafeCEscape(members[i].substr(0, 60)));
  }
  if (members.size() > kMaxShown) absl::StrAppend(&text, ", and ", members.size() - kMaxShown);
  return members.empty() ? "nothing" : text;
}

// Whether `member` is LETTER.npy, or with a suffix, in either case: X.npy, x_train.npy.
bool IsArray(const std::string& member, char letter, const std::string& suffix) {
  return !member.empty() && absl::ascii_toupper(member[0]) == letter &&
         std::string_view(member).substr(1) == suffix + ".npy";
}

bool HasArray(const ZipArchive& archive, char letter, const std::string& suffix) {
  const std::vector<std::string>& members = archive.members();
  return std::any_of(members.begin(), members.end(),
                     [&](const std::string& member) { return IsArray(member, letter, suffix); });
}

// See NpzSplits.
absl::StatusOr<std::vector<std::string>> FindSplits(const ZipArchive& archive,
                                                    const std::string& name,
                                                    const DataLimits& limits) {
  std::vector<std::string> splits;
  if (HasArray(archive, 'X', "") || HasArray(archive, 'Y', "")) return splits;
  // Half of one of these is a mistake; half of another is an array of something else.
  for (const char* usual : {"train", "test"}) {
    const std::string suffix = absl::StrCat("_", usual);
    if (HasArray(archive, 'X', suffix) || HasArray(archive, 'Y', suffix)) splits.push_back(usual);
  }
  for (const std::string& member : archive.members()) {
    if (member.size() < 7 || member.substr(0, 2) != "x_") continue;
    const std::string split = member.substr(2, member.size() - 6);
    if (std::find(splits.begin(), splits.end(), split) != splits.end() ||
        !IsArray(member, 'X', "_" + split) || !HasArray(archive, 'Y', "_" + split)) {
      continue;
    }
    CONVD_RETURN_IF_ERROR(CheckName(absl::StrCat(name, ": the split of its arrays"), split));
    splits.push_back(split);
    if (static_cast<int64_t>(splits.size()) > limits.splits) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": names more than ", limits.splits, " splits; want at most as many"));
    }
  }
  return splits;
}

// The suffix of the arrays to read.
absl::StatusOr<std::string> FindSuffix(const ZipArchive& archive, std::string_view split,
                                       const std::string& name, const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> splits, FindSplits(archive, name, limits));
  if (splits.empty()) return std::string();
  const absl::string_view wanted(split.data(), split.size());
  if (std::find(splits.begin(), splits.end(), split) != splits.end()) {
    return absl::StrCat("_", wanted);
  }
  if (split.empty() && splits.size() == 1) return "_" + splits[0];
  return absl::NotFoundError(absl::StrCat(
      name, ": holds the splits ", absl::StrJoin(splits, ", "), "; got ",
      split.empty() ? "none of them" : absl::StrCat("\"", absl::Utf8SafeCEscape(wanted), "\"")));
}

// The array LETTER + `suffix`, the letter in either case.
absl::StatusOr<Array> ReadArray(ZipArchive& archive, char letter, const std::string& suffix,
                                const std::string& name, const DataLimits& limits) {
  std::optional<size_t> found;
  const std::vector<std::string>& members = archive.members();
  for (size_t i = 0; i < members.size(); ++i) {
    if (!IsArray(members[i], letter, suffix)) continue;
    if (found) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": has both ", members[*found], " and ",
                                                     members[i], "; want one of them"));
    }
    found = i;
  }
  if (!found) {
    return absl::NotFoundError(absl::StrCat(name, ": has no array ", std::string(1, letter), suffix,
                                            " (of X", suffix, ", the images, and Y", suffix,
                                            ", the labels); it holds ", Contents(members)));
  }
  Array array;
  array.name = absl::StrCat(name, "/", members[*found]);
  CONVD_ASSIGN_OR_RETURN(array.file,
                         archive.Read(*found, limits.decompressed_bytes, limits.arrays));
  CONVD_ASSIGN_OR_RETURN(
      array.header,
      ParseNpyHeader(std::string_view(array.file.data(), static_cast<size_t>(array.file.size())),
                     array.name, limits));
  return array;
}

absl::StatusOr<PixelLayout> FindLayout(const Array& x) {
  const std::vector<int64_t>& shape = x.header.shape;
  const size_t rank = shape.size();
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(x.name, ": is ", x.header.Text(), "; ", why));
  };
  // Besides being of no use, they could have dimensions whose product overflows.
  if (x.header.elements == 0) return refuse("it holds 0 images");
  std::vector<int64_t> strides(rank);
  int64_t stride = 1;
  for (size_t k = 0; k < rank; ++k) {
    const size_t d = x.header.fortran_order ? k : rank - 1 - k;
    strides[d] = stride;
    stride *= shape[d];  // at most the number of elements
  }
  switch (rank) {
    case 2: {
      const int64_t side = SquareSide(shape[1]);
      if (side == 0) {
        return refuse(absl::StrCat("its ", shape[1],
                                   " pixels an image aren't a square of one channel, so their "
                                   "shape can't be told; want count x height x width, or count x "
                                   "height x width x channels"));
      }
      return PixelLayout{{shape[0], side, side, 1}, {strides[0], side * strides[1], strides[1], 1}};
    }
    case 3:
      return PixelLayout{{shape[0], shape[1], shape[2], 1},
                         {strides[0], strides[1], strides[2], 1}};
    case 4: {
      const bool last = shape[3] >= 1 && shape[3] <= 4 && shape[1] != 1 && shape[1] != 3;
      const bool first = (shape[1] == 1 || shape[1] == 3) && (shape[3] < 1 || shape[3] > 4);
      if (last) {
        return PixelLayout{{shape[0], shape[1], shape[2], shape[3]},
                           {strides[0], strides[1], strides[2], strides[3]}};
      }
      if (first) {
        return PixelLayout{{shape[0], shape[2], shape[3], shape[1]},
                           {strides[0], strides[2], strides[3], strides[1]}};
      }
      return refuse(
          "which dimension is the channels can't be told; want count x height x width x channels "
          "with 1 to 4 channels, and a height other than 1 and 3");
    }
    default:
      return refuse(
          "images are count x height x width x channels, count x height x width, or count x "
          "pixels");
  }
}

absl::Status ReadPixels(Array x, const DataLimits& limits, ImageSet& shape, ImageStorage& storage) {
  const NpyHeader& header = x.header;
  CONVD_ASSIGN_OR_RETURN(shape.type, PixelType(x.name, header.type));
  CONVD_ASSIGN_OR_RETURN(const PixelLayout layout, FindLayout(x));
  CONVD_RETURN_IF_ERROR(CheckImageShape(x.name, layout.size[0], layout.size[1], layout.size[2],
                                        layout.size[3], limits));
  shape.count = layout.size[0];
  shape.height = static_cast<int>(layout.size[1]);
  shape.width = static_cast<int>(layout.size[2]);
  shape.channels = static_cast<int>(layout.size[3]);
  if (header.type.kind == 'u' && header.type.bytes == 1 && layout.contiguous()) {
    storage.pixels_offset = static_cast<int64_t>(header.data_offset);
    storage.pixels = std::move(x.file);
    return absl::OkStatus();
  }
  CONVD_ASSIGN_OR_RETURN(storage.pixels,
                         ConvertPixels(x.name, header.type, x.data(), layout, limits));
  return absl::OkStatus();
}

absl::StatusOr<HeapArray<int32_t>> ReadLabels(const Array& y, const std::string& x, int64_t images,
                                              const DataLimits& limits) {
  const NpyHeader& header = y.header;
  const std::vector<int64_t>& shape = header.shape;
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(y.name, ": is ", header.Text(), "; ", why));
  };
  if (shape.size() == 2 && shape[1] > 1) {
    return refuse("want one label an image; one-hot labels are their argmax, Y.argmax(axis=1)");
  }
  if (shape.empty() || shape.size() > 2 || (shape.size() == 2 && shape[1] != 1)) {
    return refuse("want an array of count labels");
  }
  if (shape[0] != images) {
    return refuse(absl::StrCat(x, " has ", images, " images; want as many labels"));
  }
  return ConvertLabels(y.name, header.type, y.data(), images, limits);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> NpzSplits(std::string_view bytes, const std::string& name,
                                                   const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Open(bytes, name));
  return FindSplits(archive, name, limits);
}

absl::StatusOr<ImageSet> ReadNpz(std::string_view bytes, const std::string& name,
                                 const DataLimits& limits, std::string_view split) {
  CONVD_ASSIGN_OR_RETURN(ZipArchive archive, ZipArchive::Open(bytes, name));
  CONVD_ASSIGN_OR_RETURN(const std::string suffix, FindSuffix(archive, split, name, limits));
  ImageSet shape;
  ImageStorage storage;
  // Y is small: where it can't be read, X need not be unpacked.
  CONVD_ASSIGN_OR_RETURN(const Array y, ReadArray(archive, 'Y', suffix, name, limits));
  CONVD_ASSIGN_OR_RETURN(Array x, ReadArray(archive, 'X', suffix, name, limits));
  CONVD_RETURN_IF_ERROR(ReadPixels(std::move(x), limits, shape, storage));
  CONVD_ASSIGN_OR_RETURN(storage.labels, ReadLabels(y, "X" + suffix, shape.count, limits));
  return OwnImages(shape, std::move(storage));
}

}  // namespace convd
