#include "server/http/predict_body.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/http/message_json.h"
#include "server/http/query.h"

namespace convd {
namespace {

absl::Status ReadBody(std::string& body, v1::PredictRequest& request) {
  if (IsImageFile(body)) {
    *request.mutable_images()->mutable_encoded()->add_files() = std::move(body);
    return absl::OkStatus();
  }
  if (!absl::StartsWith(absl::StripLeadingAsciiWhitespace(body), "{")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "body: ", body.empty() ? "empty" : "neither a PNG or JPEG file nor a JSON object",
        "; want an image file (curl --data-binary @FILE), or JSON such as {\"images\": "
        "{\"encoded\": {\"files\": [\"BASE64\"]}}}"));
  }
  CONVD_RETURN_IF_ERROR(ParseJson(body, request));
  // Its bytes are in the request now, decoded.
  body = std::string();
  if (!request.has_model()) return absl::OkStatus();
  return absl::InvalidArgumentError("model: the path names it; leave it out of the body");
}

absl::Status ReadPrecision(absl::string_view text, v1::PredictRequest& request) {
  if (text.empty()) return absl::OkStatus();
  v1::Precision precision;
  if (text.size() > 16 ||
      !v1::Precision_Parse(absl::StrCat("PRECISION_", absl::AsciiStrToUpper(text)), &precision) ||
      precision == v1::PRECISION_UNSPECIFIED) {
    return absl::InvalidArgumentError(absl::StrCat(
        "precision: got \"", absl::CEscape(text.substr(0, 100)), "\"; want f32, bf16 or int8"));
  }
  request.set_precision(precision);
  return absl::OkStatus();
}

}  // namespace

bool IsImageFile(absl::string_view body) {
  return absl::StartsWith(body, "\x89PNG\r\n\x1a\n") || absl::StartsWith(body, "\xff\xd8\xff");
}

absl::Status ReadModelVersion(const HttpRequest& http, v1::ModelVersion& version) {
  version.set_name(std::string(Find(http.path_values, "name")));
  const absl::string_view number = Find(http.path_values, "version");
  const absl::string_view label = Find(http.query, "label");
  if (!label.empty()) version.set_label(std::string(label));
  if (number.empty()) return absl::OkStatus();
  int64_t n = 0;
  if (!absl::SimpleAtoi(number, &n) || n < 1) {
    return absl::InvalidArgumentError(absl::StrCat("version: got \"",
                                                   absl::CEscape(number.substr(0, 100)),
                                                   "\"; want a version's number, from 1 on"));
  }
  version.set_version(n);
  return absl::OkStatus();
}

absl::Status ReadPrediction(HttpRequest& http, v1::PredictRequest& request) {
  CONVD_RETURN_IF_ERROR(
      CheckQuery(http, {"label", "top_k", "probabilities", "invert", "precision"}));
  CONVD_RETURN_IF_ERROR(ReadBody(http.body, request));
  CONVD_RETURN_IF_ERROR(ReadModelVersion(http, *request.mutable_model()));
  CONVD_ASSIGN_OR_RETURN(const int32_t top_k, QueryInteger(http, "top_k", request.top_k()));
  request.set_top_k(top_k);
  CONVD_ASSIGN_OR_RETURN(const bool probabilities,
                         QueryFlag(http, "probabilities", request.probabilities()));
  request.set_probabilities(probabilities);
  CONVD_ASSIGN_OR_RETURN(const bool invert, QueryFlag(http, "invert", false));
  if (invert && !request.images().has_encoded()) {
    return absl::InvalidArgumentError("invert: only for PNG and JPEG files; raw pixels stay");
  }
  if (invert) request.mutable_images()->mutable_encoded()->set_invert(true);
  return ReadPrecision(Find(http.query, "precision"), request);
}

}  // namespace convd
