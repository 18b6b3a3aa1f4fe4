#ifndef CONVD_CORE_DATA_LABEL_LIST_H_
#define CONVD_CORE_DATA_LABEL_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/file_tree.h"
#include "core/data/image_layout.h"
#include "core/data/limits.h"

namespace convd {

// True for labels.csv, and for train.csv and the like (IsSplitName), in any case.
bool IsLabelListName(std::string_view file_name);

// Whether there are such lists at the tree's top, or in the one folder that all its files are in.
bool HasLabelLists(const FileTree& tree);

// By CSV lists with a header, of which these columns matter, called so in any case, the first of
// each that is there:
//   file, filename, image, path or id    an image, relative to the list's folder
//   label, class or category             its class
//   split                                in labels.csv only; else it is "train"
// In train.csv and the like the split is the list's name. Labels are classes' names, or numbers
// where all are whole numbers. Files that no line names are left out.
//
// INVALID_ARGUMENT, or NOT_FOUND where an image isn't there, begins with list, line and column.
// REQUIRES: HasLabelLists(tree). Any thread may call, one at a time a tree.
absl::StatusOr<ImageLayout> LayOutByLists(FileTree& tree, const std::string& tree_name,
                                          const std::vector<std::string>& class_names,
                                          const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_LABEL_LIST_H_
