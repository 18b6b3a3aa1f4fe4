#include "server/jobs/resolve.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/dnn/gather.h"
#include "core/dnn/plan.h"
#include "core/names/names.h"
#include "core/nn/presets.h"
#include "core/nn/summary.h"
#include "core/status/status_macros.h"
#include "core/storage/sha256.h"
#include "core/train/training_memory.h"

namespace convd {
namespace {

constexpr size_t kMaxRequestId = 128;

// The word by which the core calls what the field holds gives way to the field's own name.
absl::Status InField(absl::string_view field, const absl::Status& status) {
  absl::string_view message = status.message();
  if (absl::StartsWith(message, absl::StrCat(field, "."))) return status;
  for (const absl::string_view word : {"preset: ", "network: ", "dataset: "}) {
    if (absl::ConsumePrefix(&message, word)) break;
  }
  return absl::Status(status.code(), absl::StrCat(field, ": ", message));
}

std::string Extents(int height, int width, int channels) {
  return absl::StrCat(height, "x", width, "x", channels);
}

// One registered dataset, with the record of exactly these arrays.
struct NamedDataset {
  std::string name;
  v1::Dataset record;
  std::shared_ptr<const Dataset> dataset;
};

absl::StatusOr<NamedDataset> LoadDataset(absl::string_view field, const std::string& name,
                                         DatasetRegistry& datasets) {
  const std::string name_field = absl::StrCat(field, ".name");
  CONVD_RETURN_IF_ERROR(CheckName(name_field, name));
  // The name may come to stand for other data between the calls: hash and arrays must belong
  // together.
  const absl::StatusOr<v1::Dataset> before = datasets.Get(name);
  if (!before.ok()) return InField(name_field, before.status());
  absl::StatusOr<std::shared_ptr<const Dataset>> dataset = datasets.Load(name);
  if (!dataset.ok()) return InField(name_field, dataset.status());
  absl::StatusOr<v1::Dataset> after = datasets.Get(name);
  if (!after.ok()) return InField(name_field, after.status());
  if (before->sha256() != after->sha256()) {
    return absl::AbortedError(
        absl::StrCat(name_field, ": \"", name, "\" was replaced just now; try again"));
  }
  return NamedDataset{name, *std::move(after), *std::move(dataset)};
}

// The split called `name`, or where that is empty `usual`, or the only one.
absl::StatusOr<const DatasetSplit*> FindSplit(absl::string_view field, const NamedDataset& data,
                                              const std::string& name, const char* usual) {
  const std::string split_field = absl::StrCat(field, ".split");
  if (!name.empty()) CONVD_RETURN_IF_ERROR(CheckName(split_field, name));
  const std::vector<DatasetSplit>& splits = data.dataset->splits;
  const DatasetSplit* split = data.dataset->Find(name.empty() ? usual : name);
  if (split == nullptr && name.empty() && splits.size() == 1) split = &splits[0];
  if (split != nullptr) return split;
  return absl::NotFoundError(
      absl::StrCat(split_field, ": \"", data.name, "\" has ",
                   absl::StrJoin(splits, ", ",
                                 [](std::string* out, const DatasetSplit& s) {
                                   absl::StrAppend(out, "\"", s.name, "\"");
                                 }),
                   "; got ",
                   name.empty() ? absl::StrCat("none, which means \"", usual, "\"")
                                : absl::StrCat("\"", name, "\"")));
}

// The images with all that they lie in kept alive.
ImageSet Images(const NamedDataset& data, const DatasetSplit& split) {
  ImageSet images = split.images;
  images.owner = data.dataset;
  return images;
}

absl::StatusOr<Graph> ResolveArchitecture(v1::TrainRequest& request) {
  switch (request.architecture_case()) {
    case v1::TrainRequest::kPreset: {
      const absl::StatusOr<v1::Network> network = Preset(request.preset());
      if (!network.ok()) return InField("preset", network.status());
      absl::StatusOr<Graph> graph = Graph::Create(*network);
      if (!graph.ok()) return InField("preset", graph.status());
      return graph;
    }
    case v1::TrainRequest::kNetwork: {
      absl::StatusOr<Graph> graph = Graph::Create(request.network());
      if (!graph.ok()) return InField("network", graph.status());
      *request.mutable_network() = graph->network();
      return graph;
    }
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "preset: got neither a preset nor a network; want one of the two. Presets are ",
          absl::StrJoin(PresetNames(), ", ")));
  }
}

