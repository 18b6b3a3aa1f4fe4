// Measures training: epochs of a preset or of a network of one's own, by the trainer that the
// server runs. `train --help` lists the options.

#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/measurement.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/synthetic_images.h"
#include "core/exec/executor.h"
#include "core/status/status_macros.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"

namespace convd {
namespace {

struct Options {
  std::string network = "keras-mnist";
  std::vector<std::string> idx;  // images, labels; empty means synthetic ones
  std::string isa;               // "avx2", "avx512"; empty leaves it to the CPU
  int threads = 1;
  v1::Precision precision = v1::PRECISION_F32;
  int64_t batch = 1000;
  int64_t micro_batch = 0;
  bool horizontal_flip = false;
  int32_t shift = 0;
  bool without_floor = false;
  int64_t images = 60000;
  int64_t epochs = 2;  // the fastest counts
  bool json = false;
};

// Remembers nothing: the trainer keeps the history.
class SilentObserver : public TrainingObserver {
 public:
  void OnProgress(const TrainingProgress&) override {}
  void OnEpoch(const v1::EpochRecord&) override {}
  bool Cancelled() const override { return false; }
};

// Of all threads of this process.
double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

absl::Status Measure(const Options& options) {
  CONVD_RETURN_IF_ERROR(CheckCpu());
  CONVD_RETURN_IF_ERROR(SetInstructionSet(options.isa));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, OpenNetwork(options.network));
  TrainingData data;
  if (options.idx.empty()) {
    data.train = SyntheticImages(graph, options.images);
  } else {
    CONVD_ASSIGN_OR_RETURN(data.train,
                           ReadIdxFiles(options.idx[0], options.idx[1], options.images));
  }
  for (int i = 0; i < graph.classes(); ++i) data.labels.push_back(std::to_string(i));

  v1::TrainRequest request;
  request.set_batch_size(options.batch);
  request.set_micro_batch(options.micro_batch);
  // A batch so large that only calls and caches bound its micro-batches.
  if (options.without_floor)
    request.set_micro_batch(std::min(MicroBatchImages(graph, int64_t{1} << 20), options.batch));
  request.set_epochs(options.epochs);
  request.set_precision(options.precision);
  request.mutable_augmentation()->set_horizontal_flip(options.horizontal_flip);
  request.mutable_augmentation()->set_shift(options.shift);
  CONVD_RETURN_IF_ERROR(ResolveTraining(request));

  // As the trainer has it.
  const int64_t batch = std::min(request.batch_size(), data.train.count);
  const int64_t images = request.micro_batch() > 0 ? std::min(request.micro_batch(), batch)
                                                   : MicroBatchImages(graph, batch);
  CONVD_ASSIGN_OR_RETURN(
      const int64_t flop_per_image,
      PlannedFlop(graph, {.training = true, .images = images, .precision = options.precision}));
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(options.threads);
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                         Trainer::Create(graph, request, data, *executor, Clock::Real()));
  SilentObserver observer;
  const double cpu = CpuSeconds();
  const absl::Duration start = Clock::Real().Monotonic();
  CONVD_RETURN_IF_ERROR(trainer->Run(observer));
  const double available =
      options.threads * absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);

  double rate = 0;
  for (const v1::EpochRecord& epoch : trainer->history()) {
    rate = std::max(rate, epoch.images_per_second());
  }
  Measurement measurement;
  measurement.mode = "train";
  measurement.network = graph.name();
  measurement.precision = options.precision;
  measurement.threads = options.threads;
  measurement.batch = options.batch;
  measurement.images = data.train.count;
  measurement.seconds = static_cast<double>(data.train.count) / rate;
  measurement.flop_per_image = flop_per_image;
  measurement.idle_share = std::max(0.0, 1 - (CpuSeconds() - cpu) / available);
  PrintMeasurement(measurement, options.json);
  return absl::OkStatus();
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
  convd::Options options;
  CLI::App app(
      "Measures training, on synthetic images unless --idx: images/s, and the share of the FMA "
      "peak.");
  app.add_option("--network", options.network, "a preset, or a network's textproto")
      ->capture_default_str();
  app.add_option("--idx", options.idx, "IMAGES LABELS: real images from IDX files (plain or gzip)")
      ->expected(2);
  app.add_option("--isa", options.isa, "avx2 or avx512; the CPU's best unless given");
  app.add_option("--precision", options.precision, "f32 or bf16")
      ->transform(CLI::CheckedTransformer(convd::Precisions()));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--batch", options.batch)->capture_default_str();
  app.add_option("--micro-batch", options.micro_batch, "0: the engine's choice")
      ->capture_default_str();
  app.add_flag(
         "--without-floor", options.without_floor,
         "micro-batches as large as one of a huge batch, though a batch has fewer than 16 then")
      ->excludes("--micro-batch");
  app.add_flag("--horizontal-flip", options.horizontal_flip, "augmentation, when training");
  app.add_option("--shift", options.shift, "augmentation, when training: pixels")
      ->capture_default_str();
  app.add_option("--images", options.images, "of an epoch")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->capture_default_str();
  app.add_option("--epochs", options.epochs, "the fastest counts")->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object on a line");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = convd::Measure(options); !status.ok()) {
    std::cerr << "train: " << std::string(status.message()) << "\n";
    return 1;
  }
  return 0;
}
