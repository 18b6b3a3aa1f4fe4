#include "core/dnn/explain.h"

#include <algorithm>
#include <memory>
#include <new>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/fma_rate.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/plan_memory.h"
#include "core/dnn/synthetic_images.h"
#include "core/nn/initial_parameters.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// A second in all, with what compiling takes.
constexpr absl::Duration kPeakTime = absl::Milliseconds(40);  // twice
constexpr absl::Duration kPlanTime = absl::Milliseconds(350);
// Enough for a median. They end the measuring where a clock stands still, too.
constexpr int kMostRuns = 100;

using AtCut = absl::FunctionRef<bool()>;

absl::Status Within(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", value, "; want ", least, " to ", most));
}

// Of a plan while it is measured: weights, gradient and derived weights, a workspace, pixels.
int64_t PlanBytes(const Graph& graph, const PlanOptions& options) {
  const PlanMemory memory = EstimatePlanMemory(graph, options);
  const double arrays = static_cast<double>(memory.packed_bytes) * (options.training ? 2 : 1) +
                        (options.training ? static_cast<double>(memory.derived_bytes) : 0.0);
  const double bytes = arrays + static_cast<double>(memory.workspace_bytes) +
                       static_cast<double>(options.images) *
                           static_cast<double>(graph.input().elements() + 4 * graph.classes() + 8) +
                       4.0 * static_cast<double>(graph.parameter_count());
  return static_cast<int64_t>(std::min(bytes, 0x1p62));
}

// The smallest whole number of megabytes above.
int64_t Megabytes(int64_t bytes) { return (bytes >> 20) + 1; }

absl::Status CheckMemory(const Graph& graph, const PlanOptions& train, const PlanOptions& predict,
                         int64_t memory_bytes) {
  if (memory_bytes == 0) return absl::OkStatus();
  const int64_t training = PlanBytes(graph, train), predicting = PlanBytes(graph, predict);
  if (std::max(training, predicting) <= memory_bytes) return absl::OkStatus();
  const std::string limit =
      absl::StrCat(" MB of memory, and this may take ", memory_bytes >> 20, " MB here");
  PlanOptions smallest = train;
  smallest.images = 1;
  const bool fits_singly = predicting <= memory_bytes && PlanBytes(graph, smallest) <= memory_bytes;
  if (!fits_singly || train.images == 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "network: running it takes about ", Megabytes(std::max(training, predicting)), limit));
  }
  return absl::InvalidArgumentError(absl::StrCat("batch_size: its micro-batches of ", train.images,
                                                 " images take about ", Megabytes(training), limit,
                                                 "; want a smaller one"));
}

// A plan with all that it needs to run.
class RunnablePlan {
 public:
  static absl::StatusOr<std::unique_ptr<RunnablePlan>> Create(const Graph& graph,
                                                              const PlanOptions& options,
                                                              AtCut at_cut) {
    CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> plan, Plan::Compile(graph, options));
    auto runnable = std::unique_ptr<RunnablePlan>(new RunnablePlan(plan, options));
    RunnablePlan& r = *runnable;
    if (!at_cut()) return absl::CancelledError("stopped at a cut");
    CONVD_RETURN_IF_ERROR(plan->Pack(InitialParameters(graph, 0), r.weights_.data()));
    if (options.training) {
      for (int part = 0; part < plan->derive_parts(); ++part) {
        if (!at_cut()) return absl::CancelledError("stopped at a cut");
        CONVD_RETURN_IF_ERROR(plan->Derive(part, r.weights_.data(), r.derived_.data()));
      }
    }
    CONVD_ASSIGN_OR_RETURN(
        r.workspace_, plan->NewWorkspace(r.weights_.data(),
                                         options.training ? r.derived_.data() : nullptr, at_cut));
    return runnable;
  }

  std::vector<CallInfo> calls() const { return workspace_->calls(); }

  absl::Status Run(AtCut at_cut) {
    MicroBatch batch;
    batch.images = &images_;
    batch.samples = samples_;
    batch.loss_scale = 1.0f / static_cast<float>(plan_->images());
    batch.epoch = ++epoch_;  // so that the median is of many draws
    batch.gradient = gradient_.data();
    batch.probabilities = probabilities_.data();
    for (int phase = 0; phase < plan_->phases(); ++phase) {
      CONVD_RETURN_IF_ERROR(plan_->RunPhase(phase, *workspace_, batch, at_cut));
    }
    return absl::OkStatus();
  }

 private:
  RunnablePlan(std::shared_ptr<const Plan> plan, const PlanOptions& options)
      : plan_(std::move(plan)),
        weights_(plan_->packed_size()),
        derived_(plan_->derived_size()),
        gradient_(options.training ? plan_->packed_size() : 0),
        images_(SyntheticImages(plan_->graph(), plan_->images())),
        samples_(plan_->images()),
        probabilities_(plan_->images() * plan_->graph().classes()) {
    std::iota(samples_.begin(), samples_.end(), uint32_t{0});
  }

  const std::shared_ptr<const Plan> plan_;
  AlignedBuffer weights_, derived_, gradient_;
  const ImageSet images_;
  std::vector<uint32_t> samples_;
  std::vector<float> probabilities_;
  std::unique_ptr<Workspace> workspace_;
  uint32_t epoch_ = 0;
};

