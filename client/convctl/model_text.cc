#include "client/convctl/model_text.h"

#include "absl/strings/str_cat.h"
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
  return table.Render();
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
  fields.Add("Augmentation", AugmentationText(card.request().augmentation()));
  fields.Add("Batch size", Thousands(card.request().batch_size()));
  fields.Add("Seed", absl::StrCat(card.request().seed()));
  fields.Add("Trained in", PrecisionText(card.request().precision()));
  fields.Add("Served at", PrecisionText(card.request().serving_precision()));
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
