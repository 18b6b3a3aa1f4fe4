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
  std::string request_id;
};

// The request they stand for. A usage error (exit_code.h) where they contradict each other, or the
// network's file can't be read or parsed (with line and column). Values are the server's to check.
absl::StatusOr<v1::TrainRequest> BuildTrainRequest(const TrainFlags& flags);

// A network as text (protobuf's text format); `name` is what errors call the file.
absl::StatusOr<v1::Network> ParseNetwork(const std::string& text, const std::string& name);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_TRAIN_REQUEST_H_
