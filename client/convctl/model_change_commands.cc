#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/model_text.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/precision_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct ModelChangeFlags {
  std::string model;  // or a name alone
  std::string label;
  bool remove = false;
  std::optional<std::string> default_label;
  std::optional<int64_t> keep;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
};

absl::Status ShowPolicy(Session& session, const absl::StatusOr<v1::ModelPolicy>& policy) {
  CONVD_RETURN_IF_ERROR(policy.status());
  if (session.json()) return session.PrintJson(*policy);
  session.Print(PolicyText(*policy));
  return absl::OkStatus();
}

absl::Status Label(Session& session, const ModelChangeFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(flags.model));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  if (flags.remove) {
    if (model.version() != 0 || !model.label().empty()) {
      return UsageError("--remove takes the label from whatever version has it; write NAME alone");
    }
    return ShowPolicy(session, client->RemoveLabel(model.name(), flags.label));
  }
  v1::MoveLabelRequest request;
  request.set_name(model.name());
  request.set_label(flags.label);
  request.set_version(model.version());
  if (!model.label().empty()) {
    // Where another label stands now, as in "what is canary becomes stable".
    CONVD_ASSIGN_OR_RETURN(const v1::Model found, client->GetModel(model));
    request.set_version(found.card().model().version());
  }
  return ShowPolicy(session, client->MoveLabel(request));
}

absl::Status RollBack(Session& session, const ModelChangeFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  return ShowPolicy(session, client->RollBackLabel(flags.model, flags.label));
}

absl::Status Policy(Session& session, const ModelChangeFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  if (!flags.default_label.has_value() && !flags.keep.has_value()) {
    return ShowPolicy(session, client->GetModelPolicy(flags.model));
  }
  v1::UpdateModelPolicyRequest request;
  request.set_name(flags.model);
  if (flags.default_label.has_value()) request.set_default_label(*flags.default_label);
  if (flags.keep.has_value()) request.set_keep(*flags.keep);
  return ShowPolicy(session, client->UpdateModelPolicy(request));
}

absl::Status Load(Session& session, const ModelChangeFlags& flags) {
  v1::LoadModelRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  request.set_precision(flags.precision);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::LoadModelResponse response, client->LoadModel(request));
  if (session.json()) return session.PrintJson(response);
  session.Print(absl::StrCat(ModelSpec(response.model()), " is in memory, at ",
                             PrecisionText(response.precision()), ".\n"));
  return absl::OkStatus();
}

absl::Status Unload(Session& session, const ModelChangeFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(flags.model));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_RETURN_IF_ERROR(client->UnloadModel(model));
  if (session.json()) return session.PrintJson(v1::UnloadModelResponse());
  session.Print(absl::StrCat("Unloaded ", flags.model, "; it is loaded again when asked for.\n"));
  return absl::OkStatus();
}

absl::Status Delete(Session& session, const ModelChangeFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(flags.model));
  if (model.version() == 0) {
    return UsageError("a version is deleted by its number; write NAME@VERSION");
  }
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_RETURN_IF_ERROR(client->DeleteModel(model));
  if (session.json()) return session.PrintJson(v1::DeleteModelResponse());
  session.Print(absl::StrCat("Deleted ", ModelSpec(model), ".\n"));
  return absl::OkStatus();
}

}  // namespace

void AddModelChangeCommands(CLI::App& models, Command& chosen) {
  const auto flags = std::make_shared<ModelChangeFlags>();
  const auto run = [flags, &chosen](CLI::App* command,
                                    absl::Status (*act)(Session&, const ModelChangeFlags&)) {
    command->callback([flags, act, &chosen] {
      chosen = [flags, act](Session& session) { return act(session, *flags); };
    });
  };

  CLI::App* const label = models.add_subcommand(
      "label", "Give a version a label, such as stable, that requests can ask for");
  label
      ->add_option("model", flags->model,
                   "Which version; the newest where it is a name alone. Another label stands for "
                   "the version that it stands for now")
      ->required()
      ->type_name("NAME[@VERSION|@LABEL]");
  label->add_option("label", flags->label, "The label")->required()->type_name("LABEL");
  label->add_flag("--remove", flags->remove, "Take the label away instead");
  run(label, Label);

  CLI::App* const rollback =
      models.add_subcommand("rollback", "Move a label back to the version that it was on before");
  rollback->add_option("name", flags->model, "Of which model")->required()->type_name("NAME");
  rollback->add_option("label", flags->label, "Which label; the default one unless given")
      ->type_name("LABEL");
  run(rollback, RollBack);

  CLI::App* const policy = models.add_subcommand(
      "policy", "Show a model's labels and policy; with flags, change the policy");
  policy->add_option("name", flags->model, "Of which model")->required()->type_name("NAME");
  policy
      ->add_option("--default", flags->default_label,
                   "What the name alone stands for: a label, or latest for the newest version")
      ->type_name("LABEL");
  policy
      ->add_option("--keep", flags->keep,
                   "Keep only so many versions, the newest, beside those that are labelled or "
                   "used; 0 keeps all")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  run(policy, Policy);

  CLI::App* const load = models.add_subcommand("load", "Get a version ready to answer");
  load->add_option("model", flags->model, "Which one")
      ->required()
      ->type_name("NAME[@VERSION|@LABEL]");
  AddPrecisionFlag(*load, flags->precision);
  run(load, Load);

  CLI::App* const unload =
      models.add_subcommand("unload", "Give back the memory of a version, or of all of a model's");
  unload->add_option("model", flags->model, "Which one")
      ->required()
      ->type_name("NAME[@VERSION|@LABEL]");
  run(unload, Unload);

  CLI::App* const remove = models.add_subcommand("delete", "Delete a version");
  remove->add_option("model", flags->model, "Which one")->required()->type_name("NAME@VERSION");
  run(remove, Delete);
}

}  // namespace convd
