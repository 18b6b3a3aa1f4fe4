#include <cstdint>
#include <memory>
#include <string>

#include "client/convctl/commands.h"
#include "client/convctl/explanation_text.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/whole_number.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct ExplainFlags {
  std::string model;
  int64_t batch_size = 0;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
};

absl::Status Explain(Session& session, const ExplainFlags& flags) {
  v1::ExplainModelRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  request.set_batch_size(flags.batch_size);
  request.set_precision(flags.precision);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::ExplainModelResponse response, client->ExplainModel(request));
  if (session.json()) return session.PrintJson(response);
  session.Print(ExplanationText(ModelSpec(response.model()), response.explanation()));
  return absl::OkStatus();
}

}  // namespace

void AddExplainCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<ExplainFlags>();
  CLI::App* const explain = app.add_subcommand(
      "explain",
      "Show each step of a model's training and prediction: kernel, layout, FLOP, bytes, time and "
      "share of the server's peak");
  explain->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  explain
      ->add_option("--batch-size", flags->batch_size,
                   "For training with batches of N images (default: as it was trained)")
      ->check(WholeNumber<int64_t>(1))
      ->type_name("N");
  AddPrecisionFlag(*explain, flags->precision);
  explain->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Explain(session, *flags); };
  });
}

}  // namespace convd
