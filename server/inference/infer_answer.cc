#include "server/inference/infer_answer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/onnx/onnx_names.h"
#include "server/predict/top_k.h"

namespace convd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;

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
int64_t ResponseBytes(const ModelInferRequest& request, const InferTask& task,
                      const v1::ModelCard& card, int classes) {
  const int64_t rest = 256 + static_cast<int64_t>(request.id().size());
  if (task.classification == 0) return rest + task.count * classes * int64_t{sizeof(float)};
  size_t label = 0;
  for (const std::string& l : card.labels()) label = std::max(label, l.size());
  // A length or a tag and a length, "0.123456:", an index, ":".
  const int64_t text = 6 + 9 + 10 + 1 + static_cast<int64_t>(label);
  return rest + task.count * task.classification * text;
}

class InferAnswer final : public PredictAnswer {
 public:
  InferAnswer(const InferTask& task, std::shared_ptr<const LoadedModel> model,
              ModelInferResponse& response, std::function<void(absl::Status)> done)
      : model_(std::move(model)),
        classes_(model_->model->graph().classes()),
        k_(task.classification),
        response_(response),
        done_(std::move(done)) {
    ModelInferResponse::InferOutputTensor& output = *response.add_outputs();
    output.set_name(kOnnxOutput);
    output.set_datatype(k_ > 0 ? "BYTES" : "FP32");
    output.add_shape(task.count);
    output.add_shape(k_ > 0 ? k_ : classes_);
    // All there will be, so that who writes an image touches nothing of another's.
    const int64_t images = task.count;
    if (k_ > 0 && task.raw) {
      rows_.resize(images);
    } else if (k_ > 0) {
      texts_ = output.mutable_contents()->mutable_bytes_contents();
      texts_->Reserve(static_cast<int>(images * k_));
      for (int64_t i = 0; i < images * k_; ++i) texts_->Add();
    } else if (task.raw) {
      std::string& floats = *response.add_raw_output_contents();
      floats.resize(images * classes_ * sizeof(float));
      floats_ = floats.data();
    } else {
      auto& floats = *output.mutable_contents()->mutable_fp32_contents();
      floats.Resize(static_cast<int>(images * classes_), 0);
      floats_ = reinterpret_cast<char*>(floats.mutable_data());
    }
  }

  void Write(int64_t first, absl::Span<const float> probabilities) override {
    if (k_ == 0) {
      std::memcpy(floats_ + first * classes_ * sizeof(float), probabilities.data(),
                  probabilities.size() * sizeof(float));
      return;
    }
    const int64_t end = first + static_cast<int64_t>(probabilities.size()) / classes_;
    for (int64_t image = first; image < end; ++image) {
      const absl::Span<const float> row =
          probabilities.subspan((image - first) * classes_, classes_);
      int place = static_cast<int>(image) * k_;
      for (const int index : TopK(row, k_)) {
        std::string text = ClassText(row[index], index, model_->card);
        if (texts_ != nullptr) {
          *texts_->Mutable(place++) = std::move(text);
        } else {
          AppendRaw(text, rows_[image]);
        }
      }
    }
  }

  void Done(absl::Status status) override {
    if (status.ok() && !rows_.empty()) {
      size_t size = 0;
      for (const std::string& row : rows_) size += row.size();
      std::string& raw = *response_.add_raw_output_contents();
      raw.reserve(size);
      for (const std::string& row : rows_) raw += row;
    }
    done_(std::move(status));
  }

 private:
  const std::shared_ptr<const LoadedModel> model_;
  const int64_t classes_;
  const int k_;  // 0: all probabilities
  ModelInferResponse& response_;
  const std::function<void(absl::Status)> done_;
  // What Write writes to: one of these.
  char* floats_ = nullptr;                                            // images * classes
  google::protobuf::RepeatedPtrField<std::string>* texts_ = nullptr;  // images * k
  std::vector<std::string> rows_;  // of raw texts: one an image, until all are there
};

}  // namespace

absl::StatusOr<std::shared_ptr<PredictAnswer>> NewInferAnswer(
    const ModelInferRequest& request, const InferTask& task,
    std::shared_ptr<const LoadedModel> model, int64_t max_bytes, ModelInferResponse& response,
    std::function<void(absl::Status)> done) {
  const v1::ModelCard& card = model->card;
  const int64_t bytes = ResponseBytes(request, task, card, model->model->graph().classes());
  if (bytes > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "inputs: the answer for ", task.count, " images would take up to ", bytes,
        " bytes; this server sends at most ", max_bytes,
        " (--max-message-mb). Send fewer images in a request, or ask for a classification"));
  }
  response.set_model_name(card.model().name());
  response.set_model_version(absl::StrCat(card.model().version()));
  response.set_id(request.id());
  return std::make_shared<InferAnswer>(task, std::move(model), response, std::move(done));
}

}  // namespace convd
