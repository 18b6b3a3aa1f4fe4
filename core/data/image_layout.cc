#include "core/data/image_layout.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/data/label_names.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// A whole number as one is written: no sign, no zeros before it.
bool IsWholeNumber(std::string_view text) {
  return !text.empty() && (text[0] != '0' || text.size() == 1) &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

absl::string_view TopFolder(std::string_view path) { return View(path.substr(0, path.find('/'))); }

int Folders(std::string_view path) {
  return static_cast<int>(std::count(path.begin(), path.end(), '/'));
}

// The bytes of the folder around all classes or splits, with its slash; 0 where there is none.
size_t WrapperBytes(const std::vector<std::string>& paths) {
  if (paths.empty()) return 0;
  const absl::string_view top = TopFolder(paths[0]);
  if (IsSplitName({top.data(), top.size()})) return 0;
  for (const std::string& path : paths) {
    if (TopFolder(path) != top || Folders(path) < 2) return 0;
  }
  return top.size() + 1;
}

// Where a number that is a label stands among the classes.
absl::StatusOr<std::vector<std::string>> NumberClasses(const std::string& tree_name,
                                                       const std::set<std::string_view>& labels,
                                                       const DataLimits& limits) {
  int64_t largest = 0;
  for (const std::string_view label : labels) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(View(label), &value) || value >= limits.classes) {
      return absl::InvalidArgumentError(
          absl::StrCat(tree_name, ": all labels are whole numbers, and one is ",
                       View(label.substr(0, 40)), "; want 0 to ", limits.classes - 1));
    }
    largest = std::max(largest, value);
  }
  std::vector<std::string> classes;
  for (int64_t i = 0; i <= largest; ++i) classes.push_back(absl::StrCat(i));
  return classes;
}

// Spreads each class evenly over the split, so that its last samples, which may be held out for
// validation, are of all classes as the whole is: sample k of a class of n stands at (k + 1/2) / n.
// REQUIRES: the samples are in their files' order.
void MixClasses(std::vector<ImageLayout::Sample>& samples) {
  std::map<int32_t, int64_t> sizes;
  for (const ImageLayout::Sample& sample : samples) ++sizes[sample.label];
  struct Placed {
    ImageLayout::Sample sample;
    int64_t numerator, denominator;
  };
  std::vector<Placed> placed;
  placed.reserve(samples.size());
  std::map<int32_t, int64_t> seen;
  for (const ImageLayout::Sample& sample : samples) {
    placed.push_back({sample, 2 * seen[sample.label]++ + 1, 2 * sizes[sample.label]});
  }
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return a.numerator * b.denominator < b.numerator * a.denominator;
  });
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = placed[i].sample;
}

}  // namespace

bool IsSplitName(std::string_view name) {
  for (const char* split : {"train", "test", "val", "validation", "valid"}) {
    if (absl::EqualsIgnoreCase(View(name), split)) return true;
  }
  return false;
}

