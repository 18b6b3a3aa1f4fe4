#ifndef CONVD_SERVER_INFERENCE_INFER_ANSWER_H_
#define CONVD_SERVER_INFERENCE_INFER_ANSWER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/inference/infer_request.h"

namespace convd {

// Makes a ModelInfer response of probabilities, in the form that the request asked for.
class InferAnswer {
 public:
  // Fills in all but the output's values. INVALID_ARGUMENT where the response could take more than
  // `max_bytes`; nothing is allocated then. `card` and `response` outlive this.
  static absl::StatusOr<InferAnswer> Create(const inference::ModelInferRequest& request,
                                            const InferTask& task, const v1::ModelCard& card,
                                            int classes, int64_t max_bytes,
                                            inference::ModelInferResponse& response);

  // Images from `first_image` on, `classes` probabilities each. Several threads at once, for images
  // of their own. REQUIRES: the images are the task's, no NaN.
  void Write(int64_t first_image, absl::Span<const float> probabilities);
  // Completes the response. Once, after all images were written.
  void Finish();

 private:
  InferAnswer(const v1::ModelCard& card, int classes, const InferTask& task,
              inference::ModelInferResponse& response);

  const v1::ModelCard* card_;
  int classes_;
  int k_;  // 0: all probabilities
  bool raw_;
  inference::ModelInferResponse* response_;
  // What Write writes to: one of these.
  char* floats_ = nullptr;                                            // images * classes
  google::protobuf::RepeatedPtrField<std::string>* texts_ = nullptr;  // images * k
  std::vector<std::string> rows_;  // of raw texts: one an image, until all are there
};

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_INFER_ANSWER_H_
