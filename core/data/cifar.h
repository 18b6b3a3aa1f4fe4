#ifndef CONVD_CORE_DATA_CIFAR_H_
#define CONVD_CORE_DATA_CIFAR_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

// The binary versions of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html):
// records of labels and 32x32 pixels as three planes, red, green, blue; here with channels
// innermost. CIFAR-10's have one label, 0 to 9. CIFAR-100's have two, a coarse one of 0 to 19 and a
// fine one of 0 to 99; the fine one is the image's.
constexpr int kCifarPixelBytes = 3 * 32 * 32;
constexpr int kCifar10RecordBytes = 1 + kCifarPixelBytes;
constexpr int kCifar100RecordBytes = 2 + kCifarPixelBytes;

// The files have no magic. Which of the two has whole records of these bytes, which aren't gzip; of
// a size that both have, CIFAR-10 where each record has a label of its. Any thread may call.
enum class CifarKind { kNone, kCifar10, kCifar100 };
CifarKind DetectCifar(std::string_view bytes);

// Files of either, plain or gzip. INVALID_ARGUMENT where the file isn't whole records, or a label
// is beyond the largest (with the record's number, from 0). The result owns its data. Any thread
// may call.
absl::StatusOr<ImageSet> ReadCifar10(std::string_view bytes, const std::string& name,
                                     const DataLimits& limits = {});
absl::StatusOr<ImageSet> ReadCifar100(std::string_view bytes, const std::string& name,
                                      const DataLimits& limits = {});

// batches.meta.txt or fine_label_names.txt: a class name a line, empty lines at the end left out.
absl::StatusOr<std::vector<std::string>> ReadLabelNames(std::string_view bytes,
                                                        const std::string& name,
                                                        const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_CIFAR_H_
