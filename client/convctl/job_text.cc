#include "client/convctl/job_text.h"

#include "absl/strings/str_cat.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/precision_text.h"
#include "client/convctl/progress_bar.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

std::string ProgressText(const v1::Job& job) {
  const v1::Progress& progress = job.progress();
  switch (job.state()) {
    case v1::JOB_STATE_QUEUED:
      return job.queue_position() > 0
                 ? absl::StrCat("number ", Thousands(job.queue_position()), " in line")
                 : "-";
    case v1::JOB_STATE_RUNNING: {
      std::string text = absl::StrCat("epoch ", progress.epoch(), "/", progress.epochs(), ", ");
      if (progress.validating()) return text + "validating";
      absl::StrAppend(&text, "step ", progress.step(), "/", progress.steps());
      if (progress.step() > 0)
        absl::StrAppend(&text, ", ", Seconds(progress.seconds_left()), " left");
      return text;
    }
    case v1::JOB_STATE_SUCCEEDED:
      return ModelSpec(job.result());
    case v1::JOB_STATE_FAILED:
      return job.error().message();
    default:
      return "-";
  }
}

}  // namespace

std::string StateText(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_QUEUED:
      return "queued";
    case v1::JOB_STATE_RUNNING:
      return "running";
    case v1::JOB_STATE_SUCCEEDED:
      return "succeeded";
    case v1::JOB_STATE_FAILED:
      return "failed";
    case v1::JOB_STATE_CANCELLED:
      return "cancelled";
    default:
      return absl::StrCat("state ", static_cast<int>(state));  // of a newer server
  }
}

std::string ArchitectureText(const v1::TrainRequest& request) {
  return request.has_network() ? request.network().name() : request.preset();
}

std::string OptimizerText(const v1::Optimizer& optimizer) {
  if (optimizer.has_sgd()) {
    const v1::Sgd& sgd = optimizer.sgd();
    std::string text = absl::StrCat("sgd, learning rate ", sgd.learning_rate());
    if (sgd.momentum() != 0) {
      absl::StrAppend(&text, ", ", sgd.nesterov() ? "Nesterov " : "", "momentum ", sgd.momentum());
    }
    return text;
  }
  return absl::StrCat("adam, learning rate ", optimizer.adam().learning_rate());
}

std::string AugmentationText(const v1::Augmentation& augmentation) {
  std::string text = augmentation.horizontal_flip() ? "horizontal flip" : "";
  if (augmentation.shift() != 0) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", "shift by up to ", augmentation.shift(),
                    augmentation.shift() == 1 ? " pixel" : " pixels");
  }
  return text.empty() ? "none" : text;
}

std::string DatasetText(const v1::DatasetRef& dataset) {
  std::string text = dataset.name();
  if (!dataset.split().empty()) absl::StrAppend(&text, "/", dataset.split());
  if (dataset.tail() != 0) absl::StrAppend(&text, " (last ", dataset.tail(), ")");
  return text;
}

std::string ValidationText(const v1::Validation& validation) {
  switch (validation.source_case()) {
    case v1::Validation::kNone:
      return "none";
    case v1::Validation::kDataset:
      return DatasetText(validation.dataset());
    case v1::Validation::kTail:
      return absl::StrCat("last ", Thousands(validation.tail()), " samples");
    case v1::Validation::kSplit:
      return absl::StrCat("last ", validation.split() * 100, " % of the samples");
    case v1::Validation::SOURCE_NOT_SET:
      break;
  }
  return "-";
}

std::string JobsTable(const std::vector<v1::Job>& jobs) {
  Table table({{"JOB"}, {"STATE"}, {"MODEL"}, {"NETWORK"}, {"DATASET"}, {"CREATED"}, {"PROGRESS"}});
  for (const v1::Job& job : jobs) {
    table.AddRow({job.id(), StateText(job.state()), job.request().model(),
                  ArchitectureText(job.request()), DatasetText(job.request().dataset()),
                  LocalTime(job.created()), ProgressText(job)});
  }
  return table.Render();
}

std::string JobDetails(const v1::Job& job) {
  const v1::TrainRequest& request = job.request();
  FieldList fields;
  fields.Add("Job", job.id());
  fields.Add("State", StateText(job.state()));
  if (const std::string progress = ProgressText(job); progress != "-") {
    fields.Add(job.state() == v1::JOB_STATE_FAILED      ? "Error"
               : job.state() == v1::JOB_STATE_SUCCEEDED ? "Result"
                                                        : "Progress",
               progress);
  }
  fields.Add("Model", request.model());
  fields.Add("Network", ArchitectureText(request));
  fields.Add("Dataset", DatasetText(request.dataset()));
  fields.Add("Validation", ValidationText(request.validation()));
  fields.Add("Optimizer", OptimizerText(request.optimizer()));
  fields.Add("Augmentation", AugmentationText(request.augmentation()));
  fields.Add("Batch size", Thousands(request.batch_size()));
  fields.Add("Epochs", Thousands(request.epochs()));
  fields.Add("Seed", absl::StrCat(request.seed()));
  fields.Add("Trained in", PrecisionText(request.precision()));
  fields.Add("Served at", PrecisionText(request.serving_precision()));
  fields.Add("Created", LocalTime(job.created()));
  fields.Add("Started", LocalTime(job.started()));
  fields.Add("Ended", LocalTime(job.ended()));
  std::string text = fields.Render();
  for (const std::string& warning : job.warnings()) {
    absl::StrAppend(&text, "warning: ", Printable(warning), "\n");
  }
  if (!job.summary().empty()) {
    absl::StrAppend(&text, "\n", Printable(job.summary(), /*keep_lines=*/true));
  }
  if (!job.history().empty()) text += "\n";
  for (const v1::EpochRecord& record : job.history()) {
    absl::StrAppend(&text, EpochLine(record, request.epochs()), "\n");
  }
  return text;
}

}  // namespace convd
