#ifndef CONVD_CLIENT_CONVCTL_IMAGE_FOLDER_H_
#define CONVD_CLIENT_CONVCTL_IMAGE_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace convd {

// A file of a folder, or why there is no reading it.
struct FolderImage {
  std::string path;  // FOLDER/SUBFOLDER/FILE
  std::string error;
};

// All files named *.png, *.jpg or *.jpeg (in any case) in `folder` and the folders in it, each
// folder's by their names' bytes. Links are followed, but for those to a folder they lie in; what
// begins with a dot is left out. A folder that can't be read, a link that leads nowhere or in a
// circle and what is no regular file have an error. A usage error (exit_code.h) where `folder` is
// none, can't be read, or has no such files or too many.
absl::StatusOr<std::vector<FolderImage>> FindImages(const std::string& folder);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_IMAGE_FOLDER_H_
