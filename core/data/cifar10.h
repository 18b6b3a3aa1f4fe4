#ifndef CONVD_CORE_DATA_CIFAR10_H_
#define CONVD_CORE_DATA_CIFAR10_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

constexpr int kCifar10RecordBytes = 1 + 3 * 32 * 32;

// A batch of CIFAR-10's binary version: records of a label (0 to 9) and 32x32 pixels as three
// planes, red, green, blue (https://www.cs.toronto.edu/~kriz/cifar.html); here with channels
// innermost. Plain or gzip. INVALID_ARGUMENT where the file isn't whole records, or a label is
// beyond 9 (with the record's number, from 0). The result owns its data. Any thread may call.
absl::StatusOr<ImageSet> ReadCifar10(std::string_view bytes, const std::string& name,
                                     const DataLimits& limits = {});

// batches.meta.txt: a class name a line, empty lines at the end left out.
absl::StatusOr<std::vector<std::string>> ReadLabelNames(std::string_view bytes,
                                                        const std::string& name,
                                                        const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_CIFAR10_H_
