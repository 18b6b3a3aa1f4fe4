#ifndef CONVD_SERVER_PREDICT_REQUEST_IMAGES_H_
#define CONVD_SERVER_PREDICT_REQUEST_IMAGES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "convd/v1/images.pb.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"
#include "core/nn/graph.h"

namespace convd {

// The images of a Predict or Evaluate request, checked against what a model takes. Pixels stay in
// the request's own bytes as long as they can: raw ones are never copied (f32 ones are, once, where
// they don't lie on a multiple of four), encoded ones are decoded when they are read. Immutable;
// any thread may call. A plain value: copies share the pixels.
class RequestImages {
 public:
  // Checks kind, count (1 to `max_images`), shape and sizes, and copies no pixels but misaligned
  // ones. INVALID_ARGUMENT names the field, what was found and what would be right; nothing is
  // allocated before it is known to be bounded. `files` are the limits of each PNG or JPEG file.
  // `images` outlives this, or `owner` keeps it alive.
  static absl::StatusOr<RequestImages> Create(const v1::Images& images, Shape shape,
                                              int64_t max_images, const DataLimits& files = {},
                                              std::shared_ptr<const void> owner = nullptr);

  // The same of pixels that another protocol brought: `count` images of `got`, as `bytes`. `field`
  // names them in errors, as "inputs[0]" does. `held` is what the request takes of memory for them,
  // where that isn't `bytes` itself.
  static absl::StatusOr<RequestImages> FromPixels(absl::string_view field, ElementType type,
                                                  int64_t count, Shape got, absl::string_view bytes,
                                                  Shape shape, int64_t max_images,
                                                  std::shared_ptr<const void> owner = nullptr,
                                                  int64_t held = 0);

  // The same of images that are here already, such as a dataset's; a request brings no bytes of
  // them.
  static absl::StatusOr<RequestImages> FromSet(absl::string_view field, ImageSet images,
                                               Shape shape);

  int64_t count() const { return count_; }
  // Of the pixels or files, as the request holds them.
  int64_t request_bytes() const { return request_bytes_; }
  // REQUIRES: they are files, and `i` is one of them.
  int64_t file_bytes(int64_t i) const {
    return static_cast<int64_t>(encoded_->files(static_cast<int>(i)).size());
  }
  // All of them where they are pixels, not checked to be finite; null where they are files.
  const ImageSet* pixels() const { return encoded_ == nullptr ? &raw_ : nullptr; }
  // INVALID_ARGUMENT where one of `images`, which are this one's from `first` on, is not finite.
  absl::Status CheckPixels(const ImageSet& images, int64_t first) const;
  // Size of `n` images as Read returns them.
  int64_t bytes(int64_t n) const;

  // Images [begin, begin + n): decoded, f32 ones checked to be finite. INVALID_ARGUMENT names the
  // image, RESOURCE_EXHAUSTED what there is no memory for. `still_wanted` is asked before each file
  // is decoded, and its error returned: a photo takes a tenth of a second. REQUIRES: 0 <= begin, 0
  // <= n, begin + n <= count().
  absl::StatusOr<ImageSet> Read(int64_t begin, int64_t n,
                                absl::FunctionRef<absl::Status()> still_wanted) const;

 private:
  RequestImages() = default;

  int64_t count_ = 0;
  int64_t request_bytes_ = 0;
  std::string field_;  // of f32 pixels
  ImageSet raw_;       // of uint8 and f32 requests
  Shape shape_;
  const v1::EncodedImages* encoded_ = nullptr;  // else the files
  DataLimits file_limits_;
  std::shared_ptr<const void> owner_;
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_REQUEST_IMAGES_H_
