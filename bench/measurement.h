#ifndef CONVD_BENCH_MEASUREMENT_H_
#define CONVD_BENCH_MEASUREMENT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/dnn/plan.h"
#include "core/nn/graph.h"

namespace convd {

// What one run of a benchmark program found, as the peers' scripts report it too.
struct Measurement {
  std::string mode;  // "train", "infer"
  std::string network;
  v1::Precision precision = v1::PRECISION_F32;
  int threads = 1;
  int64_t batch = 1;
  int64_t images = 0;
  double seconds = 0;
  int64_t flop_per_image = 0;
  // Of the threads' time, what they waited for one another or for the thread between two steps; not
  // known below 0.
  double idle_share = -1;
};

// Measures the FMA peak of `threads` threads and prints the measurement on stdout beside it: a
// sentence, or a JSON object on one line.
void PrintMeasurement(const Measurement& measurement, bool json);

// The precisions by their names, for a program's --precision.
std::map<std::string, v1::Precision> Precisions();

// What int8 takes of a network with its initial weights (seed 0), over synthetic images.
absl::StatusOr<v1::Quantization> SyntheticQuantization(const Graph& graph);

// A preset by name, or else a network's textproto by path. Errors name the file.
absl::StatusOr<Graph> OpenNetwork(const std::string& preset_or_path);

// FLOP of one image by the calls of a plan. FAILED_PRECONDITION names those whose kernel isn't the
// planned one (core/dnn/plan.h): what is measured then isn't what convd is meant to do.
absl::StatusOr<int64_t> PlannedFlop(const Graph& graph, const PlanOptions& options);

// Labelled images from a pair of IDX files (plain or gzip), at most `count` of them.
absl::StatusOr<ImageSet> ReadIdxFiles(const std::string& images, const std::string& labels,
                                      int64_t count);

}  // namespace convd

#endif  // CONVD_BENCH_MEASUREMENT_H_
