#include "server/rpc/evaluator_service.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/eval/evaluate.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/datasets/dataset_folder.h"
#include "server/predict/dataset_images.h"
#include "server/predict/model_loading.h"
#include "server/predict/request_images.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

struct LabelledSamples {
  ImageSet images;
  v1::DatasetRef dataset;  // with the split worked out; empty for images sent along
  std::string sha256;
};

std::string Text(int height, int width, int channels) {
  return absl::StrCat(height, "x", width, "x", channels);
}

absl::Status CheckFits(const std::string& field, const std::string& labels_field,
                       const ImageSet& images, const Graph& graph) {
  const Shape want = graph.input();
  if (images.height != want.height || images.width != want.width ||
      images.channels != want.channels) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": has images of ", Text(images.height, images.width, images.channels),
                     " (height x width x channels); this model takes ",
                     Text(want.height, want.width, want.channels)));
  }
  if (images.count < 1) return absl::InvalidArgumentError(absl::StrCat(field, ": has no images"));
  if (static_cast<int64_t>(images.labels.size()) != images.count) {
    return absl::InvalidArgumentError(absl::StrCat(labels_field, ": got ", images.labels.size(),
                                                   " labels for ", images.count,
                                                   " images; want one each"));
  }
  for (size_t i = 0; i < images.labels.size(); ++i) {
    if (images.labels[i] >= 0 && images.labels[i] < graph.classes()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        labels_field, ": the label of image ", i, " is ", images.labels[i], "; this model has ",
        graph.classes(), " classes, so labels are 0 to ", graph.classes() - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<LabelledSamples> ReadDataset(DatasetRegistry& datasets, const v1::DatasetRef& ref) {
  CONVD_RETURN_IF_ERROR(CheckName("dataset.name", ref.name()));
  if (!ref.split().empty()) CONVD_RETURN_IF_ERROR(CheckName("dataset.split", ref.split()));
  CONVD_ASSIGN_OR_RETURN(const DatasetAndHash found, LoadDataset(datasets, ref.name()));
  const std::shared_ptr<const Dataset>& dataset = found.dataset;
  CONVD_ASSIGN_OR_RETURN(const DatasetSplit* const split,
                         FindSplit("dataset.split", ref.name(), *dataset, ref.split()));
  const int64_t tail = ref.tail();
  if (tail < 0 || tail > split->images.count) {
    return absl::InvalidArgumentError(
        absl::StrCat("dataset.tail: got ", tail, "; want 1 to all of the split, or 0 for all: \"",
                     ref.name(), "/", split->name, "\" has ", split->images.count));
  }
  LabelledSamples samples;
  samples.images = split->images;
  // Where labels are missing, CheckFits says so.
  if (tail > 0 && static_cast<int64_t>(split->images.labels.size()) == split->images.count) {
    samples.images = split->images.Slice(split->images.count - tail, tail);
  }
  // The split's own owner may be the mapping alone; this keeps its labels as well.
  samples.images.owner = dataset;
  samples.dataset.set_name(ref.name());
  samples.dataset.set_split(split->name);
  samples.dataset.set_tail(tail);
  samples.sha256 = found.sha256;
  return samples;
}

// Decodes all of them on the executor's workers, an image a task: a photo takes a tenth of a
// second, and then the lanes above have waited long enough.
absl::StatusOr<ImageSet> Decode(const RequestImages& images, Executor& executor,
                                const grpc::CallbackServerContext& context) {
  const auto still_wanted = [&] { return CallerStillWaits(context); };
  CONVD_ASSIGN_OR_RETURN(ImageSet all, images.Read(0, 0, still_wanted));
  all.count = images.count();
  auto pixels = std::make_shared<std::vector<char>>(images.bytes(images.count()));
  absl::Mutex mu;
  absl::Status error;  // of the first image that has one
  int64_t error_image = images.count();
  executor.ForEach(Lane::kEvaluate, images.count(), [&](int64_t image) {
    {
      absl::MutexLock lock(&mu);
      if (!error.ok()) return;
    }
    const absl::StatusOr<ImageSet> read = images.Read(image, 1, still_wanted);
    if (read.ok()) {
      std::memcpy(pixels->data() + images.bytes(image), read->pixels, images.bytes(1));
    } else {
      absl::MutexLock lock(&mu);
      if (image < error_image) {
        error_image = image;
        error = read.status();
      }
    }
    executor.Cut();
  });
  CONVD_RETURN_IF_ERROR(error);
  all.pixels = pixels->data();
  all.owner = std::move(pixels);
  return all;
}

absl::StatusOr<LabelledSamples> ReadSentImages(const v1::LabelledImages& sent, const Graph& graph,
                                               const EvaluateLimits& limits, Executor& executor,
                                               const grpc::CallbackServerContext& context) {
  CONVD_ASSIGN_OR_RETURN(
      const RequestImages images,
      RequestImages::Create(sent.images(), graph.input(), limits.max_images, limits.files));
  if (images.bytes(images.count()) > limits.max_image_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "images: ", images.count(), " images take ", images.bytes(images.count()),
        " bytes in memory; want at most ", limits.max_image_bytes,
        " in a request. Register them as a dataset, or send them in several requests"));
  }
  LabelledSamples samples;
  if (sent.images().has_encoded()) {
    CONVD_ASSIGN_OR_RETURN(samples.images, Decode(images, executor, context));
  } else {
    CONVD_ASSIGN_OR_RETURN(
        samples.images, images.Read(0, images.count(), [&] { return CallerStillWaits(context); }));
  }
  samples.images.labels = absl::MakeConstSpan(sent.labels().data(), sent.labels_size());
  return samples;
}

