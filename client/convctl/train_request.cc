#include "client/convctl/train_request.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/local_file.h"
#include "client/convctl/model_spec.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kLargestNetworkFile = 1 << 20;
// Messages in messages; a network needs four.
constexpr int kDeepestNesting = 32;

// Keeps the first error: those behind it mostly follow from it.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!text.empty()) return;
    text = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  std::string text;
};

absl::Status BuildArchitecture(const TrainFlags& flags, v1::TrainRequest& request) {
  if (flags.preset.empty() == flags.network_file.empty()) {
    return UsageError("give one of --preset and --network");
  }
  if (!flags.preset.empty()) {
    request.set_preset(flags.preset);
    return absl::OkStatus();
  }
  CONVD_ASSIGN_OR_RETURN(const std::string text,
                         ReadLocalFile(flags.network_file, kLargestNetworkFile));
  CONVD_ASSIGN_OR_RETURN(*request.mutable_network(), ParseNetwork(text, flags.network_file));
  return absl::OkStatus();
}

absl::Status BuildValidation(const TrainFlags& flags, v1::TrainRequest& request) {
  const int given = flags.validation.has_value() + flags.validation_tail.has_value() +
                    flags.validation_split.has_value() + flags.no_validation;
  if (given > 1) {
    return UsageError(
        "give at most one of --validation, --validation-tail, --validation-split and "
        "--no-validation");
  }
  if (flags.validation.has_value()) {
    v1::DatasetRef& dataset = *request.mutable_validation()->mutable_dataset();
    const size_t slash = flags.validation->find('/');
    if (slash == std::string::npos) {
      dataset.set_name(flags.dataset);
      dataset.set_split(*flags.validation);
    } else {
      dataset.set_name(flags.validation->substr(0, slash));
      dataset.set_split(flags.validation->substr(slash + 1));
    }
  } else if (flags.validation_tail.has_value()) {
    request.mutable_validation()->set_tail(*flags.validation_tail);
  } else if (flags.validation_split.has_value()) {
    request.mutable_validation()->set_split(*flags.validation_split);
  } else if (flags.no_validation) {
    request.mutable_validation()->set_none(true);
  }
  return absl::OkStatus();
}

absl::Status BuildOptimizer(const TrainFlags& flags, v1::TrainRequest& request) {
  const std::string kind = flags.optimizer.value_or("adam");
  if (kind == "sgd") {
    v1::Sgd& sgd = *request.mutable_optimizer()->mutable_sgd();
    if (flags.learning_rate.has_value()) sgd.set_learning_rate(*flags.learning_rate);
    if (flags.momentum.has_value()) sgd.set_momentum(*flags.momentum);
    sgd.set_nesterov(flags.nesterov);
    return absl::OkStatus();
  }
  if (kind != "adam") {
    return UsageError(absl::StrCat("--optimizer is adam or sgd, not \"", kind, "\""));
  }
  if (flags.momentum.has_value() || flags.nesterov) {
    return UsageError("--momentum and --nesterov go with --optimizer sgd");
  }
  v1::Adam& adam = *request.mutable_optimizer()->mutable_adam();
  if (flags.learning_rate.has_value()) adam.set_learning_rate(*flags.learning_rate);
  return absl::OkStatus();
}

