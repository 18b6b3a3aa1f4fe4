#include <memory>
#include <string>
#include <vector>

#include "client/convctl/commands.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/model_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::Status List(Session& session, const std::string& name) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client->ListModels(name));
  if (session.json()) {
    v1::ListModelsResponse all;
    for (const v1::Model& model : models) {
      *(model.damage().empty() ? all.add_models() : all.add_damaged()) = model;
    }
    return session.PrintJson(all);
  }
  if (models.empty()) {
    session.Print("No models yet; `convctl train` makes one.\n");
    return absl::OkStatus();
  }
  session.Print(ModelsTable(models));
  return absl::OkStatus();
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
  CLI::App* const models = app.add_subcommand(
      "models", "List, show, compare, label, export, import and delete trained models");
  models->require_subcommand(0, 1);
  CLI::App* const list = models->add_subcommand("list", "List them (as without a command)");
  list->add_option("name", *name, "Only the versions of this one")->type_name("NAME");
  list->callback(
      [name, &chosen] { chosen = [name](Session& session) { return List(session, *name); }; });
  CLI::App* const show =
      models->add_subcommand("show", "Show one with its network, history and evaluations");
  show->add_option("model", *name, "Which one; the name's default unless given")
      ->required()
      ->type_name("NAME[@VERSION|@LABEL]");
  show->callback(
      [name, &chosen] { chosen = [name](Session& session) { return Show(session, *name); }; });
  AddModelDiffCommand(*models, chosen);
  AddModelChangeCommands(*models, chosen);
  AddModelArchiveCommands(*models, chosen);
  models->callback([models, name, &chosen] {
    if (models->get_subcommands().empty()) {
      chosen = [name](Session& session) { return List(session, *name); };
    }
  });
}

}  // namespace convd
