#include "server/models/model_list.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/page.h"

namespace convd {
namespace {

std::string PageToken(const v1::ModelVersion& last) {
  return absl::WebSafeBase64Escape(absl::StrCat(last.name(), "/", last.version()));
}

absl::StatusOr<v1::ModelVersion> ParsePageToken(const std::string& token) {
  std::string text;
  v1::ModelVersion last;
  int64_t number = 0;
  // A token is 88 bytes at most; whatever is longer isn't worth decoding.
  if (token.size() <= 128 && absl::WebSafeBase64Unescape(token, &text)) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
    if (CheckName("name", parts.first).ok() && absl::SimpleAtoi(parts.second, &number) &&
        number > 0) {
      last.set_name(parts.first);
      last.set_version(number);
      return last;
    }
  }
  return UnknownPageToken();
}

// Name by name, the newest version first.
bool Before(const v1::ModelVersion& a, const v1::ModelVersion& b) {
  return a.name() != b.name() ? a.name() < b.name() : a.version() > b.version();
}

// What a list is read for stays: who, when, and how good.
void LeaveOutDetails(v1::Model& model) {
  model.clear_summary();
  model.mutable_card()->clear_history();
  model.mutable_card()->clear_quantization();
  const auto leave_out = [](v1::Metrics& metrics) {
    metrics.clear_classes();
    metrics.clear_confusion();
  };
  if (model.card().has_validation()) leave_out(*model.mutable_card()->mutable_validation());
  for (v1::Evaluation& evaluation : *model.mutable_evaluations()) {
    if (evaluation.has_metrics()) leave_out(*evaluation.mutable_metrics());
  }
}

}  // namespace

absl::Status ListModels(ModelRepository& models, const v1::ListModelsRequest& request,
                        v1::ListModelsResponse& response) {
  if (!request.name().empty()) CONVD_RETURN_IF_ERROR(CheckName("name", request.name()));
  CONVD_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  const std::vector<v1::ModelVersion> versions = models.Versions(request.name());
  auto next = versions.begin();
  if (!request.page_token().empty()) {
    CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion last, ParsePageToken(request.page_token()));
    next = std::upper_bound(versions.begin(), versions.end(), last, Before);
  }
  size_t bytes = 0;
  const v1::ModelVersion* shown = nullptr;
  for (; next != versions.end() && response.models_size() < page_size; ++next) {
    absl::StatusOr<v1::Model> model = models.Get(*next);
    if (!model.ok()) continue;  // found damaged since
    LeaveOutDetails(*model);
    bytes += model->ByteSizeLong();
    if (bytes > kPageBytes && response.models_size() > 0) break;
    *response.add_models() = *std::move(model);
    shown = &*next;
  }
  if (next != versions.end() && shown != nullptr) response.set_next_page_token(PageToken(*shown));
  if (!request.page_token().empty()) return absl::OkStatus();
  for (v1::Model& damaged : models.Damaged(request.name())) {
    *response.add_damaged() = std::move(damaged);
  }
  return absl::OkStatus();
}

absl::Status GetModel(ModelRepository& models, const v1::GetModelRequest& request,
                      v1::Model& response) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(request.model()));
  CONVD_ASSIGN_OR_RETURN(response, models.Get(request.model()));
  return absl::OkStatus();
}

}  // namespace convd
