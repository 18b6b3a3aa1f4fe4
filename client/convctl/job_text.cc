#include "client/convctl/job_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
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
    case v1::JOB_STATE_PAUSED:
      if (progress.epochs() == 0) return "-";  // it had not begun
      return absl::StrCat("epoch ", progress.epoch(), "/", progress.epochs(), ", step ",
                          progress.step(), "/", progress.steps());
    default:
      return "-";
  }
}

std::string MonitorText(v1::EarlyStopping::Monitor monitor) {
  const std::string& name = v1::EarlyStopping::Monitor_Name(monitor);
  return name.empty() ? absl::StrCat("monitor ", static_cast<int>(monitor))  // of a newer server
                      : absl::AsciiStrToLower(name);
}

std::string DurationText(const google::protobuf::Duration& duration) {
  return absl::FormatDuration(absl::Seconds(duration.seconds()) +
                              absl::Nanoseconds(duration.nanos()));
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
    case v1::JOB_STATE_PAUSED:
      return "paused";
    default:
      return absl::StrCat("state ", static_cast<int>(state));  // of a newer server
  }
}

std::string StateLine(const v1::Job& job) {
  const std::string id = Printable(job.id());
  std::string line = absl::StrCat("Job ", id, " is ", StateText(job.state()));
  if (job.state() == v1::JOB_STATE_QUEUED && job.queue_position() > 0) {
    absl::StrAppend(&line, ", number ", Thousands(job.queue_position()), " in line");
    if (!job.waiting_for().empty())
      absl::StrAppend(&line, ", waiting: ", Printable(job.waiting_for()));
  } else if (job.state() == v1::JOB_STATE_PAUSED && job.has_error()) {
    absl::StrAppend(&line, ": ", Printable(job.error().message()), " (`convctl resume ", id,
                    " --allow-different-bits`)");
  } else if (job.state() == v1::JOB_STATE_PAUSED) {
    absl::StrAppend(&line, "; `convctl resume ", id, "` lets it go on");
  }
  return line;
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

std::string EarlyStoppingText(const v1::EarlyStopping& early_stopping) {
  std::string text = absl::StrCat("patience ", Thousands(early_stopping.patience()));
  if (early_stopping.monitor() != v1::EarlyStopping::MONITOR_UNSPECIFIED) {
    absl::StrAppend(&text, " on ", MonitorText(early_stopping.monitor()));
  }
  if (early_stopping.min_delta() != 0) {
    absl::StrAppend(&text, ", by at least ", early_stopping.min_delta());
  }
  if (early_stopping.restore_best()) text += ", publishes the best epoch";
  return text;
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
  if (job.state() == v1::JOB_STATE_PAUSED && job.has_error()) {
    fields.Add("Paused by server", job.error().message());
  }
  if (!job.waiting_for().empty()) fields.Add("Waits for", job.waiting_for());
  if (job.priority() != 0) fields.Add("Priority", absl::StrCat(job.priority()));
  if (job.attempts() > 1) fields.Add("Attempts", absl::StrCat(job.attempts()));
  fields.Add("Model", request.model());
  fields.Add("Network", ArchitectureText(request));
  fields.Add("Dataset", DatasetText(request.dataset()));
  fields.Add("Validation", ValidationText(request.validation()));
  fields.Add("Optimizer", OptimizerText(request.optimizer()));
  fields.Add("Augmentation", AugmentationText(request.augmentation()));
  fields.Add("Batch size", Thousands(request.batch_size()));
  fields.Add("Epochs", Thousands(request.epochs()));
  if (request.has_early_stopping()) {
    fields.Add("Early stopping", EarlyStoppingText(request.early_stopping()));
  }
  if (request.has_max_runtime()) fields.Add("Longest runtime", DurationText(request.max_runtime()));
  if (request.has_initial_model()) fields.Add("Initial model", ModelSpec(request.initial_model()));
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
