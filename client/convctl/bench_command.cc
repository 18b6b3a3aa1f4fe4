#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/convctl/bench_requests.h"
#include "client/convctl/bench_text.h"
#include "client/convctl/choice_flag.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/image_size_flag.h"
#include "client/convctl/interrupt.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/whole_number.h"
#include "client/load/grpc_target.h"
#include "client/load/load_run.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int kMostInFlight = 10000;
constexpr int kMostConnections = 256;

struct BenchFlags {
  std::string model;
  std::vector<int32_t> in_flight;
  std::vector<double> rates;
  std::optional<ArrivalKind> arrivals;
  std::optional<int32_t> most_in_flight;
  double seconds = 10;
  double warm_up = 1;
  int64_t images = 1;
  std::vector<std::string> files;
  v1::ImageSize shape;
  int64_t seed = 1;
  int32_t connections = 1;
  int32_t top_k = 1;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
  bool csv = false;
};

absl::Status CheckFlags(const BenchFlags& flags, bool json) {
  if (!flags.rates.empty() && !flags.in_flight.empty()) {
    return UsageError(
        "--rate begins calls by the clock, --in-flight when others end; give one of them (with "
        "--rate, --max-in-flight bounds what is under way)");
  }
  if (flags.rates.empty() && flags.arrivals) return UsageError("--arrivals goes with --rate");
  if (flags.rates.empty() && flags.most_in_flight) {
    return UsageError("--max-in-flight goes with --rate");
  }
  for (const int32_t in_flight : flags.in_flight) {
    if (in_flight > kMostInFlight) {
      return UsageError(absl::StrCat("--in-flight ", in_flight, ": want at most ", kMostInFlight));
    }
  }
  if (flags.most_in_flight.value_or(1) > kMostInFlight) {
    return UsageError(
        absl::StrCat("--max-in-flight ", *flags.most_in_flight, ": want at most ", kMostInFlight));
  }
  if (flags.connections > kMostConnections) {
    return UsageError(
        absl::StrCat("--connections ", flags.connections, ": want at most ", kMostConnections));
  }
  if (flags.shape.height() > 0 && !flags.files.empty()) {
    return UsageError("--shape is for random pixels, not for those of --from");
  }
  if (flags.csv && json) return UsageError("give --csv or --json");
  return absl::OkStatus();
}

std::vector<LoadPlan> Plans(const BenchFlags& flags) {
  LoadPlan plan;
  plan.arrivals = flags.arrivals.value_or(ArrivalKind::kPoisson);
  plan.seed = static_cast<uint64_t>(flags.seed);
  plan.warm_up = absl::Seconds(flags.warm_up);
  plan.measured = absl::Seconds(flags.seconds);
  std::vector<LoadPlan> plans;
  plan.in_flight = flags.most_in_flight.value_or(1000);
  for (const double rate : flags.rates) {
    plan.rate = rate;
    plans.push_back(plan);
  }
  if (!plans.empty()) return plans;
  for (const int32_t in_flight : flags.in_flight) {
    plan.in_flight = in_flight;
    plans.push_back(plan);
  }
  if (!plans.empty()) return plans;
  plan.in_flight = 1;
  return {plan};
}

// The images of the requests that are sent in turn; of the model's card only what the flags leave
// open.
absl::StatusOr<std::vector<v1::Images>> MakeImages(Client& client, const v1::ModelVersion& model,
                                                   const BenchFlags& flags) {
  if (!flags.files.empty()) return RequestsOfFiles(flags.files, flags.images);
  const uint64_t seed = static_cast<uint64_t>(flags.seed);
  if (flags.shape.height() > 0) {
    return RandomRequests(flags.shape.height(), flags.shape.width(),
                          std::max(1, flags.shape.channels()), flags.images, seed);
  }
  const absl::StatusOr<v1::Model> card = client.GetModel(model);
  if (!card.ok() && card.status().code() == absl::StatusCode::kUnimplemented) {
    return WithHint(card.status(), "name the images' shape with --shape, or images with --from");
  }
  CONVD_RETURN_IF_ERROR(card.status());
  const v1::InputShape& shape = card->card().network().input();
  return RandomRequests(shape.height(), shape.width(), shape.channels(), flags.images, seed);
}

// Sends the first request by itself, so that what can't work is said before it is measured, and the
// model is loaded.
absl::Status TryOnce(Client& client, const v1::PredictRequest& request, int64_t images) {
  CONVD_ASSIGN_OR_RETURN(const v1::PredictResponse response, client.Predict(request));
  if (response.predictions_size() == images) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server answered ", response.predictions_size(),
                                          " predictions for ", images, " images"));
}

absl::StatusOr<std::unique_ptr<LoadTarget>> Connect(Session& session, const BenchFlags& flags,
                                                    const v1::ModelVersion& model, int slots) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Images> images, MakeImages(*client, model, flags));
  v1::PredictRequest request;
  *request.mutable_model() = model;
  request.set_top_k(flags.top_k);
  request.set_precision(flags.precision);
  GrpcLoad load;
  load.address = session.server();
  load.method = "/convd.v1.Predictor/Predict";
  load.connections = flags.connections;
  load.slots = slots;
  load.timeout = session.timeout();
  for (v1::Images& some : images) {
    *request.mutable_images() = std::move(some);
    if (load.requests.empty()) CONVD_RETURN_IF_ERROR(TryOnce(*client, request, flags.images));
    load.requests.push_back(request.SerializeAsString());
  }
  return ConnectGrpcTarget(load);
}

