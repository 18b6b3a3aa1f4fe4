#ifndef CONVD_TESTS_CORE_DATA_MEMORY_TREE_H_
#define CONVD_TESTS_CORE_DATA_MEMORY_TREE_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/data/file_tree.h"
#include "core/data/image_layout.h"

namespace convd {

// Files by path.
class MemoryTree final : public FileTree {
 public:
  explicit MemoryTree(std::map<std::string, std::string> files) : files_(std::move(files)) {
    for (const auto& [path, bytes] : files_) paths_.push_back(path);
  }
  absl::Status Read(size_t i, Use use) override { return use(files_[paths_[i]]); }

 private:
  std::map<std::string, std::string> files_;
};

inline MemoryTree EmptyFiles(const std::vector<std::string>& paths) {
  std::map<std::string, std::string> files;
  for (const std::string& path : paths) files[path];
  return MemoryTree(std::move(files));
}

// "train: a/1.png=0 a/2.png=1", one a split.
inline std::vector<std::string> LayoutText(const FileTree& tree, const ImageLayout& layout) {
  std::vector<std::string> lines;
  for (const ImageLayout::Split& split : layout.splits) {
    std::string& line = lines.emplace_back(split.name + ":");
    for (const ImageLayout::Sample& sample : split.samples) {
      line += " " + tree.paths()[sample.file] + "=" + std::to_string(sample.label);
    }
  }
  return lines;
}

}  // namespace convd

#endif  // CONVD_TESTS_CORE_DATA_MEMORY_TREE_H_
