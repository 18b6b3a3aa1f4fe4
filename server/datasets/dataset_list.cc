#include "server/datasets/dataset_list.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/page.h"

namespace convd {
namespace {

absl::StatusOr<std::string> ParsePageToken(const std::string& token) {
  std::string name;
  // A token is 88 bytes at most; whatever is longer isn't worth decoding.
  if (token.size() <= 128 && absl::WebSafeBase64Unescape(token, &name) &&
      CheckName("name", name).ok()) {
    return name;
  }
  return UnknownPageToken();
}

}  // namespace

absl::Status ListDatasets(DatasetRegistry& datasets, const v1::ListDatasetsRequest& request,
                          v1::ListDatasetsResponse& response) {
  CONVD_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  std::string after;
  if (!request.page_token().empty()) {
    CONVD_ASSIGN_OR_RETURN(after, ParsePageToken(request.page_token()));
  }
  size_t bytes = 0;
  for (v1::Dataset& dataset : datasets.List()) {
    if (dataset.name() <= after) continue;
    bytes += dataset.ByteSizeLong();
    const int shown = response.datasets_size();
    if (shown == page_size || (bytes > kPageBytes && shown > 0)) {
      response.set_next_page_token(absl::WebSafeBase64Escape(response.datasets(shown - 1).name()));
      break;
    }
    *response.add_datasets() = std::move(dataset);
  }
  return absl::OkStatus();
}

absl::Status GetDataset(DatasetRegistry& datasets, const v1::GetDatasetRequest& request,
                        v1::Dataset& response) {
  CONVD_RETURN_IF_ERROR(CheckName("name", request.name()));
  CONVD_ASSIGN_OR_RETURN(response, datasets.Get(request.name()));
  return absl::OkStatus();
}

}  // namespace convd
