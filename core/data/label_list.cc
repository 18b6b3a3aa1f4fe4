#include "core/data/label_list.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/data/csv.h"
#include "core/data/label_names.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr char kSuffix[] = ".csv";
constexpr char kAllSplits[] = "labels.csv";

struct LabelList {
  size_t file;
  std::string split;  // empty in labels.csv
};

// The folder that all of a tree's files are in, with its slash; empty where there is none.
std::string_view OneFolder(const std::vector<std::string>& paths) {
  if (paths.empty()) return {};
  const std::string_view top = std::string_view(paths[0]).substr(0, paths[0].find('/') + 1);
  const bool all = std::all_of(paths.begin(), paths.end(), [top](const std::string& path) {
    return std::string_view(path).substr(0, top.size()) == top;
  });
  return all ? top : std::string_view();
}

// The lists that lie in `folder` itself.
std::vector<LabelList> ListsIn(const std::vector<std::string>& paths, std::string_view folder) {
  std::vector<LabelList> lists;
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::string_view path = paths[i];
    if (path.substr(0, folder.size()) != folder) continue;
    const std::string_view name = path.substr(folder.size());
    if (name.find('/') != std::string_view::npos || !IsLabelListName(name)) continue;
    std::string stem = absl::AsciiStrToLower(absl::string_view(name.data(), name.size()));
    stem.resize(stem.size() - (sizeof(kSuffix) - 1));
    lists.push_back({i, stem == "labels" ? "" : stem});
  }
  return lists;
}

// The lists of a tree, and the folder that they are in.
std::vector<LabelList> FindLists(const FileTree& tree, std::string_view& folder) {
  folder = {};
  std::vector<LabelList> lists = ListsIn(tree.paths(), folder);
  if (!lists.empty()) return lists;
  folder = OneFolder(tree.paths());
  return ListsIn(tree.paths(), folder);
}

// A column that is called one of `names`; nothing where there is none.
absl::StatusOr<std::optional<size_t>> FindColumn(const std::string& list, const CsvRecord& header,
                                                 std::initializer_list<absl::string_view> names) {
  for (const absl::string_view name : names) {
    std::optional<size_t> found;
    for (size_t i = 0; i < header.fields.size(); ++i) {
      if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(header.fields[i]), name)) continue;
      if (found) {
        return absl::InvalidArgumentError(
            absl::StrCat(list, ": has two columns called \"", name, "\"; want one"));
      }
      found = i;
    }
    if (found) return found;
  }
  return std::optional<size_t>();
}

absl::StatusOr<size_t> WantColumn(const std::string& list, const CsvRecord& header,
                                  std::initializer_list<absl::string_view> names) {
  CONVD_ASSIGN_OR_RETURN(const std::optional<size_t> found, FindColumn(list, header, names));
  if (found) return *found;
  const size_t shown = std::min<size_t>(header.fields.size(), 10);
  const std::string has = absl::StrJoin(
      header.fields.begin(), header.fields.begin() + static_cast<std::ptrdiff_t>(shown), ", ",
      [](std::string* out, const std::string& field) {
        absl::StrAppend(out, absl::Utf8SafeCEscape(field.substr(0, 40)));
      });
  return absl::InvalidArgumentError(
      absl::StrCat(list, ": has no column \"", absl::StrJoin(names, "\", \""), "\"; its header is ",
                   has.empty() ? "empty" : has, header.fields.size() > shown ? ", ..." : ""));
}

// Takes in lists, one after another.
class Lists {
 public:
  Lists(FileTree& tree, std::string_view folder, const DataLimits& limits)
      : tree_(tree), folder_(folder), limits_(limits) {}

  absl::Status Read(const LabelList& list) {
    const std::string name = tree_.Shown(list.file);
    std::optional<Columns> columns;
    CONVD_RETURN_IF_ERROR(tree_.Read(list.file, [&](std::string_view bytes) {
      return ReadCsv(bytes, name, [&](const CsvRecord& record) -> absl::Status {
        if (columns) return Take(name, list, *columns, record);
        CONVD_ASSIGN_OR_RETURN(columns, FindColumns(name, list, record));
        return absl::OkStatus();
      });
    }));
    if (columns) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is empty; want a header with the columns file and label"));
  }

  std::vector<LabelledFile> TakeFiles() { return std::move(files_); }

 private:
  // Where a file is named.
  struct Place {
    size_t list;
    int64_t line;
  };
  struct Columns {
    size_t file = 0;
    size_t label = 0;
    std::optional<size_t> split;
    std::vector<std::string> names;  // as they are written
  };

