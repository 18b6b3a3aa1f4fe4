// Shows each call of a network's training and prediction plans, as `convctl explain` does for a
// trained model. `explain --help` lists the options.

#include "core/dnn/explain.h"

#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "bench/measurement.h"
#include "client/convctl/explanation_text.h"
#include "core/dnn/engine_info.h"
#include "core/status/status_macros.h"
#include "core/time/clock.h"

namespace convd {
namespace {

struct Options {
  std::string network = "keras-mnist";
  std::string isa;
  v1::Precision precision = v1::PRECISION_F32;
  int64_t batch = 1000;
  int64_t micro_batch = 0;
  bool horizontal_flip = false;
  int32_t shift = 0;
  bool json = false;
};

absl::Status PrintJson(const v1::Explanation& explanation) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(explanation, &json, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat("no JSON form: ", status.ToString()));
  }
  std::cout << json << std::endl;
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  CONVD_RETURN_IF_ERROR(CheckCpu());
  CONVD_RETURN_IF_ERROR(SetInstructionSet(options.isa));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, OpenNetwork(options.network));
  CONVD_ASSIGN_OR_RETURN(const v1::Quantization quantization, SyntheticQuantization(graph));
  v1::Augmentation augmentation;
  augmentation.set_horizontal_flip(options.horizontal_flip);
  augmentation.set_shift(options.shift);
  CONVD_ASSIGN_OR_RETURN(
      const v1::Explanation explanation,
      Explain(graph,
              {.batch_size = options.batch,
               .micro_batch = options.micro_batch,
               .train_precision =
                   options.precision == v1::PRECISION_BF16 ? v1::PRECISION_BF16 : v1::PRECISION_F32,
               .predict_precision = options.precision,
               .quantization = &quantization,
               .augmentation = augmentation},
              Clock::Real(), [] { return true; }));
  if (options.json) return PrintJson(explanation);
  std::cout << ExplanationText(options.network, explanation) << std::flush;
  return absl::OkStatus();
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
  convd::Options options;
  CLI::App app(
      "Shows each step of training and prediction: kernel, layout, FLOP, bytes, time and share of "
      "the FMA peak.");
  app.add_option("--network", options.network, "a preset, or a network's textproto")
      ->capture_default_str();
  app.add_option("--isa", options.isa, "avx2 or avx512; the CPU's best unless given");
  app.add_option("--precision", options.precision, "f32, bf16 or int8 (prediction only)")
      ->transform(CLI::CheckedTransformer(convd::Precisions()));
  app.add_option("--batch", options.batch, "images of an optimizer update")->capture_default_str();
  app.add_option("--micro-batch", options.micro_batch, "0: the engine's choice")
      ->capture_default_str();
  app.add_flag("--horizontal-flip", options.horizontal_flip, "augmentation, when training");
  app.add_option("--shift", options.shift, "augmentation, when training: pixels")
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object on a line");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = convd::Run(options); !status.ok()) {
    std::cerr << "explain: " << std::string(status.message()) << "\n";
    return 1;
  }
  return 0;
}