// Names the data of an evaluation as a dataset's hash does: see Evaluation.data_sha256.
absl::StatusOr<std::string> HashSentImages(const ImageSet& images, const v1::ModelCard& card) {
  Dataset dataset;
  dataset.labels.assign(card.labels().begin(), card.labels().end());
  dataset.splits.push_back({"test", images});
  std::string sha256 = HashDataset(dataset);
  if (sha256.empty()) return absl::ResourceExhaustedError("no memory to hash the images");
  return sha256;
}

// An upper bound of what an evaluation takes on the wire, without probabilities.
int64_t FiguresBytes(const v1::ModelCard& card) {
  const int64_t classes = card.labels_size();
  // Three doubles, a count, tags and lengths a class; ten bytes a cell of the confusion matrix.
  int64_t bytes = 4096 + classes * 64;
  if (classes <= kMostConfusionClasses) bytes += classes * classes * 10;
  for (const std::string& label : card.labels()) bytes += static_cast<int64_t>(label.size());
  return bytes;
}

}  // namespace

EvaluatorService::EvaluatorService(ModelRepository& models, DatasetRegistry& datasets,
                                   Executor& executor, const EvaluateLimits& limits,
                                   const Clock& clock)
    : models_(models),
      datasets_(datasets),
      executor_(executor),
      limits_(limits),
      clock_(clock),
      calls_(limits.at_once, limits.waiting) {}

grpc::ServerUnaryReactor* EvaluatorService::Evaluate(grpc::CallbackServerContext* context,
                                                     const v1::EvaluateRequest* request,
                                                     v1::EvaluateResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteModel(context, request->model().name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = CheckModelVersion(request->model());
  if (status.ok() && request->data_case() == v1::EvaluateRequest::DATA_NOT_SET) {
    status = absl::InvalidArgumentError("data: got none; want dataset or images");
  }
  if (status.ok() && !calls_.Start([this, context, request, response, reactor] {
        reactor->Finish(ToGrpcStatus(
            OrWhatItThrows("evaluation", [&] { return Run(*context, *request, *response); })));
      })) {
    status = absl::ResourceExhaustedError(
        absl::StrCat(limits_.at_once, " evaluations run and ", limits_.waiting,
                     " wait already; try again when one has ended"));
  }
  if (!status.ok()) reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

absl::Status EvaluatorService::Run(const grpc::CallbackServerContext& context,
                                   const v1::EvaluateRequest& request,
                                   v1::EvaluateResponse& response) {
  CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const LoadedModel> model,
                         LoadModel(models_, request.model(), request.precision()));
  const Graph& graph = model->model->graph();
  LabelledSamples samples;
  if (request.has_dataset()) {
    CONVD_ASSIGN_OR_RETURN(samples, ReadDataset(datasets_, request.dataset()));
  } else {
    CONVD_ASSIGN_OR_RETURN(samples,
                           ReadSentImages(request.images(), graph, limits_, executor_, context));
  }
  CONVD_RETURN_IF_ERROR(request.has_dataset()
                            ? CheckFits("dataset", "dataset", samples.images, graph)
                            : CheckFits("images", "images.labels", samples.images, graph));
  if (!request.has_dataset()) {
    CONVD_ASSIGN_OR_RETURN(samples.sha256, HashSentImages(samples.images, model->card));
  }
  if (request.probabilities()) {
    // Divided, since the product could be beyond what an int64_t holds.
    const int64_t max_samples =
        std::max<int64_t>(0, limits_.max_response_bytes - FiguresBytes(model->card)) /
        (int64_t{4} * graph.classes());
    if (samples.images.count > max_samples) {
      return absl::InvalidArgumentError(absl::StrCat(
          "probabilities: ", samples.images.count, " samples of ", graph.classes(),
          " classes don't fit the ", limits_.max_response_bytes,
          " bytes that this server sends in one answer (--max-message-mb), which hold ",
          max_samples, " samples of this model; leave the probabilities out, or evaluate fewer"));
    }
  }

  std::vector<float> probabilities;
  const absl::Time time = clock_.Now();
  const absl::Duration start = clock_.Monotonic();
  absl::StatusOr<v1::Metrics> metrics = convd::Evaluate(
      *model->model, samples.images,
      std::vector<std::string>(model->card.labels().begin(), model->card.labels().end()), executor_,
      Lane::kEvaluate, [&context] { return !CallerStillWaits(context).ok(); },
      request.probabilities() ? &probabilities : nullptr);
  if (absl::IsCancelled(metrics.status())) CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_RETURN_IF_ERROR(metrics.status());

  v1::Evaluation& evaluation = *response.mutable_evaluation();
  *evaluation.mutable_model() = model->card.model();
  evaluation.set_precision(model->precision);
  if (request.has_dataset()) *evaluation.mutable_dataset() = samples.dataset;
  evaluation.set_data_sha256(samples.sha256);
  *evaluation.mutable_metrics() = *std::move(metrics);
  const timespec seconds = absl::ToTimespec(time);
  evaluation.mutable_time()->set_seconds(seconds.tv_sec);
  evaluation.mutable_time()->set_nanos(static_cast<int32_t>(seconds.tv_nsec));
  evaluation.set_seconds(absl::ToDoubleSeconds(clock_.Monotonic() - start));
  response.mutable_probabilities()->Add(probabilities.begin(), probabilities.end());
  if (absl::Status kept = models_.AddEvaluation(evaluation); !kept.ok()) {
    return absl::Status(kept.code(), absl::StrCat("evaluated, but the figures could not be kept: ",
                                                  kept.message()));
  }
  return absl::OkStatus();
}

}  // namespace convd