// `images` are what the graph takes, and their labels are classes of it.
absl::Status CheckImages(absl::string_view field, const NamedDataset& data,
                         const DatasetSplit& split, const Graph& graph) {
  const ImageSet& images = split.images;
  const std::string which = absl::StrCat(field, ": \"", data.name, "/", split.name, "\"");
  const Shape input = graph.input();
  if (images.height != input.height || images.width != input.width ||
      images.channels != input.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        which, " has images of ", Extents(images.height, images.width, images.channels),
        " (height x width x channels), but network \"", graph.name(), "\" takes ",
        Extents(input.height, input.width, input.channels)));
  }
  const int64_t classes = static_cast<int64_t>(data.dataset->labels.size());
  if (classes != graph.classes()) {
    return absl::InvalidArgumentError(
        absl::StrCat(which, " has ", classes, " classes, but network \"", graph.name(),
                     "\" ends in ", graph.classes(), " outputs; want one for each class"));
  }
  if (images.count < 1) return absl::InvalidArgumentError(absl::StrCat(which, " has no images"));
  if (static_cast<int64_t>(images.labels.size()) != images.count) {
    return absl::InvalidArgumentError(absl::StrCat(which, " has ", images.labels.size(),
                                                   " labels for ", images.count,
                                                   " images; want one each"));
  }
  for (size_t i = 0; i < images.labels.size(); ++i) {
    if (images.labels[i] >= 0 && images.labels[i] < classes) continue;
    return absl::InvalidArgumentError(absl::StrCat(which, ": the label of image ", i, " is ",
                                                   images.labels[i], "; want 0 to ", classes - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckNoTail(absl::string_view field, const v1::DatasetRef& ref) {
  if (ref.tail() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ".tail: got ", ref.tail(),
                   "; a training takes whole splits. Its last samples are left out of it, and "
                   "validated on, by validation.tail"));
}

absl::Status UseTail(absl::string_view field, int64_t tail, TrainingData& data) {
  const int64_t count = data.train.count;
  if (tail < 1 || tail >= count) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, " takes ", tail, " of the ", count,
        " training samples for validation; want at least 1, and at least 1 left to train on"));
  }
  data.validation = data.train.Slice(count - tail, tail);
  data.train = data.train.Slice(0, count - tail);
  return absl::OkStatus();
}

void ChooseMicroBatch(const Graph& graph, int64_t samples, v1::TrainRequest& request) {
  request.set_micro_batch(MicroBatchImages(graph, std::min(request.batch_size(), samples)));
}

// Of 2^20 bytes, as the flags count them; rounded up.
int64_t Megabytes(int64_t bytes) { return (bytes >> 20) + 1; }

class Resolver {
 public:
  Resolver(const v1::TrainRequest& request, DatasetRegistry& datasets, const JobMemory& memory,
           ModelRepository* models)
      : request_(request), datasets_(datasets), memory_(memory), models_(models) {
    // Fields of newer clients would be kept, unseen and of any size, for as long as the job.
    request_.DiscardUnknownFields();
  }

  absl::StatusOr<ResolvedJob> Resolve() {
    std::string sent_sha256 = SentSha256(request_);
    CONVD_RETURN_IF_ERROR(CheckName("model", request_.model()));
    if (request_.request_id().size() > kMaxRequestId) {
      return absl::InvalidArgumentError(absl::StrCat("request_id: got ",
                                                     request_.request_id().size(),
                                                     " bytes; want at most ", kMaxRequestId));
    }
    CONVD_ASSIGN_OR_RETURN(Graph graph, ResolveArchitecture(request_));
    CONVD_RETURN_IF_ERROR(ResolveTraining(request_));
    CONVD_RETURN_IF_ERROR(CheckAugmentation(request_.augmentation(), graph.input()));
    CONVD_RETURN_IF_ERROR(ResolveInitialModel(graph));
    CONVD_RETURN_IF_ERROR(CheckNoTail("dataset", request_.dataset()));
    CONVD_ASSIGN_OR_RETURN(const NamedDataset dataset,
                           LoadDataset("dataset", request_.dataset().name(), datasets_));
    CONVD_ASSIGN_OR_RETURN(const DatasetSplit* const split,
                           FindSplit("dataset", dataset, request_.dataset().split(), "train"));
    request_.mutable_dataset()->set_split(split->name);
    CONVD_RETURN_IF_ERROR(CheckImages("dataset", dataset, *split, graph));
    TrainingData data;
    data.labels = dataset.dataset->labels;
    data.train = Images(dataset, *split);
    CONVD_RETURN_IF_ERROR(ResolveValidation(dataset, *split, graph, data));
    CONVD_RETURN_IF_ERROR(ResolveEarlyStopping(request_, data.validation.count > 0));
    const bool micro_batch_given = request_.micro_batch() != 0;
    if (!micro_batch_given) ChooseMicroBatch(graph, data.train.count, request_);
    BoundMicroBatch(graph);
    CONVD_RETURN_IF_ERROR(CheckMemory(graph, data, micro_batch_given));
    Warn(graph, data);
    std::string summary = Summary(graph);
    v1::PixelStatistics training_pixels;
    if (split == &dataset.dataset->TrainingSplit()) training_pixels = dataset.record.pixels();
    return ResolvedJob{std::move(request_),
                       std::move(graph),
                       std::move(data),
                       dataset.record.sha256(),
                       std::move(validation_sha256_),
                       std::move(summary),
                       std::move(warnings_),
                       std::move(sent_sha256),
                       std::move(training_pixels),
                       memory_bytes_};
  }

