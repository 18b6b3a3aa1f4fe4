#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/job_text.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/progress_bar.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

std::string ValidationAccuracy(const v1::ModelCard& card) {
  return card.validation().samples() > 0 ? Four(card.validation().accuracy()) : "-";
}

absl::Status List(Session& session, const std::string& name) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client->ListModels(name));
  if (session.json()) {
    v1::ListModelsResponse all;
    all.mutable_models()->Add(models.begin(), models.end());
    return session.PrintJson(all);
  }
  if (models.empty()) {
    session.Print("No models yet; `convctl train` makes one.\n");
    return absl::OkStatus();
  }
  Table table({{"MODEL"},
               {"VERSION", Align::kRight},
               {"NETWORK"},
               {"PARAMETERS", Align::kRight},
               {"DATASET"},
               {"VAL ACCURACY", Align::kRight},
               {"SIZE", Align::kRight},
               {"CREATED"}});
  for (const v1::Model& model : models) {
    const v1::ModelCard& card = model.card();
    table.AddRow({card.model().name(), absl::StrCat(card.model().version()), card.network().name(),
                  Thousands(card.parameters()), DatasetText(card.request().dataset()),
                  ValidationAccuracy(card), Bytes(model.size_bytes()), LocalTime(card.created())});
  }
  session.Print(table.Render());
  return absl::OkStatus();
}

std::string ModelDetails(const v1::Model& model) {
  const v1::ModelCard& card = model.card();
  FieldList fields;
  fields.Add("Model", ModelSpec(card.model()));
  fields.Add("Network", card.network().name());
  fields.Add("Parameters", Thousands(card.parameters()));
  fields.Add("Dataset", DatasetText(card.request().dataset()));
  fields.Add("Data SHA-256", card.data_sha256());
  fields.Add("Validation", ValidationText(card.request().validation()));
  fields.Add("Validation accuracy", ValidationAccuracy(card));
  fields.Add("Optimizer", OptimizerText(card.request().optimizer()));
  fields.Add("Batch size", Thousands(card.request().batch_size()));
  fields.Add("Seed", absl::StrCat(card.request().seed()));
  fields.Add("Job", card.job_id());
  fields.Add("Trained for", Seconds(card.training_seconds()));
  fields.Add("Instruction set", card.instruction_set());
  fields.Add("Created", LocalTime(card.created()));
  fields.Add("Size", Bytes(model.size_bytes()));
  fields.Add("Path", model.path());
  std::string text = fields.Render();
  if (!model.summary().empty()) {
    absl::StrAppend(&text, "\n", Printable(model.summary(), /*keep_lines=*/true));
  }
  if (!card.history().empty()) text += "\n";
  for (const v1::EpochRecord& record : card.history()) {
    absl::StrAppend(&text, EpochLine(record, card.request().epochs()), "\n");
  }
  if (model.evaluations().empty()) return text;
  Table evaluations({{"EVALUATED ON"},
                     {"SAMPLES", Align::kRight},
                     {"LOSS", Align::kRight},
                     {"ACCURACY", Align::kRight},
                     {"TIME"}});
  for (const v1::Evaluation& evaluation : model.evaluations()) {
    evaluations.AddRow({evaluation.dataset().name().empty() ? "images sent along"
                                                            : DatasetText(evaluation.dataset()),
                        Thousands(evaluation.metrics().samples()),
                        Four(evaluation.metrics().loss()), Four(evaluation.metrics().accuracy()),
                        LocalTime(evaluation.time())});
  }
  return absl::StrCat(text, "\n", evaluations.Render());
}

absl::Status Show(Session& session, const std::string& spec) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion version, ParseModelSpec(spec));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(version));
  if (session.json()) return session.PrintJson(model);
  session.Print(ModelDetails(model));
  return absl::OkStatus();
}

}  // namespace

void AddModelsCommands(CLI::App& app, Command& chosen) {
  const auto name = std::make_shared<std::string>();
  CLI::App* const models = app.add_subcommand("models", "List the trained models, or show one");
  models->require_subcommand(0, 1);
  CLI::App* const list = models->add_subcommand("list", "List them (as without a command)");
  list->add_option("name", *name, "Only the versions of this one")->type_name("NAME");
  list->callback(
      [name, &chosen] { chosen = [name](Session& session) { return List(session, *name); }; });
  CLI::App* const show =
      models->add_subcommand("show", "Show one with its network, history and evaluations");
  show->add_option("model", *name, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  show->callback(
      [name, &chosen] { chosen = [name](Session& session) { return Show(session, *name); }; });
  models->callback([models, name, &chosen] {
    if (models->get_subcommands().empty()) {
      chosen = [name](Session& session) { return List(session, *name); };
    }
  });
}

}  // namespace convd
