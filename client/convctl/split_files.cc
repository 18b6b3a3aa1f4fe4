#include "client/convctl/split_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::StatusOr<std::pair<std::string, std::string>> SplitAndFile(const std::string& flag,
                                                                 const std::string& value) {
  const size_t equals = value.find('=');
  std::string split = equals == std::string::npos ? "train" : value.substr(0, equals);
  std::string file = equals == std::string::npos ? value : value.substr(equals + 1);
  if (split.empty() || file.empty()) {
    return UsageError(absl::StrCat(flag, " ", value, ": write FILE or SPLIT=FILE"));
  }
  return std::make_pair(std::move(split), std::move(file));
}

v1::SplitFiles& Find(std::vector<v1::SplitFiles>& splits, const std::string& name) {
  for (v1::SplitFiles& split : splits) {
    if (split.split() == name) return split;
  }
  splits.emplace_back().set_split(name);
  return splits.back();
}

}  // namespace

absl::StatusOr<std::vector<v1::SplitFiles>> BuildSplitFiles(
    const std::vector<std::string>& images, const std::vector<std::string>& labels) {
  std::vector<v1::SplitFiles> splits;
  for (const std::string& value : images) {
    CONVD_ASSIGN_OR_RETURN(const auto parts, SplitAndFile("--images", value));
    Find(splits, parts.first).add_images(parts.second);
  }
  for (const std::string& value : labels) {
    CONVD_ASSIGN_OR_RETURN(const auto parts, SplitAndFile("--labels", value));
    Find(splits, parts.first).add_labels(parts.second);
  }
  for (const v1::SplitFiles& split : splits) {
    if (split.images().empty()) {
      return UsageError(absl::StrCat("split ", split.split(),
                                     " has --labels but no --images; name its images too"));
    }
  }
  return splits;
}

}  // namespace convd
