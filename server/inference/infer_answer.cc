#include "server/inference/infer_answer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/onnx/onnx_names.h"
#include "server/predict/top_k.h"

namespace convd {
namespace {

// "0.750000:2:cat", as Triton writes it.
std::string ClassText(float probability, int index, const v1::ModelCard& card) {
  std::string text = absl::StrFormat("%f:%d", probability, index);
  if (index < card.labels_size()) absl::StrAppend(&text, ":", card.labels(index));
  return text;
}

// A string among others in a BYTES tensor: its length in four bytes, little-endian, then itself.
void AppendRaw(const std::string& text, std::string& raw) {
  const uint32_t size = static_cast<uint32_t>(text.size());
  for (int shift = 0; shift < 32; shift += 8) raw += static_cast<char>(size >> shift & 0xFF);
  raw += text;
}

// An upper bound of what the response takes on the wire.
int64_t ResponseBytes(const inference::ModelInferRequest& request, const InferTask& task,
                      const v1::ModelCard& card, int classes) {
  const int64_t rest = 256 + static_cast<int64_t>(request.id().size());
  if (task.classification == 0) return rest + task.count * classes * int64_t{sizeof(float)};
  size_t label = 0;
  for (const std::string& l : card.labels()) label = std::max(label, l.size());
  // A length or a tag and a length, "0.123456:", an index, ":".
  const int64_t text = 6 + 9 + 10 + 1 + static_cast<int64_t>(label);
  return rest + task.count * task.classification * text;
}

}  // namespace

absl::StatusOr<InferAnswer> InferAnswer::Create(const inference::ModelInferRequest& request,
                                                const InferTask& task, const v1::ModelCard& card,
                                                int classes, int64_t max_bytes,
                                                inference::ModelInferResponse& response) {
  const int64_t bytes = ResponseBytes(request, task, card, classes);
  if (bytes > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "inputs: the answer for ", task.count, " images would take up to ", bytes,
        " bytes; this server sends at most ", max_bytes,
        " (--max-message-mb). Send fewer images in a request, or ask for a classification"));
  }
  response.set_model_name(card.model().name());
  response.set_model_version(absl::StrCat(card.model().version()));
  response.set_id(request.id());
  inference::ModelInferResponse::InferOutputTensor& output = *response.add_outputs();
  output.set_name(kOnnxOutput);
  output.set_datatype(task.classification > 0 ? "BYTES" : "FP32");
  output.add_shape(task.count);
  output.add_shape(task.classification > 0 ? task.classification : classes);
  return InferAnswer(card, classes, task, response);
}

InferAnswer::InferAnswer(const v1::ModelCard& card, int classes, const InferTask& task,
                         inference::ModelInferResponse& response)
    : card_(&card),
      classes_(classes),
      k_(task.classification),
      raw_(task.raw),
      response_(&response) {
  // All there will be, so that who writes an image touches nothing of another's.
  const int64_t images = task.count;
  if (raw_ && k_ > 0) {
    rows_.resize(images);
  } else if (raw_) {
    std::string& floats = *response.add_raw_output_contents();
    floats.resize(images * classes * sizeof(float));
    floats_ = floats.data();
  } else if (k_ > 0) {
    texts_ = response.mutable_outputs(0)->mutable_contents()->mutable_bytes_contents();
    texts_->Reserve(static_cast<int>(images * k_));
    for (int64_t i = 0; i < images * k_; ++i) texts_->Add();
  } else {
    auto& floats = *response.mutable_outputs(0)->mutable_contents()->mutable_fp32_contents();
    floats.Resize(static_cast<int>(images * classes), 0);
    floats_ = reinterpret_cast<char*>(floats.mutable_data());
  }
}

void InferAnswer::Write(int64_t first_image, absl::Span<const float> probabilities) {
  if (k_ == 0) {
    std::memcpy(floats_ + first_image * classes_ * sizeof(float), probabilities.data(),
                probabilities.size() * sizeof(float));
    return;
  }
  const int64_t images = static_cast<int64_t>(probabilities.size()) / classes_;
  for (int64_t i = 0; i < images; ++i) {
    const absl::Span<const float> row = probabilities.subspan(i * classes_, classes_);
    int64_t place = (first_image + i) * k_;
    for (const int index : TopK(row, k_)) {
      std::string text = ClassText(row[index], index, *card_);
      if (raw_) {
        AppendRaw(text, rows_[first_image + i]);
      } else {
        *texts_->Mutable(static_cast<int>(place++)) = std::move(text);
      }
    }
  }
}

void InferAnswer::Finish() {
  if (!raw_ || k_ == 0) return;
  size_t size = 0;
  for (const std::string& row : rows_) size += row.size();
  std::string& raw = *response_->add_raw_output_contents();
  raw.reserve(size);
  for (const std::string& row : rows_) raw += row;
}

}  // namespace convd
