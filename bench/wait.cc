// Measures how long a prediction waits for training, from the predict lane to its start, while a
// network trains on all workers. `wait --help` lists the options.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "bench/measurement.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/synthetic_images.h"
#include "core/exec/executor.h"
#include "core/random/random.h"
#include "core/status/status_macros.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"

namespace convd {
namespace {

struct Options {
  std::string network = "keras-mnist";
  std::string isa;
  v1::Precision precision = v1::PRECISION_F32;
  int threads = 2;
  int nice = 5;
  int64_t batch = 1000;
  int64_t images = 20000;
  double rate = 200;  // a second
  double seconds = 10;
  double quota = 0;  // cores; 0: none
  bool json = false;
};

// Trains until it is told to stop.
class UntilStopped : public TrainingObserver {
 public:
  void OnProgress(const TrainingProgress& progress) override {
    images_per_second.store(progress.images_per_second);
  }
  void OnEpoch(const v1::EpochRecord&) override {}
  bool Cancelled() const override { return stop.load(); }
  std::atomic<bool> stop{false};
  std::atomic<double> images_per_second{0};  // of the running epoch
};

absl::Status Measure(const Options& options) {
  CONVD_RETURN_IF_ERROR(CheckCpu());
  CONVD_RETURN_IF_ERROR(SetInstructionSet(options.isa));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, OpenNetwork(options.network));
  TrainingData data;
  data.train = SyntheticImages(graph, options.images);
  for (int i = 0; i < graph.classes(); ++i) data.labels.push_back(std::to_string(i));
  v1::TrainRequest request;
  request.set_batch_size(options.batch);
  request.set_epochs(100'000);
  request.set_precision(options.precision);
  CONVD_RETURN_IF_ERROR(ResolveTraining(request));
  const Clock& clock = Clock::Real();
  const std::unique_ptr<Executor> executor =
      NewThreadedExecutor(options.threads, {.nice = options.nice,
                                            .cpu_quota = absl::Milliseconds(100 * options.quota),
                                            .cpu_period = absl::Milliseconds(100)});
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                         Trainer::Create(graph, request, data, *executor, clock));
  UntilStopped observer;
  absl::Status trained;
  std::thread training([&] { trained = trainer->Run(observer); });

  absl::Mutex mu;
  std::vector<double> waits;  // milliseconds
  // Past the first steps, in which memory is touched for the first time.
  const absl::Duration begin = clock.Monotonic() + absl::Seconds(1);
  const absl::Duration end = begin + absl::Seconds(options.seconds);
  int64_t arrivals = 0, started = 0;
  absl::Duration next = begin;
  // Poisson's arrivals, so that they don't fall into step with the training.
  for (uint32_t i = 0; next < end; ++i) {
    absl::SleepFor(next - clock.Monotonic());
    ++arrivals;
    executor->Submit(Lane::kPredict, [&, submitted = clock.Monotonic()] {
      const double wait = absl::ToDoubleMilliseconds(clock.Monotonic() - submitted);
      absl::MutexLock lock(&mu);
      waits.push_back(wait);
      ++started;
    });
    const uint32_t word = RandomBlock({.seed = 1, .sample = i}, 0)[0];
    const double uniform = (static_cast<double>(word) + 0.5) * 0x1p-32;
    next += absl::Seconds(-std::log(uniform) / options.rate);
  }
  {
    const auto all = [&] { return started == arrivals; };
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(&all));
  }
  observer.stop.store(true);
  training.join();
  if (!trained.ok() && !absl::IsCancelled(trained)) return trained;

  absl::MutexLock lock(&mu);
  std::sort(waits.begin(), waits.end());
  const auto at = [&](double share) {
    return waits[std::min(waits.size() - 1,
                          static_cast<size_t>(share * static_cast<double>(waits.size())))];
  };
  if (options.json) {
    nlohmann::json line = {{"mode", "wait"},
                           {"network", graph.name()},
                           {"threads", options.threads},
                           {"batch", options.batch},
                           {"isa", std::string(InstructionSet())},
                           {"p50_ms", at(0.5)},
                           {"p90_ms", at(0.9)},
                           {"p99_ms", at(0.99)},
                           {"max_ms", waits.back()},
                           {"predictions", waits.size()},
                           {"images_per_second", observer.images_per_second.load()},
                           {"paused_seconds", executor->Use().paused_seconds}};
    std::cout << line.dump() << "\n";
  } else {
    std::cout << absl::StrFormat(
        "%s, batch %d, %d workers, %s: %d predictions waited p50 %.3f, p90 %.3f, p99 %.3f, at most "
        "%.3f ms; %.0f images/s trained, paced for %.2f s\n",
        graph.name(), options.batch, options.threads, InstructionSet(), waits.size(), at(0.5),
        at(0.9), at(0.99), waits.back(), observer.images_per_second.load(),
        executor->Use().paused_seconds);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
  convd::Options options;
  CLI::App app(
      "Measures how long predictions wait for a worker while a network trains on all of them: from "
      "the lane to the start, without the wire.");
  app.add_option("--network", options.network, "a preset, or a network's textproto")
      ->capture_default_str();
  app.add_option("--isa", options.isa, "avx2 or avx512; the CPU's best unless given");
  app.add_option("--precision", options.precision, "f32 or bf16")
      ->transform(CLI::CheckedTransformer(convd::Precisions()));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--nice", options.nice)->check(CLI::Range(0, 19))->capture_default_str();
  app.add_option("--batch", options.batch)->capture_default_str();
  app.add_option("--images", options.images, "of an epoch")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->capture_default_str();
  app.add_option("--rate", options.rate, "predictions a second")
      ->check(CLI::Range(1.0, 10000.0))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds)
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--quota", options.quota,
                 "cores that training is paced to stay below, as under a cgroup's quota; 0: none")
      ->check(CLI::Range(0.0, 1024.0))
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object on a line");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = convd::Measure(options); !status.ok()) {
    std::cerr << "wait: " << std::string(status.message()) << "\n";
    return 1;
  }
  return 0;
}