// FLOP a second of the fastest run, or `best` where that is more. A core is not at its clock at
// once, and others may have use of it: hence at two times, and the best.
absl::StatusOr<double> MeasurePeak(double best, const Clock& clock, AtCut at_cut) {
  const VectorWidth width = WidthOf(InstructionSet());
  const absl::Duration begin = clock.Monotonic();
  for (int i = 0; i < kMostRuns && clock.Monotonic() - begin < kPeakTime; ++i) {
    const absl::Duration start = clock.Monotonic();
    const int64_t flop = RunFma(width);
    const double seconds = absl::ToDoubleSeconds(clock.Monotonic() - start);
    if (seconds > 0) best = std::max(best, static_cast<double>(flop) / seconds);
    if (!at_cut()) return absl::CancelledError("stopped at a cut");
  }
  return best;
}

// The lower of the two in the middle: where there are few runs, the one that wasn't interrupted.
double Median(std::vector<double>& values) {
  const auto middle = values.begin() + (static_cast<int64_t>(values.size()) - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

absl::Status MeasurePlan(const Graph& graph, const PlanOptions& options, int64_t batch_size,
                         const Clock& clock, AtCut at_cut, v1::PlanExplanation& explanation) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<RunnablePlan> plan,
                         RunnablePlan::Create(graph, options, at_cut));
  const std::vector<CallInfo> calls = plan->calls();
  std::vector<std::vector<double>> seconds(calls.size());  // of each call, one a run
  const auto run = [&] {
    size_t call = 0;
    absl::Duration start = clock.Monotonic();
    return plan->Run([&] {
      seconds[call++].push_back(absl::ToDoubleSeconds(clock.Monotonic() - start));
      const bool go_on = at_cut();
      start = clock.Monotonic();
      return go_on;
    });
  };
  const absl::Duration end = clock.Monotonic() + kPlanTime;
  CONVD_RETURN_IF_ERROR(run());
  int64_t runs = 1;
  // The first meets buffers that aren't in the caches yet, and oneDNN's first use of each kernel.
  // It counts where it took all the time that there is.
  if (clock.Monotonic() < end) {
    for (std::vector<double>& of_call : seconds) of_call.clear();
    for (runs = 0; runs == 0 || (runs < kMostRuns && clock.Monotonic() < end); ++runs) {
      CONVD_RETURN_IF_ERROR(run());
    }
  }
  explanation.set_images(options.images);
  explanation.set_precision(options.precision);
  // A request is split further than a plan takes.
  const int64_t task =
      options.training ? options.images : std::min(options.images, kLeastPieceImages);
  explanation.set_most_workers((batch_size + task - 1) / task);
  explanation.set_runs(runs);
  for (size_t i = 0; i < calls.size(); ++i) {
    // A large layer's pass is several calls, of which there is no bound, with other passes between:
    // shown as one.
    auto& shown = *explanation.mutable_calls();
    const auto same = std::find_if(shown.begin(), shown.end(), [&](const v1::CallExplanation& c) {
      return c.layer() == calls[i].layer && c.pass() == calls[i].pass;
    });
    v1::CallExplanation& call = same != shown.end() ? *same : *explanation.add_calls();
    call.set_layer(calls[i].layer);
    call.set_pass(calls[i].pass);
    call.set_kernel(calls[i].kernel);
    call.set_layout(calls[i].layout);
    call.set_flop(call.flop() + calls[i].flop);
    call.set_bytes(call.bytes() + calls[i].bytes);
    call.set_planned(calls[i].planned);
    const double median = Median(seconds[i]);
    call.set_seconds(call.seconds() + median);
    explanation.set_flop(explanation.flop() + calls[i].flop);
    explanation.set_seconds(explanation.seconds() + median);
  }
  return absl::OkStatus();
}

