#include "client/convctl/metrics_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "client/convctl/number_text.h"
#include "client/convctl/table.h"

namespace convd {

std::string MetricsText(const v1::Metrics& metrics) {
  FieldList fields;
  fields.Add("Samples", Thousands(metrics.samples()));
  fields.Add("Loss", Four(metrics.loss()));
  fields.Add("Accuracy", Four(metrics.accuracy()));
  if (metrics.classes_size() > 5) fields.Add("Top-5", Four(metrics.top_5_accuracy()));
  std::string text = fields.Render();
  if (metrics.classes().empty()) return text;
  Table table({{"INDEX", Align::kRight},
               {"CLASS"},
               {"SAMPLES", Align::kRight},
               {"PRECISION", Align::kRight},
               {"RECALL", Align::kRight},
               {"F1", Align::kRight}});
  for (int i = 0; i < metrics.classes_size(); ++i) {
    const v1::ClassMetrics& c = metrics.classes(i);
    table.AddRow({absl::StrCat(i), c.label(), Thousands(c.support()), Four(c.precision()),
                  Four(c.recall()), Four(c.f1())});
  }
  return absl::StrCat(text, "\n", table.Render());
}

std::string ConfusionText(const v1::Metrics& metrics) {
  const int64_t classes = metrics.classes_size();
  if (classes == 0) return "";
  if (metrics.confusion_size() != classes * classes) {
    return absl::StrCat("No confusion matrix: there is none of ", classes, " classes.\n");
  }
  std::vector<Column> columns = {{"TRUE \\ PREDICTED"}};
  for (int64_t c = 0; c < classes; ++c) columns.push_back({absl::StrCat(c), Align::kRight});
  Table table(columns);
  for (int64_t r = 0; r < classes; ++r) {
    std::vector<std::string> row = {
        absl::StrCat(r, " ", metrics.classes(static_cast<int>(r)).label())};
    for (int64_t c = 0; c < classes; ++c) {
      const int64_t count = metrics.confusion(static_cast<int>(r * classes + c));
      row.push_back(count == 0 ? "." : Thousands(count));
    }
    table.AddRow(std::move(row));
  }
  return table.Render();
}

}  // namespace convd
