#include "core/data/image_dataset.h"

#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/heap_array.h"
#include "core/data/image_decode.h"
#include "core/data/image_layout.h"
#include "core/data/image_resize.h"
#include "core/data/image_storage.h"
#include "core/data/label_list.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Where the pixels of a dataset's images go, one after another.
class Decoder {
 public:
  Decoder(FileTree& tree, const DataLimits& limits) : tree_(tree), limits_(limits) {}

  // Finds out what shape the images are to have; `first` is one of them.
  absl::Status ChooseShape(const ImageLayout& layout, const ImageSize& size) {
    resizes_ = size.given();
    first_ = layout.splits[0].samples[0].file;
    shape_.height = size.height;
    shape_.width = size.width;
    shape_.channels = size.channels;
    if (!resizes_) {
      CONVD_ASSIGN_OR_RETURN(const ImageSet image, AsItIs(first_));
      shape_.height = image.height;
      shape_.width = image.width;
      shape_.channels = image.channels;
      return absl::OkStatus();
    }
    if (shape_.channels != 0) return absl::OkStatus();
    shape_.channels = 1;
    for (const ImageLayout::Split& split : layout.splits) {
      for (const ImageLayout::Sample& sample : split.samples) {
        CONVD_ASSIGN_OR_RETURN(const ImageSet image, AsItIs(sample.file));
        if (image.channels == 1) continue;
        shape_.channels = 3;
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  const ImageSet& shape() const { return shape_; }

  // Fills an image's bytes.
  absl::Status Decode(size_t file, char* pixels) {
    if (resizes_) {
      return tree_.Read(file, [&](std::string_view bytes) {
        const ImageConversion to = {shape_.height, shape_.width, shape_.channels};
        return DecodeImage(bytes, tree_.Shown(file), to, reinterpret_cast<uint8_t*>(pixels),
                           limits_);
      });
    }
    CONVD_ASSIGN_OR_RETURN(const ImageSet image, AsItIs(file));
    if (ShapeText(image) != ShapeText(shape_)) {
      return absl::InvalidArgumentError(
          absl::StrCat(tree_.Shown(file), ": is ", Text(image), ", but ", tree_.Shown(first_),
                       " is ", Text(shape_),
                       "; want one shape, or image_size (--image-size), which all are brought to"));
    }
    std::memcpy(pixels, image.pixels, static_cast<size_t>(image.image_bytes()));
    return absl::OkStatus();
  }

 private:
  static std::string Text(const ImageSet& image) {
    return absl::StrCat(image.height, "x", image.width, "x", image.channels,
                        " (height x width x channels)");
  }

  absl::StatusOr<ImageSet> AsItIs(size_t file) {
    ImageSet image;
    CONVD_RETURN_IF_ERROR(tree_.Read(file, [&](std::string_view bytes) -> absl::Status {
      CONVD_ASSIGN_OR_RETURN(image, DecodeImage(bytes, tree_.Shown(file), limits_));
      return absl::OkStatus();
    }));
    return image;
  }

  FileTree& tree_;
  const DataLimits& limits_;
  bool resizes_ = false;
  size_t first_ = 0;
  ImageSet shape_;
};

// All splits together, before memory for any is asked for.
absl::Status CheckDatasetSize(const std::string& name, const ImageLayout& layout,
                              const ImageSet& shape, const DataLimits& limits) {
  int64_t left = limits.dataset_bytes;
  for (const ImageLayout::Split& split : layout.splits) {
    const int64_t count = static_cast<int64_t>(split.samples.size());
    CONVD_RETURN_IF_ERROR(CheckImageShape(absl::StrCat(name, ": split \"", split.name, "\""), count,
                                          shape.height, shape.width, shape.channels, limits));
    left -= count * (shape.image_bytes() + static_cast<int64_t>(sizeof(int32_t)));
    if (left < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": its images of ", ShapeText(shape),
                       " have more bytes of pixels and labels than the limit of ",
                       limits.dataset_bytes, "; a smaller image_size (--image-size) needs less"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckImageSize(const std::string& field, const ImageSize& size,
                            const DataLimits& limits) {
  if (!size.given()) return absl::OkStatus();
  for (const auto& [side, value] :
       {std::pair{".height", size.height}, std::pair{".width", size.width}}) {
    if (value < 1 || value > kMaxResizedSide) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, side, ": got ", value, "; want 1 to ", kMaxResizedSide));
    }
  }
  if (size.channels != 0 && size.channels != 1 && size.channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".channels: got ", size.channels,
                                                   "; want 1 (grey), 3 (RGB), or 0 for what fits"));
  }
  return CheckImageShape(field, 1, size.height, size.width, 3, limits);
}

absl::StatusOr<Dataset> ReadImageDataset(FileTree& tree, const std::string& name,
                                         const std::vector<std::string>& class_names,
                                         const ImageSize& size, const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(ImageLayout layout,
                         HasLabelLists(tree) ? LayOutByLists(tree, name, class_names, limits)
                                             : LayOutByFolders(tree, name, class_names, limits));
  Decoder decoder(tree, limits);
  CONVD_RETURN_IF_ERROR(decoder.ChooseShape(layout, size));
  CONVD_RETURN_IF_ERROR(CheckDatasetSize(name, layout, decoder.shape(), limits));
  Dataset dataset;
  dataset.labels = std::move(layout.classes);
  for (const ImageLayout::Split& split : layout.splits) {
    ImageSet images = decoder.shape();
    images.count = static_cast<int64_t>(split.samples.size());
    ImageStorage storage;
    CONVD_ASSIGN_OR_RETURN(
        storage.pixels,
        HeapArray<char>::Allocate(images.count * images.image_bytes(), name, limits.arrays));
    CONVD_ASSIGN_OR_RETURN(storage.labels,
                           HeapArray<int32_t>::Allocate(images.count, name, limits.arrays));
    for (int64_t i = 0; i < images.count; ++i) {
      const ImageLayout::Sample& sample = split.samples[static_cast<size_t>(i)];
      CONVD_RETURN_IF_ERROR(
          decoder.Decode(sample.file, storage.pixels.data() + i * images.image_bytes()));
      storage.labels[i] = sample.label;
    }
    dataset.splits.push_back({split.name, OwnImages(images, std::move(storage))});
  }
  return dataset;
}

}  // namespace convd
