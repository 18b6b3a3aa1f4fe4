#include "core/train/checkpoint.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/data/finite.h"
#include "core/dnn/quantization.h"
#include "core/status/status_macros.h"
#include "core/train/early_stopping.h"

namespace convd {
namespace {

using ::google::protobuf::util::MessageDifferencer;

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "CVTS";
constexpr uint32_t kFormat = 1;
constexpr size_t kHeader = 16;
// An honest state has megabytes at most: 100,000 epochs and a confusion matrix.
constexpr uint64_t kMostState = 256 << 20;
// Of a difference between two requests, in an error.
constexpr size_t kMostWords = 300;

template <typename T>
T ReadNumber(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void AppendNumber(T value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
absl::Status Damaged(absl::string_view field, T found, absl::string_view want) {
  return absl::DataLossError(absl::StrCat("checkpoint: ", field, ": got ", found, "; want ", want));
}

absl::Status CheckSeconds(absl::string_view field, double seconds) {
  if (std::isfinite(seconds) && seconds >= 0) return absl::OkStatus();
  return Damaged(field, seconds, "a finite number, at least 0");
}

absl::Status CheckSameRun(const v1::TrainerState& state, const v1::TrainerState& run) {
  if (!MessageDifferencer::Equals(state.network(), run.network())) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint: it is of another network than \"", run.network().name(), "\""));
  }
  MessageDifferencer differencer;
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  if (!differencer.Compare(run.request(), state.request())) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint: it is of another request (this one's -> the checkpoint's): ",
                     difference.substr(0, std::min(difference.find('\n'), kMostWords))));
  }
  const auto samples = [](const char* what, int64_t of, int64_t want) {
    return of == want
               ? absl::OkStatus()
               : absl::FailedPreconditionError(absl::StrCat("checkpoint: it is of ", of, " ", what,
                                                            " samples; this run has ", want));
  };
  CONVD_RETURN_IF_ERROR(samples("training", state.train_samples(), run.train_samples()));
  return samples("validation", state.validation_samples(), run.validation_samples());
}

absl::Status CheckRecord(const v1::EpochRecord& record, int64_t epoch, bool validates) {
  const std::string field = absl::StrCat("history[", epoch - 1, "]");
  if (record.epoch() != epoch)
    return Damaged(field + ".epoch", record.epoch(), absl::StrCat(epoch));
  for (const double figure : {record.loss(), record.accuracy(), record.val_loss(),
                              record.val_accuracy(), record.images_per_second()}) {
    if (!std::isfinite(figure)) return Damaged(field, figure, "finite figures");
  }
  if (record.has_val_loss() != validates || record.has_val_accuracy() != validates) {
    return Damaged(field, record.has_val_loss() ? "a validation" : "no validation",
                   "one in each epoch, or else in none");
  }
  return CheckSeconds(field + ".seconds", record.seconds());
}

// Whether the weights of the best epoch are kept.
bool HasBest(const v1::TrainerState& state) {
  return state.request().early_stopping().restore_best() && state.history_size() > 0;
}

// That no epoch comes after those that early stopping allows.
absl::Status CheckEarlyStopping(const v1::TrainerState& s) {
  if (!s.request().has_early_stopping()) return absl::OkStatus();
  EarlyStopping stopping(s.request().early_stopping());
  int64_t epochs = 0;
  for (const v1::EpochRecord& record : s.history()) {
    if (stopping.stops()) break;
    stopping.Add(record);
    ++epochs;
  }
  if (epochs == s.history_size() && !(stopping.stops() && s.seen() > 0)) return absl::OkStatus();
  return Damaged("history", absl::StrCat(s.history_size(), " epochs and ", s.seen(), " samples"),
                 absl::StrCat(epochs, " epochs, where early stopping ends the run"));
}

absl::Status CheckServing(const char* prefix, const v1::Metrics& validation,
                          const v1::Quantization& quantization, int64_t validated,
                          const Graph& graph) {
  if (validation.samples() != validated) {
    return Damaged(absl::StrCat(prefix, "validation.samples"), validation.samples(),
                   absl::StrCat(validated));
  }
  if (quantization.samples() == 0) return absl::OkStatus();
  const absl::Status fits = InputScales(graph, quantization).status();
  if (fits.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("checkpoint: ", prefix, fits.message()));
}

