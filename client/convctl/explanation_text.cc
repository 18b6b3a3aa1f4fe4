#include "client/convctl/explanation_text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/convctl/number_text.h"
#include "client/convctl/precision_text.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

// What counts as no FLOP has no share of their peak either.
std::string MegaFlop(int64_t flop) {
  return flop == 0 ? "-" : absl::StrFormat("%.2f", static_cast<double>(flop) / 1e6);
}

std::string Share(int64_t flop, double share) {
  return flop == 0 ? "-" : absl::StrFormat("%.1f%%", 100 * share);
}

std::string KibiBytes(int64_t bytes) {
  return absl::StrFormat("%.1f", static_cast<double>(bytes) / 1024);
}

std::string Microseconds(double seconds) { return absl::StrFormat("%.1f", 1e6 * seconds); }

std::string PlanText(std::string_view heading, const v1::PlanExplanation& plan) {
  Table table({{"LAYER"},
               {"PASS"},
               {"KERNEL"},
               {"LAYOUT"},
               {"MFLOP", Align::kRight},
               {"KIB", Align::kRight},
               {"µs", Align::kRight},
               {"OF PEAK", Align::kRight}});
  double bytes = 0;
  for (const v1::CallExplanation& call : plan.calls()) {
    table.AddRow({call.layer(), call.pass(), call.planned() ? call.kernel() : call.kernel() + " !",
                  call.layout(), MegaFlop(call.flop()), KibiBytes(call.bytes()),
                  Microseconds(call.seconds()), Share(call.flop(), call.peak_share())});
    bytes += static_cast<double>(call.bytes());
  }
  table.AddRow({"total", "", "", "", MegaFlop(plan.flop()), absl::StrFormat("%.1f", bytes / 1024),
                Microseconds(plan.seconds()), Share(plan.flop(), plan.peak_share())});
  const double flops = plan.seconds() > 0 ? static_cast<double>(plan.flop()) / plan.seconds() : 0.0;
  return absl::StrCat("\n", absl::string_view(heading.data(), heading.size()), " in ",
                      PrecisionText(plan.precision()), ", images a run: ", Thousands(plan.images()),
                      "\n\n", table.Render(), "\nA core: ", Rate(plan.images_per_second()),
                      " images/s, ", absl::StrFormat("%.1f", flops / 1e9),
                      " GFLOP/s. Times are medians of ", Thousands(plan.runs()), " runs.\n");
}

}  // namespace

std::string ExplanationText(std::string_view what, const v1::Explanation& explanation) {
  const v1::PlanExplanation &train = explanation.train(), &predict = explanation.predict();
  std::string text = absl::StrCat(
      Printable(what), ": ", Printable(explanation.network()), ", ",
      Printable(explanation.instruction_set()), ", oneDNN ",
      Printable(explanation.onednn_version()), ", FMA peak of a core ",
      absl::StrFormat("%.1f", explanation.peak_gflops()), " GFLOP/s\n", PlanText("TRAIN", train),
      "Most workers that a job with batches of ", Thousands(explanation.batch_size()),
      " can use: ", Thousands(train.most_workers()), "\n", PlanText("PREDICT", predict),
      "Most workers that ", Thousands(explanation.batch_size()),
      " images can use: ", Thousands(predict.most_workers()), "\n");
  bool planned = true;
  for (const v1::PlanExplanation* plan : {&train, &predict}) {
    for (const v1::CallExplanation& call : plan->calls()) planned = planned && call.planned();
  }
  if (!planned) {
    absl::StrAppend(&text,
                    "\n! not the planned kernel: oneDNN has none here that uses the whole "
                    "instruction set\n");
  }
  return text;
}

}  // namespace convd
