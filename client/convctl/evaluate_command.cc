#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/job_text.h"
#include "client/convctl/metrics_text.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/terminal_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct EvaluateFlags {
  std::string model;
  std::string dataset;
  std::string split;
  bool confusion = false;
  bool probabilities = false;
};

absl::Status Evaluate(Session& session, const EvaluateFlags& flags) {
  v1::EvaluateRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  request.mutable_dataset()->set_name(flags.dataset);
  request.mutable_dataset()->set_split(flags.split);
  if (flags.probabilities && !session.json()) {
    return UsageError("--probabilities goes with --json");
  }
  request.set_probabilities(flags.probabilities);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::EvaluateResponse response, client->Evaluate(request));
  if (session.json()) return session.PrintJson(response);
  const v1::Evaluation& evaluation = response.evaluation();
  session.Print(absl::StrCat(Printable(ModelSpec(evaluation.model())), " on ",
                             Printable(DatasetText(evaluation.dataset())), ", ",
                             Seconds(evaluation.seconds()), "\n\n",
                             MetricsText(evaluation.metrics())));
  if (flags.confusion) {
    session.Print(absl::StrCat("\n", ConfusionText(evaluation.metrics())));
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* const evaluate =
      app.add_subcommand("evaluate", "Measure a model on a dataset; the figures are kept with it");
  evaluate->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  evaluate->add_option("--dataset", flags->dataset, "What to measure it on")
      ->required()
      ->type_name("NAME");
  evaluate->add_option("--split", flags->split, "Its split (default: test)")->type_name("NAME");
  evaluate->add_flag("--confusion", flags->confusion, "Show the confusion matrix too");
  evaluate->add_flag("--probabilities", flags->probabilities,
                     "With --json: every sample's probabilities, samples x classes");
  evaluate->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Evaluate(session, *flags); };
  });
}

}  // namespace convd
