#ifndef CONVD_CLIENT_CONVCTL_BENCH_TARGET_H_
#define CONVD_CLIENT_CONVCTL_BENCH_TARGET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/convctl/session.h"
#include "client/load/load_target.h"
#include "convd/v1/datasets.pb.h"
#include "convd/v1/model.pb.h"

namespace convd {

// The calls that `convctl bench` makes, whatever the protocol.
struct BenchCalls {
  std::string model;               // as ParseModelSpec reads it
  int64_t images = 1;              // a call
  std::vector<std::string> files;  // of images; random pixels where there is none
  v1::ImageSize shape;             // of random pixels; unset: as the server says
  int64_t seed = 1;
  int32_t connections = 1;
  int32_t slots = 1;
  // Where the protocol has them.
  std::optional<int32_t> top_k;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
};

// Each prepares the calls by its protocol, makes one so that what can't work is said before it is
// measured, and connects. Usage errors (exit_code.h), or what the server says.
using OpenBenchTarget = absl::StatusOr<std::unique_ptr<LoadTarget>>(Session& session,
                                                                    const BenchCalls& calls);
OpenBenchTarget OpenConvdTarget;  // convd.v1.Predictor
OpenBenchTarget OpenRestTarget;   // the same as JSON over HTTP; session.server() is that address
OpenBenchTarget OpenOipTarget;    // the Open Inference Protocol's ModelInfer, over gRPC

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_BENCH_TARGET_H_
