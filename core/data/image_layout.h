#ifndef CONVD_CORE_DATA_IMAGE_LAYOUT_H_
#define CONVD_CORE_DATA_IMAGE_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/file_tree.h"
#include "core/data/limits.h"

namespace convd {

// Which files of a tree are the images of a split, and of which class each is.
struct ImageLayout {
  struct Sample {
    size_t file;  // of FileTree::paths()
    int32_t label;
  };
  struct Split {
    std::string name;
    // Each class's in byte order of their paths, and spread evenly over the split; at least one.
    std::vector<Sample> samples;
  };
  std::vector<std::string> classes;
  std::vector<Split> splits;  // train first, then in byte order
};

// A file with the class and split that something says it has.
struct LabelledFile {
  size_t file;
  std::string_view split;
  std::string_view label;
};

// The layout of `files`. Classes are those of `class_names`, in its order, else all labels in byte
// order; where all are whole numbers and `numbers` says that this counts, "0" to the largest, or
// indices into `class_names`. INVALID_ARGUMENT names `tree_name`, or the file whose label isn't
// among `class_names`; NOT_FOUND where there are no files. REQUIRES: each file once. Any thread may
// call.
absl::StatusOr<ImageLayout> AssembleLayout(const FileTree& tree, const std::string& tree_name,
                                           std::vector<LabelledFile> files, bool numbers,
                                           const std::vector<std::string>& class_names,
                                           const DataLimits& limits);

// By folders: CLASS/FILE, split "train"; or SPLIT/CLASS/FILE where each folder at the top is called
// train, test, val, validation or valid, in any case. One folder around all of that doesn't count.
// INVALID_ARGUMENT names the file that lies elsewhere. Any thread may call.
absl::StatusOr<ImageLayout> LayOutByFolders(const FileTree& tree, const std::string& tree_name,
                                            const std::vector<std::string>& class_names,
                                            const DataLimits& limits);

// True for the names that make a folder a split, or with .csv a file its list.
bool IsSplitName(std::string_view name);

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_LAYOUT_H_
