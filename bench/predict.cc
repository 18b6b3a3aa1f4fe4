// Measures prediction: requests of a few images, answered in the predict lane by the inference
// model that the server runs. `predict --help` lists the options.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "bench/measurement.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/synthetic_images.h"
#include "core/exec/executor.h"
#include "core/nn/initial_parameters.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {
namespace {

struct Options {
  std::string network = "keras-mnist";
  std::string isa;
  std::string onnx;  // where to write the network as an ONNX file instead of measuring it
  v1::Precision precision = v1::PRECISION_F32;
  int threads = 1;
  int concurrency = 1;
  int64_t batch = 1;
  double seconds = 2;
  bool json = false;
};

// One request, in pieces as the server makes them.
absl::Status Answer(const InferenceModel& model, const ImageSet& images, int workers,
                    Executor& executor, absl::Span<float> probabilities) {
  const int64_t piece = PieceImages(model, images.count, workers);
  const int64_t pieces = (images.count + piece - 1) / piece;
  const int classes = model.graph().classes();
  std::vector<absl::Status> statuses(pieces);
  executor.ForEach(Lane::kPredict, pieces, [&](int64_t i) {
    const int64_t begin = i * piece, n = std::min(piece, images.count - begin);
    statuses[i] =
        model.Infer(images.Slice(begin, n), probabilities.subspan(begin * classes, n * classes),
                    executor, [] { return false; });
  });
  for (const absl::Status& status : statuses) CONVD_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::Status WriteModel(const Graph& graph, const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const std::string bytes,
                         WriteOnnx(graph, InitialParameters(graph, 0), {}));
  return WriteFileAtomically(FileSystem::Posix(), path, bytes);
}

absl::Status Measure(const Options& options) {
  CONVD_RETURN_IF_ERROR(CheckCpu());
  CONVD_RETURN_IF_ERROR(SetInstructionSet(options.isa));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, OpenNetwork(options.network));
  if (!options.onnx.empty()) return WriteModel(graph, options.onnx);
  const ImageSet images = SyntheticImages(graph, options.batch);
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(options.threads);
  const std::vector<float> parameters = InitialParameters(graph, 0);
  CONVD_ASSIGN_OR_RETURN(const v1::Quantization quantization, SyntheticQuantization(graph));
  int64_t flop_per_image = 0;
  for (const int64_t size : PredictionSizes(graph)) {
    CONVD_ASSIGN_OR_RETURN(flop_per_image, PlannedFlop(graph, {.images = size,
                                                               .precision = options.precision,
                                                               .quantization = &quantization}));
  }
  CONVD_ASSIGN_OR_RETURN(
      const std::shared_ptr<const InferenceModel> model,
      CompileInferenceModel(graph, parameters,
                            {.precision = options.precision, .quantization = &quantization}));
  const Clock& clock = Clock::Real();

  std::vector<float> warm_up(images.count * graph.classes());
  for (int64_t i = 0; i < std::max<int64_t>(3, 300 / options.batch); ++i) {
    CONVD_RETURN_IF_ERROR(
        Answer(*model, images, options.threads, *executor, absl::MakeSpan(warm_up)));
  }

  std::atomic<int64_t> done = 0;
  std::vector<absl::Status> statuses(options.concurrency);
  std::vector<std::thread> clients;
  const absl::Duration start = clock.Monotonic(), end = start + absl::Seconds(options.seconds);
  for (int c = 0; c < options.concurrency; ++c) {
    clients.emplace_back([&, c] {
      std::vector<float> probabilities(images.count * graph.classes());
      while (statuses[c].ok() && clock.Monotonic() < end) {
        statuses[c] =
            Answer(*model, images, options.threads, *executor, absl::MakeSpan(probabilities));
        done += images.count;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const absl::Duration took = clock.Monotonic() - start;
  for (const absl::Status& status : statuses) CONVD_RETURN_IF_ERROR(status);

  Measurement measurement;
  measurement.mode = "infer";
  measurement.network = graph.name();
  measurement.precision = options.precision;
  measurement.threads = options.threads;
  measurement.batch = options.batch;
  measurement.images = done;
  measurement.seconds = absl::ToDoubleSeconds(took);
  measurement.flop_per_image = flop_per_image;
  PrintMeasurement(measurement, options.json);
  return absl::OkStatus();
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
  convd::Options options;
  CLI::App app("Measures prediction on synthetic images: images/s, and the share of the FMA peak.");
  app.add_option("--network", options.network, "a preset, or a network's textproto")
      ->capture_default_str();
  app.add_option("--isa", options.isa, "avx2 or avx512; the CPU's best unless given");
  app.add_option("--precision", options.precision, "f32, bf16 or int8")
      ->transform(CLI::CheckedTransformer(convd::Precisions()));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--batch", options.batch, "images in a request")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->capture_default_str();
  app.add_option("--concurrency", options.concurrency, "requests in flight")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds)
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app.add_option("--onnx", options.onnx, "write the network to this ONNX file and measure nothing");
  app.add_flag("--json", options.json, "one JSON object on a line");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = convd::Measure(options); !status.ok()) {
    std::cerr << "predict: " << std::string(status.message()) << "\n";
    return 1;
  }
  return 0;
}