absl::Status BuildEarlyStopping(const TrainFlags& flags, v1::TrainRequest& request) {
  if (!flags.patience.has_value()) {
    if (flags.monitor.has_value() || flags.min_delta.has_value() || flags.restore_best) {
      return UsageError(
          "--monitor, --min-delta and --restore-best go with --patience N, which turns early "
          "stopping on");
    }
    return absl::OkStatus();
  }
  v1::EarlyStopping& early_stopping = *request.mutable_early_stopping();
  early_stopping.set_patience(*flags.patience);
  if (flags.min_delta.has_value()) early_stopping.set_min_delta(*flags.min_delta);
  if (flags.restore_best) early_stopping.set_restore_best(true);
  if (!flags.monitor.has_value()) return absl::OkStatus();
  for (const auto& [name, monitor] :
       {std::pair<const char*, v1::EarlyStopping::Monitor>{"val_loss", v1::EarlyStopping::VAL_LOSS},
        {"val_accuracy", v1::EarlyStopping::VAL_ACCURACY},
        {"loss", v1::EarlyStopping::LOSS},
        {"accuracy", v1::EarlyStopping::ACCURACY}}) {
    if (*flags.monitor != name) continue;
    early_stopping.set_monitor(monitor);
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("--monitor: got \"",
                                 absl::Utf8SafeCEscape(flags.monitor->substr(0, 80)),
                                 "\"; want one of val_loss, val_accuracy, loss, accuracy"));
}

absl::Status BuildMaxRuntime(const TrainFlags& flags, v1::TrainRequest& request) {
  if (!flags.max_runtime.has_value()) return absl::OkStatus();
  absl::Duration duration;
  if (!absl::ParseDuration(*flags.max_runtime, &duration) ||
      absl::AbsDuration(duration) == absl::InfiniteDuration()) {
    return UsageError(absl::StrCat("--max-runtime: got \"",
                                   absl::Utf8SafeCEscape(flags.max_runtime->substr(0, 80)),
                                   "\"; want a time with its unit, as 90s, 30m or 1h30m"));
  }
  absl::Duration rest;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &rest);
  request.mutable_max_runtime()->set_seconds(seconds);
  request.mutable_max_runtime()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return absl::OkStatus();
}

absl::Status BuildInitialModel(const TrainFlags& flags, v1::TrainRequest& request) {
  if (!flags.initial_model.has_value()) return absl::OkStatus();
  const absl::StatusOr<v1::ModelVersion> model = ParseModelSpec(*flags.initial_model);
  if (!model.ok()) {
    return UsageError(absl::StrCat("--initial-model: ", model.status().message()));
  }
  *request.mutable_initial_model() = *model;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Network> ParseNetwork(const std::string& text, const std::string& name) {
  v1::Network network;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kDeepestNesting);
  if (!parser.ParseFromString(text, &network)) {
    return UsageError(absl::StrCat(name, ":", error.text));
  }
  return network;
}

absl::StatusOr<v1::TrainRequest> BuildTrainRequest(const TrainFlags& flags) {
  v1::TrainRequest request;
  request.set_model(flags.model);
  CONVD_RETURN_IF_ERROR(BuildArchitecture(flags, request));
  request.mutable_dataset()->set_name(flags.dataset);
  request.mutable_dataset()->set_split(flags.split);
  CONVD_RETURN_IF_ERROR(BuildValidation(flags, request));
  CONVD_RETURN_IF_ERROR(BuildOptimizer(flags, request));
  CONVD_RETURN_IF_ERROR(BuildEarlyStopping(flags, request));
  CONVD_RETURN_IF_ERROR(BuildMaxRuntime(flags, request));
  CONVD_RETURN_IF_ERROR(BuildInitialModel(flags, request));
  if (flags.epochs.has_value()) request.set_epochs(*flags.epochs);
  if (flags.batch_size.has_value()) request.set_batch_size(*flags.batch_size);
  if (flags.seed.has_value()) request.set_seed(*flags.seed);
  if (flags.no_shuffle) request.set_shuffle(false);
  if (flags.horizontal_flip) request.mutable_augmentation()->set_horizontal_flip(true);
  if (flags.shift.has_value()) request.mutable_augmentation()->set_shift(*flags.shift);
  if (flags.micro_batch.has_value()) request.set_micro_batch(*flags.micro_batch);
  request.set_precision(flags.precision);
  request.set_serving_precision(flags.serving_precision);
  if (flags.priority.has_value()) request.set_priority(*flags.priority);
  request.set_allow_different_bits(flags.allow_different_bits);
  request.set_request_id(flags.request_id);
  return request;
}

}  // namespace convd
