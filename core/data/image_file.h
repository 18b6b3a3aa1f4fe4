#ifndef CONVD_CORE_DATA_IMAGE_FILE_H_
#define CONVD_CORE_DATA_IMAGE_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

// A file that holds many images.
enum class ImageFileKind { kIdx, kCifar10, kCifar100, kNpz };

// What the bytes, plain or gzip, say; names play no part. INVALID_ARGUMENT says what else it is.
// Any thread may call.
absl::StatusOr<ImageFileKind> DetectImageFile(std::string_view bytes, const std::string& name,
                                              const DataLimits& limits = {});

// A file's bytes with the name it has in messages. Points to both.
struct NamedBytes {
  std::string_view bytes;
  const std::string& name;
};

// Images of any of these kinds. `labels` is a file of IDX labels for IDX images, which are
// unlabelled where it is null; the other kinds hold their own labels, and refuse others. `split` is
// for npz files that name several. Errors are the readers' (idx.h, cifar.h, npz.h). The result
// owns its data. Any thread may call.
absl::StatusOr<ImageSet> ReadImageFile(const NamedBytes& images, const NamedBytes* labels,
                                       const DataLimits& limits = {}, std::string_view split = "");

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_FILE_H_