  static absl::StatusOr<Columns> FindColumns(const std::string& name, const LabelList& list,
                                             const CsvRecord& header) {
    Columns columns;
    CONVD_ASSIGN_OR_RETURN(columns.file,
                           WantColumn(name, header, {"file", "filename", "image", "path", "id"}));
    CONVD_ASSIGN_OR_RETURN(columns.label, WantColumn(name, header, {"label", "class", "category"}));
    CONVD_ASSIGN_OR_RETURN(columns.split, FindColumn(name, header, {"split"}));
    if (columns.split && !list.split.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": has a column \"split\", but its name says already that all is \"",
                       list.split, "\"; want the column in ", kAllSplits));
    }
    for (const std::string& field : header.fields) {
      columns.names.push_back(absl::Utf8SafeCEscape(field.substr(0, 40)));
    }
    return columns;
  }

  absl::Status Take(const std::string& name, const LabelList& list, const Columns& columns,
                    const CsvRecord& record) {
    const auto where = [&](size_t column) {
      return absl::StrCat(name, ": line ", record.line, ", column \"", columns.names[column],
                          "\": ");
    };
    const auto quoted = [](const std::string& text) {
      return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, 200)), "\"");
    };
    const std::string& file = record.fields[columns.file];
    const std::string path =
        std::string(folder_) + std::string(absl::StripPrefix(absl::string_view(file), "./"));
    const std::vector<std::string>& paths = tree_.paths();
    const auto place = std::lower_bound(paths.begin(), paths.end(), path);
    if (place == paths.end() || *place != path) {
      return absl::NotFoundError(
          absl::StrCat(where(columns.file), "there is no file ", quoted(file),
                       "; want images by their paths from the folder that the list is in"));
    }
    const size_t index = static_cast<size_t>(place - paths.begin());
    const auto [first, is_new] = named_.emplace(index, Place{list.file, record.line});
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat(where(columns.file), quoted(file), " is named twice, first in ",
                       tree_.Shown(first->second.list), ", line ", first->second.line));
    }
    LabelledFile labelled{index, "train", {}};
    CONVD_ASSIGN_OR_RETURN(labelled.label,
                           TakeLabel(where(columns.label), record.fields[columns.label]));
    if (!list.split.empty()) labelled.split = list.split;
    if (columns.split) {
      const std::string& split = record.fields[*columns.split];
      if (splits_.count(split) == 0) {
        CONVD_RETURN_IF_ERROR(CheckName(absl::StrCat(name, ": line ", record.line, ", column \"",
                                                     columns.names[*columns.split], "\""),
                                        split));
        if (static_cast<int64_t>(splits_.size()) >= 8 * limits_.splits) {
          return absl::InvalidArgumentError(absl::StrCat(
              where(*columns.split), "is one of more than ", limits_.splits, " splits"));
        }
      }
      labelled.split = *splits_.insert(split).first;
    }
    files_.push_back(labelled);
    return absl::OkStatus();
  }

  // The label as it is kept here.
  absl::StatusOr<std::string_view> TakeLabel(const std::string& where, const std::string& label) {
    const auto there = labels_.find(label);
    if (there != labels_.end()) return *there;
    // Begins as the others do: with where, and no field.
    CONVD_RETURN_IF_ERROR(CheckLabelNames(where.substr(0, where.size() - 2), {label}, limits_));
    if (static_cast<int64_t>(labels_.size()) >= limits_.classes) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "is one of more classes than the limit of ", limits_.classes));
    }
    return *labels_.insert(label).first;
  }

  FileTree& tree_;
  const std::string_view folder_;
  const DataLimits& limits_;
  std::set<std::string> labels_;
  std::set<std::string> splits_;
  std::map<size_t, Place> named_;  // by file
  std::vector<LabelledFile> files_;
};

}  // namespace

bool IsLabelListName(std::string_view file_name) {
  const absl::string_view name(file_name.data(), file_name.size());
  if (absl::EqualsIgnoreCase(name, kAllSplits)) return true;
  return absl::EndsWithIgnoreCase(name, kSuffix) &&
         IsSplitName(file_name.substr(0, file_name.size() - (sizeof(kSuffix) - 1)));
}

bool HasLabelLists(const FileTree& tree) {
  std::string_view folder;
  return !FindLists(tree, folder).empty();
}

absl::StatusOr<ImageLayout> LayOutByLists(FileTree& tree, const std::string& tree_name,
                                          const std::vector<std::string>& class_names,
                                          const DataLimits& limits) {
  std::string_view folder;
  const std::vector<LabelList> found = FindLists(tree, folder);
  for (size_t i = 1; i < found.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (found[i].split != found[k].split && !found[i].split.empty() && !found[k].split.empty()) {
        continue;
      }
      return absl::InvalidArgumentError(absl::StrCat(tree.Shown(found[i].file), ": lies beside ",
                                                     tree.Shown(found[k].file), "; want ",
                                                     kAllSplits, ", or one list a split"));
    }
  }
  Lists lists(tree, folder, limits);
  for (const LabelList& list : found) CONVD_RETURN_IF_ERROR(lists.Read(list));
  return AssembleLayout(tree, tree_name, lists.TakeFiles(), /*numbers=*/true, class_names, limits);
}

}  // namespace convd