std::string Describe(const LoadPlan& plan) {
  return absl::StrCat(plan.rate > 0 ? absl::StrCat(plan.rate, " calls a second")
                                    : absl::StrCat(plan.in_flight, " in flight"),
                      ", ", Seconds(absl::ToDoubleSeconds(plan.measured)), " after ",
                      Seconds(absl::ToDoubleSeconds(plan.warm_up)), " of warm-up");
}

// OK where any call was answered well.
absl::Status CheckAnyAnswered(const BenchReport& report) {
  absl::Status first;
  int64_t failed = 0;
  for (const auto& [plan, result] : report.loads) {
    if (result.latency.count() > 0) return absl::OkStatus();
    for (const auto& [code, count] : result.errors) failed += count;
    first.Update(result.first_error);
  }
  if (first.ok()) return absl::DeadlineExceededError("no call was answered in the time measured");
  return absl::Status(first.code(),
                      absl::StrCat("all ", failed, " calls failed; the first: ", first.message()));
}

absl::Status Bench(Session& session, const BenchFlags& flags) {
  CONVD_RETURN_IF_ERROR(CheckFlags(flags, session.json()));
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(flags.model));
  const std::vector<LoadPlan> plans = Plans(flags);
  int slots = 1;
  for (const LoadPlan& plan : plans) slots = std::max(slots, plan.in_flight);
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<LoadTarget> target,
                         Connect(session, flags, model, slots));
  absl::Notification stop;
  CONVD_ASSIGN_OR_RETURN(const auto interrupt, InterruptScope::Begin([&stop] { stop.Notify(); }));
  BenchReport report = {"convd", flags.model, flags.images, flags.connections, {}};
  for (const LoadPlan& plan : plans) {
    if (stop.HasBeenNotified()) break;
    session.PrintNote(Describe(plan));
    report.loads.push_back({plan, RunLoad(plan, *target, stop)});
  }
  session.Print(session.json() ? BenchJson(report)
                : flags.csv    ? BenchCsv(report)
                               : BenchTable(report));
  if (interrupt->interrupted()) return InterruptedError("stopped; what was measured is above");
  return CheckAnyAnswered(report);
}

// For flags that take a number, also a fraction, from `least` to `most`.
CLI::Validator NumberFrom(double least, double most) {
  return CLI::Validator(
      [least, most](std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
        return absl::StrCat("got \"", absl::Utf8SafeCEscape(text.substr(0, 80)),
                            "\"; want a number from ", least, " to ", most);
      },
      "");
}

}  // namespace

void AddBenchCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* const bench = app.add_subcommand(
      "bench", "Put load on a model: rates and latencies of predictions, closed or open loop");
  bench->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  bench
      ->add_option("--in-flight", flags->in_flight,
                   "Closed loop: keep so many calls under way, one number after the other "
                   "(default: 1)")
      ->delimiter(',')
      ->check(WholeNumber<int32_t>(1))
      ->type_name("N,M,...");
  bench
      ->add_option("--rate", flags->rates,
                   "Open loop: begin so many calls a second, whether answers come or not; latency "
                   "counts from the time a call should begin")
      ->delimiter(',')
      ->check(NumberFrom(0.01, 1e6))
      ->type_name("R,S,...");
  AddChoiceFlag<std::optional<ArrivalKind>>(
      *bench, "--arrivals",
      {{"poisson", ArrivalKind::kPoisson}, {"constant", ArrivalKind::kConstant}},
      "With --rate: as of many independent callers, or evenly spaced", flags->arrivals);
  bench
      ->add_option("--max-in-flight", flags->most_in_flight,
                   "With --rate: calls beyond so many under way are dropped, and counted "
                   "(default: 1000)")
      ->check(WholeNumber<int32_t>(1))
      ->type_name("N");
  bench->add_option("--seconds", flags->seconds, "How long to measure each load (default: 10)")
      ->check(NumberFrom(0.01, 86400))
      ->type_name("S");
  bench->add_option("--warm-up", flags->warm_up, "Load before that isn't measured (default: 1)")
      ->check(NumberFrom(0, 86400))
      ->type_name("S");
  bench->add_option("--images", flags->images, "Images a call (default: 1)")
      ->check(WholeNumber<int64_t>(1))
      ->type_name("N");
  bench
      ->add_option("--from", flags->files,
                   "Send the images of this local IDX, CIFAR or npz file, or PNG and JPEG files, "
                   "instead of random pixels")
      ->delimiter(',')
      ->type_name("FILE,...");
  AddImageSizeFlag(*bench, flags->shape, "--shape",
                   "The random images' shape, without asking for the model's card");
  bench->add_option("--seed", flags->seed, "Of random pixels and arrivals (default: 1)")
      ->check(WholeNumber<int64_t>(0))
      ->type_name("N");
  bench->add_option("--connections", flags->connections, "Connections to share (default: 1)")
      ->check(WholeNumber<int32_t>(1))
      ->type_name("N");
  bench->add_option("--top-k", flags->top_k, "Classes in each answer (default: 1)")
      ->check(WholeNumber<int32_t>(1))
      ->type_name("K");
  AddPrecisionFlag(*bench, flags->precision);
  bench->add_flag("--csv", flags->csv, "Comma-separated values instead of a table");
  bench->callback(
      [flags, &chosen] { chosen = [flags](Session& session) { return Bench(session, *flags); }; });
}

}  // namespace convd
