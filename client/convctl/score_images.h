#ifndef CONVD_CLIENT_CONVCTL_SCORE_IMAGES_H_
#define CONVD_CLIENT_CONVCTL_SCORE_IMAGES_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/convctl/session.h"
#include "convd/v1/predictor.pb.h"

namespace convd {

// Which images `predict` scores by the thousand, and how it tells of them.
struct ScoreOptions {
  // One of the three.
  std::string dataset, images_file, folder;
  std::string split;        // of the dataset
  std::string labels_file;  // of the images file
  bool invert = false;      // of the folder's files
  bool csv = false, jsonl = false;
  bool probabilities = false;
  std::optional<int32_t> top_k;
};

// Streams them through the model that `request` names, at its precision. Rows go out as answers
// come, in the images' order; at the end the figures. Images that failed have a row that says why,
// and then the error says how many, with the first reasons.
absl::Status ScoreImages(Session& session, v1::PredictRequest request, const ScoreOptions& options);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_SCORE_IMAGES_H_