 private:
  absl::Status ResolveInitialModel(const Graph& graph) {
    if (!request_.has_initial_model()) return absl::OkStatus();
    v1::ModelVersion& version = *request_.mutable_initial_model();
    if (models_ == nullptr) return absl::InvalidArgumentError("initial_model: there are no models");
    const absl::StatusOr<v1::Model> model = models_->Get(version);
    if (!model.ok()) {
      // Which calls the field "model".
      absl::string_view message = model.status().message();
      absl::ConsumePrefix(&message, "model");
      const bool named = absl::StartsWith(message, ".") || absl::StartsWith(message, ":");
      return absl::Status(model.status().code(),
                          absl::StrCat("initial_model", named ? "" : ": ", message));
    }
    version = model->card().model();  // with its number, whatever the request called it by
    // What a network is called makes none of its weights.
    v1::Network ours = graph.network(), theirs = model->card().network();
    ours.clear_name();
    theirs.clear_name();
    if (google::protobuf::util::MessageDifferencer::Equals(ours, theirs)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("initial_model: \"", version.name(), "\" version ", version.version(),
                     " has another network (\"", model->card().network().name(), "\", ",
                     model->card().parameters(), " parameters) than this job (\"", graph.name(),
                     "\", ", graph.parameter_count(), "); want the same layers and preprocessing"));
  }

  absl::Status ResolveValidation(const NamedDataset& dataset, const DatasetSplit& trained,
                                 const Graph& graph, TrainingData& data) {
    v1::Validation& validation = *request_.mutable_validation();
    switch (validation.source_case()) {
      case v1::Validation::SOURCE_NOT_SET: {
        const DatasetSplit* const test = dataset.dataset->Find("test");
        if (test == nullptr || test == &trained) {
          validation.set_none(true);
          return absl::OkStatus();
        }
        validation.mutable_dataset()->set_name(dataset.name);
        validation.mutable_dataset()->set_split("test");
        return UseDataset(dataset, *test, trained, graph, data);
      }
      case v1::Validation::kNone:
        if (validation.none()) return absl::OkStatus();
        return absl::InvalidArgumentError(
            "validation.none: got false; want true, another source, or no validation field at all");
      case v1::Validation::kDataset: {
        v1::DatasetRef& ref = *validation.mutable_dataset();
        CONVD_RETURN_IF_ERROR(CheckNoTail("validation.dataset", ref));
        if (ref.name().empty()) ref.set_name(dataset.name);
        NamedDataset other = dataset;
        if (ref.name() != dataset.name) {
          CONVD_ASSIGN_OR_RETURN(other, LoadDataset("validation.dataset", ref.name(), datasets_));
          validation_sha256_ = other.record.sha256();
        }
        CONVD_ASSIGN_OR_RETURN(const DatasetSplit* const split,
                               FindSplit("validation.dataset", other, ref.split(), "test"));
        ref.set_split(split->name);
        return UseDataset(other, *split, trained, graph, data);
      }
      case v1::Validation::kTail:
        return UseTail("validation.tail", validation.tail(), data);
      case v1::Validation::kSplit: {
        const double share = validation.split();
        if (!(share > 0 && share < 1)) {
          return absl::InvalidArgumentError(
              absl::StrCat("validation.split: got ", share, "; want a share above 0 and below 1"));
        }
        // As Keras counts: the part trained on is rounded down.
        const double kept = std::floor(static_cast<double>(data.train.count) * (1 - share));
        return UseTail("validation.split", data.train.count - static_cast<int64_t>(kept), data);
      }
    }
    return absl::InvalidArgumentError("validation: got a source that this server doesn't know");
  }

  absl::Status UseDataset(const NamedDataset& dataset, const DatasetSplit& split,
                          const DatasetSplit& trained, const Graph& graph, TrainingData& data) {
    CONVD_RETURN_IF_ERROR(CheckImages("validation.dataset", dataset, split, graph));
    data.validation = Images(dataset, split);
    if (&split == &trained) {
      warnings_.push_back(absl::StrCat("validation.dataset: \"", dataset.name, "/", split.name,
                                       "\" is what the network trains on, so val_accuracy says "
                                       "nothing about new images"));
    }
    if (dataset.dataset->labels != data.labels) {
      warnings_.push_back(absl::StrCat("validation.dataset: the classes of \"", dataset.name,
                                       "\" have other names than those trained on; they are taken "
                                       "for the same ones, by number"));
    }
    return absl::OkStatus();
  }

