#ifndef CONVD_CLIENT_CONVCTL_TRAIN_REQUEST_H_
#define CONVD_CLIENT_CONVCTL_TRAIN_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"

namespace convd {

// What `convctl train` was given; unset means that the server fills in its default.
struct TrainFlags {
  std::string model;
  std::string preset;
  std::string network_file;
  std::string dataset;
  std::string split;
  std::optional<std::string> validation;  // SPLIT, or DATASET/SPLIT
  std::optional<int64_t> validation_tail;
  std::optional<double> validation_split;
  bool no_validation = false;
  std::optional<int64_t> epochs;
  std::optional<int64_t> batch_size;
  std::optional<std::string> optimizer;  // "adam" or "sgd"
  std::optional<double> learning_rate;
  std::optional<double> momentum;
  bool nesterov = false;
  std::optional<uint64_t> seed;
  bool no_shuffle = false;
  bool horizontal_flip = false;
  std::optional<int32_t> shift;
  std::optional<int64_t> micro_batch;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
  v1::Precision serving_precision = v1::PRECISION_UNSPECIFIED;
  std::optional<int64_t> patience;     // early stopping is on where it is given
  std::optional<std::string> monitor;  // "val_loss", "val_accuracy", "loss" or "accuracy"
  std::optional<double> min_delta;
  bool restore_best = false;
  std::optional<std::string> max_runtime;  // "1h30m"
  std::optional<int32_t> priority;
  bool allow_different_bits = false;
  std::optional<std::string> initial_model;  // as model_spec.h reads it
  std::string request_id;
};

// The request they stand for. A usage error (exit_code.h) where they contradict each other, one is
// no duration, model or known word, or the network's file can't be read or parsed (with line and
// column). Other values are the server's to check.
absl::StatusOr<v1::TrainRequest> BuildTrainRequest(const TrainFlags& flags);

// A network as text (protobuf's text format); `name` is what errors call the file.
absl::StatusOr<v1::Network> ParseNetwork(const std::string& text, const std::string& name);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_TRAIN_REQUEST_H_
