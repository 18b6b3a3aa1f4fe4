#ifndef CONVD_CLIENT_CONVCTL_SPLIT_FILES_H_
#define CONVD_CLIENT_CONVCTL_SPLIT_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/datasets.pb.h"

namespace convd {

// Which files make which split, from --images and --labels values: FILE or SPLIT=FILE, without a
// split "train". Splits in the order in which they are first named. A usage error (exit_code.h) for
// labels without images, an empty split or an empty file.
absl::StatusOr<std::vector<v1::SplitFiles>> BuildSplitFiles(const std::vector<std::string>& images,
                                                            const std::vector<std::string>& labels);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_SPLIT_FILES_H_