absl::StatusOr<ImageLayout> AssembleLayout(const FileTree& tree, const std::string& tree_name,
                                           std::vector<LabelledFile> files, bool numbers,
                                           const std::vector<std::string>& class_names,
                                           const DataLimits& limits) {
  if (files.empty()) return absl::NotFoundError(absl::StrCat(tree_name, ": holds no images"));
  ImageLayout layout;
  std::set<std::string_view> labels;
  for (const LabelledFile& file : files) {
    labels.insert(file.label);
    if (static_cast<int64_t>(labels.size()) > limits.classes) {
      return absl::InvalidArgumentError(
          absl::StrCat(tree_name, ": has more classes than the limit of ", limits.classes));
    }
  }
  numbers = numbers && std::all_of(labels.begin(), labels.end(), IsWholeNumber);
  std::vector<std::string> names;  // what labels are called, by index
  if (numbers) {
    CONVD_ASSIGN_OR_RETURN(names, NumberClasses(tree_name, labels, limits));
  } else {
    names = class_names;
    if (names.empty()) names.assign(labels.begin(), labels.end());
  }
  layout.classes = class_names.empty() ? names : class_names;
  CONVD_RETURN_IF_ERROR(
      CheckLabelNames(class_names.empty() ? tree_name : "labels", layout.classes, limits));
  std::map<std::string_view, int32_t> indices;
  for (size_t i = 0; i < std::min(names.size(), layout.classes.size()); ++i) {
    indices.emplace(names[i], static_cast<int32_t>(i));
  }

  std::sort(files.begin(), files.end(),
            [](const LabelledFile& a, const LabelledFile& b) { return a.file < b.file; });
  std::map<std::string, ImageLayout::Split> splits;
  for (const LabelledFile& file : files) {
    const auto index = indices.find(file.label);
    if (index == indices.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          tree.Shown(file.file), ": is of class \"",
          absl::Utf8SafeCEscape(View(file.label.substr(0, 80))), "\"; want ",
          numbers ? absl::StrCat("0 to ", layout.classes.size() - 1, ", as many as `labels` names")
                  : "one that `labels` names"));
    }
    ImageLayout::Split& split = splits[absl::AsciiStrToLower(View(file.split))];
    split.samples.push_back({file.file, index->second});
    if (static_cast<int64_t>(splits.size()) > limits.splits) {
      return absl::InvalidArgumentError(absl::StrCat(tree_name, ": has more than ", limits.splits,
                                                     " splits; want at most as many"));
    }
  }
  for (auto& [name, split] : splits) {
    CONVD_RETURN_IF_ERROR(CheckName(absl::StrCat(tree_name, ": a split"), name));
    split.name = name;
    MixClasses(split.samples);
    const auto place = name == "train" ? layout.splits.begin() : layout.splits.end();
    layout.splits.insert(place, std::move(split));
  }
  return layout;
}

absl::StatusOr<ImageLayout> LayOutByFolders(const FileTree& tree, const std::string& tree_name,
                                            const std::vector<std::string>& class_names,
                                            const DataLimits& limits) {
  const std::vector<std::string>& paths = tree.paths();
  const size_t skipped = WrapperBytes(paths);
  std::set<absl::string_view> tops;
  for (const std::string& path : paths) {
    const std::string_view inside = std::string_view(path).substr(skipped);
    if (Folders(inside) > 0) tops.insert(TopFolder(inside));
  }
  const bool splits = !tops.empty() && std::all_of(tops.begin(), tops.end(), [](auto top) {
    return IsSplitName({top.data(), top.size()});
  });
  std::map<std::string, absl::string_view> split_folders;
  for (const absl::string_view top : tops) {
    if (!splits) break;
    const auto [other, is_new] = split_folders.emplace(absl::AsciiStrToLower(top), top);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(tree_name, ": has both ", other->second,
                                                     " and ", top, ", which are one split"));
    }
  }
  std::vector<LabelledFile> files;
  files.reserve(paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    std::string_view inside = std::string_view(paths[i]).substr(skipped);
    if (Folders(inside) != (splits ? 2 : 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat(tree.Shown(i), ": lies ",
                       Folders(inside) < (splits ? 2 : 1) ? "beside the classes' folders"
                                                          : "in a folder below a class's",
                       "; want ", splits ? "SPLIT/CLASS/FILE" : "CLASS/FILE or SPLIT/CLASS/FILE",
                       " and no other files"));
    }
    LabelledFile file{i, "train", {}};
    if (splits) {
      file.split = inside.substr(0, inside.find('/'));
      inside.remove_prefix(file.split.size() + 1);
    }
    file.label = inside.substr(0, inside.find('/'));
    files.push_back(file);
  }
  return AssembleLayout(tree, tree_name, std::move(files), /*numbers=*/false, class_names, limits);
}

}  // namespace convd
