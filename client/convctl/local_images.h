#ifndef CONVD_CLIENT_CONVCTL_LOCAL_IMAGES_H_
#define CONVD_CLIENT_CONVCTL_LOCAL_IMAGES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/convctl/image_drawing.h"
#include "convd/v1/images.pb.h"
#include "core/data/dataset.h"
#include "core/data/image_decode.h"

namespace convd {

// All images of a local IDX, CIFAR or npz file, plain or gzip (of an npz that names splits,
// "test"). Labels come from `labels_path` for IDX ("": none) and from the file itself for the
// others. A usage error (exit_code.h) names the file.
absl::StatusOr<ImageSet> ReadLocalImages(const std::string& path, const std::string& labels_path);

// Those of them with `indices` (from 0), in that order. A usage error names the file, or the index
// and how many images there are.
absl::StatusOr<ImageSet> ReadChosenImages(const std::string& path, const std::string& labels_path,
                                          const std::vector<int64_t>& indices);

// The same images as a request holds them.
v1::Images RawImagesOf(const ImageSet& images);

// The other way round, for what a server sent. Points to it. INVALID_ARGUMENT where they are
// encoded or their size isn't what it says.
absl::StatusOr<ImageSet> ImagesOf(const v1::Images& images);

// A PNG or JPEG file's pixels as the server will give them to a model that takes `to`, for drawing.
// A usage error names the file.
absl::StatusOr<ImageSet> DecodeImageFile(std::string_view data, const std::string& path,
                                         const ImageConversion& to);

// Image `i` as it can be drawn: f32 pixels (0 to 255) are rounded into `buffer`, which the result
// points to.
PixelImage Drawable(const ImageSet& images, int64_t i, std::vector<uint8_t>& buffer);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_LOCAL_IMAGES_H_
