#include "client/convctl/prediction_text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/convctl/number_text.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

constexpr int kBarColumns = 16;

std::string ProbabilityBar(float probability, bool utf8) {
  const int filled =
      std::isfinite(probability)
          ? static_cast<int>(std::lround(std::clamp(probability, 0.0f, 1.0f) * kBarColumns))
          : 0;
  std::string bar;
  for (int i = 0; i < filled; ++i) bar += utf8 ? "█" : "#";
  return bar;
}

void PadTo(std::string& line, size_t width) {
  const size_t now = DisplayWidth(line);
  if (now < width) line.append(width - now, ' ');
}

}  // namespace

std::string PredictionTable(const std::vector<PredictedImage>& images) {
  const bool truths = std::any_of(images.begin(), images.end(),
                                  [](const PredictedImage& image) { return !image.truth.empty(); });
  std::vector<Column> columns = {{"IMAGE"}, {"CLASS"}, {"PROBABILITY", Align::kRight}};
  if (truths) columns.push_back({"TRUE CLASS"});
  Table table(columns);
  for (const PredictedImage& image : images) {
    for (int k = 0; k < image.prediction.top_size(); ++k) {
      const v1::ClassScore& score = image.prediction.top(k);
      std::vector<std::string> row = {k == 0 ? image.name : "", score.label(),
                                      Four(score.probability())};
      if (truths) row.push_back(k == 0 ? image.truth : "");
      table.AddRow(std::move(row));
    }
  }
  return table.Render();
}

TextBlock PredictionBlock(const PredictedImage& image, const Terminal& terminal) {
  TextBlock block;
  block.lines.push_back(Printable(image.name));
  block.lines.push_back("");
  size_t label_width = 0;
  for (const v1::ClassScore& score : image.prediction.top()) {
    label_width = std::max(label_width, DisplayWidth(Printable(score.label())));
  }
  for (const v1::ClassScore& score : image.prediction.top()) {
    std::string line = Printable(score.label());
    PadTo(line, label_width);
    absl::StrAppend(&line, "  ", Four(score.probability()), "  ",
                    ProbabilityBar(score.probability(), terminal.utf8));
    block.lines.push_back(std::move(line));
  }
  if (!image.truth.empty()) {
    const bool right =
        image.prediction.top_size() > 0 && image.prediction.top(0).label() == image.truth;
    block.lines.push_back("");
    block.lines.push_back(
        absl::StrCat(right ? "right: " : "wrong: it is ", Printable(image.truth)));
  }
  size_t width = label_width + 10 + kBarColumns;  // as wide as the widest bar could make it
  for (const std::string& line : block.lines) width = std::max(width, DisplayWidth(line));
  for (std::string& line : block.lines) PadTo(line, width);
  block.width = static_cast<int>(width);
  return block;
}

}  // namespace convd