// That the state is at a place which the run gets to.
absl::Status CheckPlace(const v1::TrainerState& s, const Graph& graph) {
  const v1::TrainRequest& request = s.request();
  const int64_t epochs = s.history_size(), batch = request.batch_size();
  if (epochs > request.epochs())
    return Damaged("history", epochs, absl::StrCat("at most ", request.epochs(), " epochs"));
  for (int64_t i = 0; i < epochs; ++i) {
    CONVD_RETURN_IF_ERROR(
        CheckRecord(s.history(static_cast<int>(i)), i + 1, s.validation_samples() > 0));
  }
  CONVD_RETURN_IF_ERROR(CheckEarlyStopping(s));
  const int64_t most = epochs < request.epochs() ? s.train_samples() : 0;
  if (s.seen() < 0 || s.seen() > most || (s.seen() % batch != 0 && s.seen() != most))
    return Damaged("seen", s.seen(), absl::StrCat("whole batches of ", batch, ", at most ", most));
  const int64_t steps =
      epochs * ((s.train_samples() + batch - 1) / batch) + (s.seen() + batch - 1) / batch;
  if (s.steps() != steps) return Damaged("steps", s.steps(), absl::StrCat(steps));
  if (s.correct() < 0 || s.correct() > s.seen())
    return Damaged("correct", s.correct(), absl::StrCat("0 to ", s.seen()));
  if (!std::isfinite(s.loss_sum())) return Damaged("loss_sum", s.loss_sum(), "a finite number");
  CONVD_RETURN_IF_ERROR(CheckSeconds("seconds", s.seconds()));
  CONVD_RETURN_IF_ERROR(CheckSeconds("training_seconds", s.training_seconds()));
  CONVD_RETURN_IF_ERROR(CheckServing("", s.validation(), s.quantization(),
                                     epochs > 0 ? s.validation_samples() : 0, graph));
  return CheckServing("best_", s.best_validation(), s.best_quantization(),
                      HasBest(s) ? s.validation_samples() : 0, graph);
}

int64_t Arrays(const v1::TrainerState& state) {
  return (state.request().optimizer().has_adam() ? 3 : 2) + (HasBest(state) ? 1 : 0);
}

}  // namespace

v1::TrainerState StateOfRun(const Graph& graph, const v1::TrainRequest& request,
                            int64_t train_samples, int64_t validation_samples) {
  v1::TrainerState state;
  *state.mutable_network() = graph.network();
  v1::TrainRequest& r = *state.mutable_request();
  r = request;
  r.clear_model();
  r.clear_architecture();
  r.clear_dataset();
  r.clear_validation();
  r.clear_request_id();
  r.clear_max_runtime();
  r.clear_priority();
  r.clear_allow_different_bits();
  state.set_train_samples(train_samples);
  state.set_validation_samples(validation_samples);
  return state;
}

absl::Status WriteTrainerState(const v1::TrainerState& state, CheckpointSink sink) {
  const uint64_t size = state.ByteSizeLong();
  if (size > kMostState) {
    return absl::ResourceExhaustedError(
        absl::StrCat("checkpoint: the state takes ", size, " bytes; want at most ", kMostState));
  }
  std::string bytes(kMagic);
  AppendNumber(kFormat, bytes);
  AppendNumber(size, bytes);
  if (!state.AppendToString(&bytes))
    return absl::InternalError("checkpoint: no bytes of its state");
  return sink(bytes);
}

absl::Status WriteArray(absl::Span<const float> values, CheckpointSink sink) {
  return sink({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

absl::StatusOr<SavedTrainer> SavedTrainer::Read(std::string_view saved, const v1::TrainerState& run,
                                                const Graph& graph) {
  if (saved.size() < kHeader || saved.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError(absl::StrCat("checkpoint: at byte 0: got ", saved.size(),
                                            " bytes that don't begin as a saved trainer; want "
                                            "\"CVTS\" and a header of 16 bytes"));
  }
  const uint32_t format = ReadNumber<uint32_t>(saved, 4);
  if (format != kFormat) return Damaged("format, at byte 4", format, absl::StrCat(kFormat));
  const uint64_t size = ReadNumber<uint64_t>(saved, 8);
  const std::string_view rest = saved.substr(kHeader);
  if (size > rest.size() || size > kMostState) {
    return Damaged(
        "the state's size, at byte 8", size,
        absl::StrCat("at most the ", rest.size(), " bytes that follow, and ", kMostState));
  }
  v1::TrainerState state;
  if (!state.ParseFromArray(rest.data(), static_cast<int>(size))) {
    return absl::DataLossError(
        "checkpoint: at byte 16: got bytes that are no TrainerState; want one");
  }
  CONVD_RETURN_IF_ERROR(CheckSameRun(state, run));
  CONVD_RETURN_IF_ERROR(CheckPlace(state, graph));
  const std::string_view arrays = rest.substr(size);
  const uint64_t want =
      static_cast<uint64_t>(Arrays(state) * graph.parameter_count()) * sizeof(float);
  if (arrays.size() != want) {
    return Damaged(absl::StrCat("the arrays, from byte ", kHeader + size), arrays.size(),
                   absl::StrCat(want, " bytes, which are ", Arrays(state), " arrays of ",
                                graph.parameter_count(), " floats"));
  }
  return SavedTrainer(std::move(state), arrays);
}

absl::Status SavedTrainer::ReadArray(std::string_view name, absl::Span<float> values) {
  const size_t bytes = values.size() * sizeof(float);
  if (bytes > 0) std::memcpy(values.data(), arrays_.data(), bytes);
  arrays_.remove_prefix(bytes);
  const size_t bad = FirstNonFinite(values);
  if (bad == values.size()) return absl::OkStatus();
  return Damaged(absl::StrCat(absl::string_view(name.data(), name.size()), "[", bad, "]"),
                 values[bad], "finite values");
}

}  // namespace convd
