#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/dataset_text.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/image_drawing.h"
#include "client/convctl/local_file.h"
#include "client/convctl/local_images.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/prediction_text.h"
#include "client/convctl/score_images.h"
#include "client/convctl/whole_number.h"
#include "core/data/pixel_statistics.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kLargestImageFile = int64_t{64} << 20;
// One request's files; more are sent in several, since servers bound a message.
constexpr int64_t kRequestBytes = int64_t{16} << 20;
constexpr int kUsualTopK = 3;
constexpr int kMostDrawnColumns = 64;
constexpr int kGap = 3;

struct PredictFlags {
  std::string model;
  std::vector<std::string> files;
  std::string images_file;
  std::string labels_file;
  std::vector<int64_t> indices;
  std::optional<int32_t> top_k;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
  bool probabilities = false;
  bool draw = false;
  bool invert = false;
  std::string dataset, split, folder;
  bool csv = false, jsonl = false;

  // Of a whole dataset, file or folder.
  bool many() const {
    return !dataset.empty() || !folder.empty() || (!images_file.empty() && indices.empty());
  }
};

// What is to be classified, as requests' images and one by one.
struct Input {
  std::vector<v1::Images> requests;
  std::vector<std::string> names;
  std::vector<int32_t> labels;              // empty where they aren't known
  std::vector<ImageSet> pixels;             // one an image, where they are drawn
  std::vector<PixelStatistics> statistics;  // of what could be decoded here
};

absl::StatusOr<Input> ReadFiles(const PredictFlags& flags) {
  Input input;
  int64_t bytes = kRequestBytes;
  for (const std::string& file : flags.files) {
    CONVD_ASSIGN_OR_RETURN(std::string data, ReadLocalFile(file, kLargestImageFile));
    if (bytes + static_cast<int64_t>(data.size()) > kRequestBytes) {
      input.requests.emplace_back();
      input.requests.back().mutable_encoded()->set_invert(flags.invert);
      bytes = 0;
    }
    bytes += static_cast<int64_t>(data.size());
    input.requests.back().mutable_encoded()->add_files(std::move(data));
    input.names.push_back(file);
  }
  return input;
}