void AddShares(double peak, v1::PlanExplanation& plan) {
  const auto share = [peak](int64_t flop, double seconds) {
    return peak > 0 && seconds > 0 ? static_cast<double>(flop) / seconds / peak : 0.0;
  };
  for (v1::CallExplanation& call : *plan.mutable_calls()) {
    call.set_peak_share(share(call.flop(), call.seconds()));
  }
  plan.set_peak_share(share(plan.flop(), plan.seconds()));
  if (plan.seconds() > 0) {
    plan.set_images_per_second(static_cast<double>(plan.images()) / plan.seconds());
  }
}

absl::StatusOr<v1::Explanation> Measure(const Graph& graph, const ExplainOptions& options,
                                        const PlanOptions& train, const PlanOptions& predict,
                                        const Clock& clock, AtCut at_cut) {
  v1::Explanation explanation;
  explanation.set_network(graph.name());
  explanation.set_batch_size(options.batch_size);
  explanation.set_instruction_set(InstructionSet());
  explanation.set_onednn_version(OneDnnVersion());
  double peak = 0;
  CONVD_ASSIGN_OR_RETURN(peak, MeasurePeak(peak, clock, at_cut));
  CONVD_RETURN_IF_ERROR(
      MeasurePlan(graph, train, options.batch_size, clock, at_cut, *explanation.mutable_train()));
  CONVD_ASSIGN_OR_RETURN(peak, MeasurePeak(peak, clock, at_cut));
  CONVD_RETURN_IF_ERROR(MeasurePlan(graph, predict, options.batch_size, clock, at_cut,
                                    *explanation.mutable_predict()));
  explanation.set_peak_gflops(peak / 1e9);
  AddShares(peak, *explanation.mutable_train());
  AddShares(peak, *explanation.mutable_predict());
  return explanation;
}

}  // namespace

absl::StatusOr<v1::Explanation> Explain(const Graph& graph, const ExplainOptions& options,
                                        const Clock& clock, AtCut at_cut) {
  CONVD_RETURN_IF_ERROR(Within("batch_size", options.batch_size, 1, kMostExplainedBatch));
  CONVD_RETURN_IF_ERROR(Within("micro_batch", options.micro_batch, 0, options.batch_size));
  const PlanOptions train = {.training = true,
                             .images = options.micro_batch > 0
                                           ? options.micro_batch
                                           : MicroBatchImages(graph, options.batch_size),
                             .precision = options.train_precision,
                             .augmentation = options.augmentation};
  const PlanOptions predict = {.training = false,
                               .images = PredictionSizes(graph).front(),
                               .precision = options.predict_precision,
                               .quantization = options.quantization};
  CONVD_RETURN_IF_ERROR(CheckMemory(graph, train, predict, options.memory_bytes));
  try {
    return Measure(graph, options, train, predict, clock, at_cut);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the network's weights");
  }
}

absl::StatusOr<std::vector<CallInfo>> PlanCalls(const Graph& graph, const PlanOptions& options) {
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> plan, Plan::Compile(graph, options));
  try {
    const AlignedBuffer weights(plan->packed_size()), derived(plan->derived_size());
    CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                           plan->NewWorkspace(weights.data(), derived.data(), [] { return true; }));
    return workspace->calls();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the network's weights");
  }
}

}  // namespace convd