  // Others' predictions wait for the longest call of a job.
  void BoundMicroBatch(const Graph& graph) {
    const int64_t most = MostMicroBatchImages(graph);
    if (request_.micro_batch() <= most) return;
    warnings_.push_back(absl::StrCat("micro_batch: ", request_.micro_batch(),
                                     " images at a time would keep predictions waiting; with this "
                                     "network at most ",
                                     most, " are taken"));
    request_.set_micro_batch(most);
  }

  // Names what has to change so that the job fits: a micro_batch or batch_size that is too large,
  // or else the network.
  absl::Status CheckMemory(const Graph& graph, const TrainingData& data, bool micro_batch_given) {
    const auto estimate = [&](const v1::TrainRequest& request) {
      return EstimateTrainingMemory(graph, request, data.train.count, data.validation.count,
                                    memory_.workers);
    };
    const TrainingMemory needs = estimate(request_);
    memory_bytes_ = needs.total();
    if (memory_.bytes == 0 || needs.total() <= memory_.bytes) return absl::OkStatus();
    const std::string why = absl::StrCat(
        "training takes about ", Megabytes(needs.total()), " MB of memory (activations and ",
        "gradients of ", memory_.workers, " workers ", Megabytes(needs.workspaces),
        " MB, weights and all that is as large ", Megabytes(needs.arrays),
        " MB), and a job may take ", memory_.bytes >> 20, " MB here");
    v1::TrainRequest smaller = request_;
    if (micro_batch_given) {
      ChooseMicroBatch(graph, data.train.count, smaller);
      if (estimate(smaller).total() <= memory_.bytes) {
        return absl::InvalidArgumentError(
            absl::StrCat("micro_batch: with ", request_.micro_batch(), " images ", why, "; try ",
                         smaller.micro_batch(), ", which is what none would mean"));
      }
    }
    smaller.set_batch_size(std::min(smaller.batch_size(), data.train.count));
    while (smaller.batch_size() > 1) {
      smaller.set_batch_size(smaller.batch_size() / 2);
      ChooseMicroBatch(graph, data.train.count, smaller);
      if (estimate(smaller).total() <= memory_.bytes) {
        return absl::InvalidArgumentError(
            absl::StrCat("batch_size: with ", request_.batch_size(), " images ", why, "; try ",
                         smaller.batch_size(), micro_batch_given ? " and no micro_batch" : "",
                         ", or a smaller network"));
      }
    }
    return absl::InvalidArgumentError(absl::StrCat(
        request_.has_preset() ? "preset" : "network", ": \"", graph.name(), "\": ", why,
        "; want fewer or smaller layers: with a batch_size of 1, too, it takes ",
        Megabytes(estimate(smaller).total()), " MB"));
  }

  void Warn(const Graph& graph, const TrainingData& data) {
    if (request_.batch_size() > data.train.count) {
      warnings_.push_back(absl::StrCat("batch_size: ", request_.batch_size(), " is more than the ",
                                       data.train.count,
                                       " training samples, so each epoch is one step"));
    }
    if (data.train.type == ElementType::kFloat32 && graph.scale() != 1.0f) {
      warnings_.push_back(absl::StrCat(
          "dataset: its pixels are f32 and the network multiplies them by ", graph.scale(),
          "; where they are scaled already, use a network with preprocessing { scale: 1 }"));
    }
    if (data.validation.count > 0 && data.validation.type != data.train.type) {
      warnings_.push_back(
          "validation.dataset: its pixels are of another type (uint8, f32) than those trained on");
    }
  }

  v1::TrainRequest request_;
  DatasetRegistry& datasets_;
  const JobMemory memory_;
  ModelRepository* const models_;
  std::string validation_sha256_;
  std::vector<std::string> warnings_;
  int64_t memory_bytes_ = 0;
};

}  // namespace

std::string SentSha256(const v1::TrainRequest& request) {
  v1::TrainRequest known = request;
  known.DiscardUnknownFields();
  return Sha256Hex(known.SerializeAsString());
}

absl::StatusOr<ResolvedJob> ResolveJob(const v1::TrainRequest& request, DatasetRegistry& datasets,
                                       const JobMemory& memory, ModelRepository* models) {
  return Resolver(request, datasets, memory, models).Resolve();
}

}  // namespace convd