// The files' pixels as the model gets them, and what they are like.
absl::Status DecodeFiles(const v1::InputShape& shape, const PredictFlags& flags, Input& input) {
  const ImageConversion to = {shape.height(), shape.width(), shape.channels(), flags.invert};
  size_t next = 0;
  for (const v1::Images& request : input.requests) {
    for (const std::string& file : request.encoded().files()) {
      absl::StatusOr<ImageSet> pixels = DecodeImageFile(file, input.names[next++], to);
      if (pixels.ok()) input.statistics.push_back(MeasurePixels(*pixels));
      // What isn't drawn is for the server to refuse.
      if (!flags.draw) continue;
      CONVD_RETURN_IF_ERROR(pixels.status());
      input.pixels.push_back(*std::move(pixels));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Input> ReadImagesFile(const PredictFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(const ImageSet images,
                         ReadChosenImages(flags.images_file, flags.labels_file, flags.indices));
  Input input;
  const int64_t a_request =
      std::max<int64_t>(1, kRequestBytes / std::max<int64_t>(1, images.image_bytes()));
  for (int64_t begin = 0; begin < images.count; begin += a_request) {
    input.requests.push_back(
        RawImagesOf(images.Slice(begin, std::min(a_request, images.count - begin))));
  }
  for (int64_t i = 0; i < images.count; ++i) {
    input.names.push_back(absl::StrCat("image ", flags.indices[i]));
    input.pixels.push_back(images.Slice(i, 1));
  }
  input.labels.assign(images.labels.begin(), images.labels.end());
  input.statistics.push_back(MeasurePixels(images));
  return input;
}

absl::Status CheckFlags(const PredictFlags& flags, bool json) {
  if (!flags.files.empty() + !flags.images_file.empty() + !flags.dataset.empty() +
          !flags.folder.empty() !=
      1) {
    return UsageError("name image files, or one of --images FILE, --dataset NAME and --dir FOLDER");
  }
  if (flags.images_file.empty() && !flags.indices.empty()) {
    return UsageError("--index goes with --images");
  }
  if (flags.dataset.empty() && !flags.split.empty()) {
    return UsageError("--split goes with --dataset");
  }
  if (flags.csv + flags.jsonl + json > 1)
    return UsageError("give one of --csv, --jsonl and --json");
  if (!flags.many() && (flags.csv || flags.jsonl)) {
    return UsageError("--csv and --jsonl go with --dataset, --dir, and --images without --index");
  }
  if (flags.many() && flags.draw) {
    return UsageError("--draw goes with image files, and --images with --index");
  }
  if (flags.many() && !flags.jsonl && flags.top_k.has_value()) {
    return UsageError("--top-k goes with --jsonl, or with few images");
  }
  if (flags.images_file.empty() && !flags.labels_file.empty()) {
    return UsageError("--labels goes with --images");
  }
  if (flags.invert && flags.files.empty() && flags.folder.empty()) {
    return UsageError("--invert goes with PNG and JPEG files, not with --images and --dataset");
  }
  if (flags.probabilities && (flags.many() ? !flags.csv && !flags.jsonl : !json)) {
    return UsageError(
        "--probabilities goes with --csv and --jsonl, and for few images with --json");
  }
  return absl::OkStatus();
}

// Drawings under each other, or in columns where the terminal is wide enough.
std::string DrawPredictions(const std::vector<PredictedImage>& images, const Input& input,
                            const Terminal& terminal, int width) {
  std::vector<TextBlock> blocks;
  int widest = 1;
  for (size_t i = 0; i < images.size(); ++i) {
    std::vector<uint8_t> buffer;
    const PixelImage pixels = Drawable(input.pixels[i], 0, buffer);
    blocks.push_back(Beside(
        {DrawImage(pixels, kMostDrawnColumns, terminal), PredictionBlock(images[i], terminal)},
        kGap));
    widest = std::max(widest, blocks.back().width);
  }
  const int columns = std::max(1, (width + kGap) / (widest + kGap));
  std::string text;
  for (size_t begin = 0; begin < blocks.size(); begin += columns) {
    const size_t end = std::min(blocks.size(), begin + columns);
    const TextBlock row = Beside({blocks.begin() + begin, blocks.begin() + end}, kGap);
    for (const std::string& line : row.lines) absl::StrAppend(&text, line, "\n");
    text += "\n";
  }
  return text;
}

absl::Status Predict(Session& session, const PredictFlags& flags) {
  v1::PredictRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  CONVD_RETURN_IF_ERROR(CheckFlags(flags, session.json()));
  if (flags.many()) {
    request.set_precision(flags.precision);
    return ScoreImages(session, std::move(request),
                       {.dataset = flags.dataset,
                        .images_file = flags.images_file,
                        .folder = flags.folder,
                        .split = flags.split,
                        .labels_file = flags.labels_file,
                        .invert = flags.invert,
                        .csv = flags.csv,
                        .jsonl = flags.jsonl,
                        .probabilities = flags.probabilities,
                        .top_k = flags.top_k});
  }
  CONVD_ASSIGN_OR_RETURN(Input input,
                         flags.files.empty() ? ReadImagesFile(flags) : ReadFiles(flags));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  // The card says how many classes there are and what they are called; asking for its version from
  // then on keeps the answers of several requests one version's.
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(request.model()));
  *request.mutable_model() = model.card().model();
  if (!flags.files.empty()) {
    CONVD_RETURN_IF_ERROR(DecodeFiles(model.card().network().input(), flags, input));
  }
  const int classes = model.card().labels_size();
  request.set_top_k(flags.top_k.value_or(std::clamp(classes, 1, kUsualTopK)));
  request.set_probabilities(flags.probabilities);
  request.set_precision(flags.precision);

  const std::string warning = BackgroundWarning(input.statistics, model.card().training_pixels());
  if (!warning.empty()) {
    const bool can_invert = !flags.files.empty() && !flags.invert;
    session.PrintNote(absl::StrCat(warning, can_invert ? ", as --invert does it" : ""));
  }

  v1::PredictResponse all;
  for (const v1::Images& images : input.requests) {
    *request.mutable_images() = images;
    CONVD_ASSIGN_OR_RETURN(const v1::PredictResponse response, client->Predict(request));
    all.MergeFrom(response);
  }
  if (all.predictions_size() != static_cast<int>(input.names.size())) {
    return absl::InternalError(absl::StrCat("the server answered ", all.predictions_size(),
                                            " predictions for ", input.names.size(), " images"));
  }
  if (session.json()) return session.PrintJson(all);

  std::vector<PredictedImage> images;
  for (int i = 0; i < all.predictions_size(); ++i) {
    std::string truth;
    if (!input.labels.empty()) {
      const int32_t label = input.labels[i];
      truth = label >= 0 && label < classes ? model.card().labels(label)
                                            : absl::StrCat("label ", label);
    }
    images.push_back({input.names[i], std::move(truth), all.predictions(i)});
  }
  session.Print(flags.draw ? DrawPredictions(images, input, session.terminal(), session.width())
                           : PredictionTable(images));
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<PredictFlags>();
  CLI::App* const predict = app.add_subcommand(
      "predict", "Classify PNG and JPEG files, a folder of them, or a dataset's images");
  predict->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  predict->add_option("files", flags->files, "PNG or JPEG files; they are made to fit the model")
      ->type_name("FILE");
  predict
      ->add_option("--images,--idx", flags->images_file,
                   "The images of this local IDX, CIFAR or npz file instead")
      ->type_name("FILE");
  predict->add_option("--dataset", flags->dataset, "The images of this dataset of the server")
      ->type_name("NAME");
  predict->add_option("--split", flags->split, "Its split (default: test)")->type_name("NAME");
  predict->add_option("--dir", flags->folder, "All PNG and JPEG files in this folder and below it")
      ->type_name("FOLDER");
  predict->add_flag("--csv", flags->csv, "One line an image, with a heading, as they come");
  predict->add_flag("--jsonl", flags->jsonl, "One JSON object an image, as they come");
  predict->add_option("--index", flags->indices, "Which of --images, from 0 (default: all)")
      ->delimiter(',')
      ->check(WholeNumber<int64_t>())
      ->type_name("I,J,...");
  predict
      ->add_option("--labels", flags->labels_file, "Their IDX labels, to show beside the answers")
      ->type_name("FILE");
  predict->add_option("--top-k", flags->top_k, "Classes to show for each image (default: 3)")
      ->check(WholeNumber<int32_t>())
      ->type_name("K");
  AddPrecisionFlag(*predict, flags->precision);
  predict->add_flag("--probabilities", flags->probabilities,
                    "With --json, --csv or --jsonl: every class's probability");
  predict->add_flag("--invert", flags->invert,
                    "Turn the files' light and dark around, for dark strokes on paper");
  predict->add_flag("--draw", flags->draw,
                    "Draw the images beside their classes, as the model sees them");
  predict->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Predict(session, *flags); };
  });
}

}  // namespace convd
