#include "core/nn/summary.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// "18,496"
std::string WithThousands(int64_t n) {
  std::string digits = absl::StrCat(n);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(i, 1, ',');
  return digits;
}

std::string_view KerasClass(LayerKind kind) {
  switch (kind) {
    case LayerKind::kConv2D:
      return "Conv2D";
    case LayerKind::kMaxPool:
      return "MaxPooling2D";
    case LayerKind::kAveragePool:
      return "AveragePooling2D";
    case LayerKind::kDense:
      return "Dense";
    case LayerKind::kFlatten:
      return "Flatten";
    case LayerKind::kDropout:
      return "Dropout";
    case LayerKind::kActivation:
      return "Activation";
  }
  return "";
}

using Row = std::array<std::string, 3>;

void AppendRow(const Row& row, const std::array<size_t, 3>& widths, std::string& out) {
  for (size_t i = 0; i < row.size(); ++i) {
    absl::StrAppend(&out, " ", row[i]);
    if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 1, ' ');
  }
  out += '\n';
}

}  // namespace

std::string Summary(const Graph& graph) {
  std::vector<Row> rows = {{"Layer (type)", "Output Shape", "Param #"}};
  bool flat = false;
  for (const GraphLayer& layer : graph.layers()) {
    flat = flat || layer.kind == LayerKind::kFlatten;
    const std::string_view kind = KerasClass(layer.kind);
    rows.push_back(
        {absl::StrCat(layer.name, " (", absl::string_view(kind.data(), kind.size()), ")"),
         flat ? absl::StrCat("(None, ", layer.out.channels, ")")
              : absl::StrCat("(None, ", layer.out.height, ", ", layer.out.width, ", ",
                             layer.out.channels, ")"),
         WithThousands(layer.parameter_count)});
  }

  std::array<size_t, 3> widths = {26, 22, 11};  // Keras's columns, wider where a name needs it
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const size_t line = widths[0] + widths[1] + widths[2] + 6;
  std::string out = absl::StrCat("Model: \"", graph.name(), "\"\n");
  out.append(line, '_') += '\n';
  for (size_t i = 0; i < rows.size(); ++i) {
    AppendRow(rows[i], widths, out);
    if (i == 0) out.append(line, '=') += '\n';
  }
  out.append(line, '=') += '\n';
  absl::StrAppend(&out, "Total params: ", WithThousands(graph.parameter_count()),
                  "\nTrainable params: ", WithThousands(graph.parameter_count()),
                  "\nNon-trainable params: 0\n");
  out.append(line, '_') += '\n';
  return out;
}

}  // namespace convd
