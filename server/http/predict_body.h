#ifndef CONVD_SERVER_HTTP_PREDICT_BODY_H_
#define CONVD_SERVER_HTTP_PREDICT_BODY_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "convd/v1/model.pb.h"
#include "convd/v1/predictor.pb.h"
#include "server/http/http.h"

namespace convd {

// Whether it begins as a PNG or JPEG file does. What a client calls it isn't asked: curl calls all
// bodies forms.
bool IsImageFile(absl::string_view body);

// The version that the path names, or the query's label. INVALID_ARGUMENT names the field.
absl::Status ReadModelVersion(const HttpRequest& http, v1::ModelVersion& version);

// What a request to predict asks for: by its body, an image file or a PredictRequest in JSON
// without `model`, and by the query, which has the last word: label, top_k, probabilities, invert,
// precision. The body is moved from. INVALID_ARGUMENT names the field.
absl::Status ReadPrediction(HttpRequest& http, v1::PredictRequest& request);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_PREDICT_BODY_H_
