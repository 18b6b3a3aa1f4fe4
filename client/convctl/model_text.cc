#include "client/convctl/model_text.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/convctl/job_text.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/precision_text.h"
#include "client/convctl/progress_bar.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

std::string ValidationAccuracy(const v1::ModelCard& card) {
  return card.validation().samples() > 0 ? Four(card.validation().accuracy()) : "-";
}

// Its labels, and whether its name alone stands for it.
std::string LabelsText(const v1::Model& model) {
  std::string text = absl::StrJoin(model.labels(), ", ");
  if (model.is_default()) absl::StrAppend(&text, text.empty() ? "" : ", ", "(default)");
  return text.empty() ? "-" : text;
}

std::string LibrariesText(const v1::ModelCard& card) {
  // A map's own order is none.
  const std::map<std::string, std::string> libraries(card.library_versions().begin(),
                                                     card.library_versions().end());
  return absl::StrJoin(libraries, ", ", absl::PairFormatter(" "));
}

// What the version is worth at each precision that its server had.
std::string ServedTable(const v1::ModelCard& card) {
  Table table({{"SERVED AT"},
               {"SAMPLES", Align::kRight},
               {"LOSS", Align::kRight},
               {"ACCURACY", Align::kRight}});
  for (const v1::ServedAccuracy& served : card.served()) {
    table.AddRow({PrecisionText(served.precision()), Thousands(served.samples()),
                  Four(served.loss()), Four(served.accuracy())});
  }
  return table.Render();
}

}  // namespace

std::string ModelsTable(const std::vector<v1::Model>& models) {
  Table table({{"MODEL"},
               {"VERSION", Align::kRight},
               {"LABELS"},
               {"NETWORK"},
               {"PARAMETERS", Align::kRight},
               {"DATASET"},
               {"VAL ACCURACY", Align::kRight},
               {"SIZE", Align::kRight},
               {"CREATED"}});
  for (const v1::Model& model : models) {
    const v1::ModelCard& card = model.card();
    if (!model.damage().empty()) {
      table.AddRow({card.model().name(), absl::StrCat(card.model().version()), LabelsText(model),
                    "damaged", "-", "-", "-", "-", "-"});
      continue;
    }
    table.AddRow({card.model().name(), absl::StrCat(card.model().version()), LabelsText(model),
                  card.network().name(), Thousands(card.parameters()),
                  DatasetText(card.request().dataset()), ValidationAccuracy(card),
                  Bytes(model.size_bytes()), LocalTime(card.created())});
  }
  std::string text = table.Render();
  for (const v1::Model& model : models) {
    if (model.damage().empty()) continue;
    absl::StrAppend(&text, "\n", ModelSpec(model.card().model()),
                    " can't be served: ", Printable(model.damage()), "\n");
  }
  return text;
}

std::string PolicyText(const v1::ModelPolicy& policy) {
  FieldList fields;
  fields.Add("Model", policy.name());
  fields.Add("Default", policy.default_label().empty() ? "latest" : policy.default_label());
  fields.Add("Keeps", policy.keep() == 0
                          ? "all versions"
                          : absl::StrCat("the ", Thousands(policy.keep()),
                                         " newest versions, and those that are labelled or used"));
  std::string text = fields.Render();
  if (policy.labels().empty()) return text;
  Table labels({{"LABEL"}, {"VERSION", Align::kRight}, {"BEFORE", Align::kRight}, {"SINCE"}});
  for (const v1::ModelLabel& label : policy.labels()) {
    labels.AddRow({label.label(), absl::StrCat(label.version()),
                   label.previous() == 0 ? "-" : absl::StrCat(label.previous()),
                   LocalTime(label.moved())});
  }
  return absl::StrCat(text, "\n", labels.Render());
}

std::string ModelDetails(const v1::Model& model) {
  const v1::ModelCard& card = model.card();
  FieldList fields;
  fields.Add("Model", ModelSpec(card.model()));
  fields.Add("Labels", LabelsText(model));
  fields.Add("Network", card.network().name());
  fields.Add("Parameters", Thousands(card.parameters()));
  fields.Add("Dataset", DatasetText(card.request().dataset()));
  fields.Add("Data SHA-256", card.data_sha256());
  fields.Add("Validation", ValidationText(card.request().validation()));
  fields.Add("Validation accuracy", ValidationAccuracy(card));
  fields.Add("Optimizer", OptimizerText(card.request().optimizer()));
  fields.Add("Augmentation", AugmentationText(card.request().augmentation()));
  fields.Add("Batch size", Thousands(card.request().batch_size()));
  fields.Add("Seed", absl::StrCat(card.request().seed()));
  fields.Add("Trained in", PrecisionText(card.request().precision()));
  fields.Add("Served at", PrecisionText(card.request().serving_precision()));
  if (card.request().has_initial_model()) {
    fields.Add("Began with", ModelSpec(card.request().initial_model()));
  }
  if (card.has_imported()) {
    fields.Add(
        "Imported",
        absl::StrCat(ModelSpec(card.imported().model()), " of ",
                     LocalTime(card.imported().created()), ", from ",
                     card.imported().source().empty() ? "an archive" : card.imported().source()));
  }
  fields.Add("Job", card.job_id());
  fields.Add("Trained for", Seconds(card.training_seconds()));
  fields.Add("Instruction set", card.instruction_set());
  if (!card.library_versions().empty()) fields.Add("Libraries", LibrariesText(card));
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
  if (!card.served().empty()) absl::StrAppend(&text, "\n", ServedTable(card));
  if (model.evaluations().empty()) return text;
  Table evaluations({{"EVALUATED ON"},
                     {"PRECISION"},
                     {"SAMPLES", Align::kRight},
                     {"LOSS", Align::kRight},
                     {"ACCURACY", Align::kRight},
                     {"TIME"}});
  for (const v1::Evaluation& evaluation : model.evaluations()) {
    evaluations.AddRow({evaluation.dataset().name().empty() ? "images sent along"
                                                            : DatasetText(evaluation.dataset()),
                        PrecisionText(evaluation.precision()),
                        Thousands(evaluation.metrics().samples()),
                        Four(evaluation.metrics().loss()), Four(evaluation.metrics().accuracy()),
                        LocalTime(evaluation.time())});
  }
  return absl::StrCat(text, "\n", evaluations.Render());
}

}  // namespace convd
