#include "client/convctl/dataset_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/convctl/image_drawing.h"
#include "client/convctl/local_images.h"
#include "client/convctl/number_text.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

constexpr int kMostDrawnColumns = 24;
constexpr int kGap = 2;
// Of 255. Between the two a background is neither.
constexpr double kDark = 96;
constexpr double kLight = 160;

// What is asked of pixels, over their channels.
struct Brightness {
  double border = 0;
  double most = 0;  // beyond which few are

  // Images of 0 to 1 would be as dark as can be, all of them.
  bool in_bytes() const { return most > 1; }
};

template <typename Values>
double Mean(const Values& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::string Caption(const v1::GetSamplesResponse& answer, const v1::Dataset& dataset) {
  if (answer.labels_size() == 0) return "";
  const int32_t label = answer.labels(0);
  return label >= 0 && label < dataset.labels_size() ? Printable(dataset.labels(label))
                                                     : absl::StrCat(label);
}

}  // namespace

std::string ChannelValues(const google::protobuf::RepeatedField<double>& values) {
  if (values.empty()) return "-";
  return absl::StrJoin(values, " / ", [](std::string* out, double value) {
    // Two digits at least, also of pixels from 0 to 1.
    absl::StrAppendFormat(out, "%.*f", std::abs(value) < 10 ? 3 : 1, value);
  });
}

std::string UploadsTable(const std::vector<v1::Upload>& uploads) {
  Table table({{"UPLOAD"}, {"DATASET"}, {"SENT", Align::kRight}, {"LAST USED"}, {"STATE"}});
  for (const v1::Upload& upload : uploads) {
    int64_t bytes = 0;
    for (const v1::UploadedFile& file : upload.files()) bytes += file.size_bytes();
    table.AddRow({upload.header().upload_id(), upload.header().name(),
                  upload.being_read() ? "-" : Bytes(bytes), LocalTime(upload.used()),
                  upload.being_read() ? "being read"
                  : upload.open()     ? "being sent"
                                      : "broken off"});
  }
  return table.Render();
}

std::string DrawSamples(const std::vector<v1::GetSamplesResponse>& answers,
                        const v1::Dataset& dataset, const Terminal& terminal, int width) {
  std::vector<std::vector<TextBlock>> rows;
  int columns = 0;  // of the last row
  for (const v1::GetSamplesResponse& answer : answers) {
    const absl::StatusOr<ImageSet> images = ImagesOf(answer.images());
    if (!images.ok()) continue;
    std::vector<uint8_t> buffer;
    TextBlock block = DrawImage(Drawable(*images, 0, buffer), kMostDrawnColumns, terminal);
    if (block.lines.empty()) continue;
    const std::string whole = Caption(answer, dataset);
    const std::string_view caption = CutToWidth(whole, static_cast<size_t>(block.width));
    block.lines.push_back(
        absl::StrCat(absl::string_view(caption.data(), caption.size()),
                     std::string(static_cast<size_t>(block.width) - DisplayWidth(caption), ' ')));
    columns += kGap + block.width;
    if (rows.empty() || columns > width) {
      rows.emplace_back();
      columns = block.width;
    }
    rows.back().push_back(std::move(block));
  }
  std::string text;
  for (const std::vector<TextBlock>& row : rows) {
    absl::StrAppend(&text, text.empty() ? "" : "\n");
    for (const std::string& line : Beside(row, kGap).lines) absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string BackgroundWarning(const std::vector<PixelStatistics>& predicted,
                              const v1::PixelStatistics& trained) {
  if (predicted.empty() || trained.mean_size() == 0 || trained.deviation_size() == 0 ||
      trained.border_mean_size() == 0) {
    return "";
  }
  Brightness ours;
  for (const PixelStatistics& pixels : predicted) {
    const double share = 1 / static_cast<double>(predicted.size());
    ours.border += share * Mean(pixels.border_mean);
    ours.most += share * (Mean(pixels.mean) + Mean(pixels.deviation));
  }
  const Brightness theirs = {Mean(trained.border_mean()),
                             Mean(trained.mean()) + Mean(trained.deviation())};
  const bool light = ours.border > kLight && theirs.border < kDark;
  const bool dark = ours.border < kDark && theirs.border > kLight;
  if (!(light || dark) || !ours.in_bytes() || !theirs.in_bytes()) return "";
  return absl::StrFormat(
      "the images' background is %s (mean of the border %.0f of 255), that of what the model was "
      "trained on %s (%.0f): the answers mean little unless the images are inverted",
      light ? "light" : "dark", ours.border, light ? "dark" : "light", theirs.border);
}

}  // namespace convd
