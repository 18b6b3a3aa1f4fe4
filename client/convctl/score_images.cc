#include "client/convctl/score_images.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/image_folder.h"
#include "client/convctl/interrupt.h"
#include "client/convctl/local_file.h"
#include "client/convctl/local_images.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/prediction_rows.h"
#include "client/convctl/terminal_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kRequestImages = 1000;
constexpr int64_t kRequestBytes = int64_t{4} << 20;
constexpr int64_t kAnswerFloats = int64_t{1} << 18;  // of an answer with probabilities
constexpr int64_t kLargestImageFile = int64_t{64} << 20;
constexpr int kBatchesInFlight = 8;
constexpr size_t kReasons = 3;
constexpr char kFirstFile[] = "images.encoded.files[0]: ";

// The images of one request; with an error where they can't be sent.
struct Group {
  std::vector<ScoredImage> images;
  absl::Status error;
  v1::Images request;
};

class Source {
 public:
  virtual ~Source() = default;
  virtual std::optional<Group> Next() = 0;
  virtual std::string name() const = 0;
  virtual bool of_files() const { return false; }
};

// A file a request, so that one that is broken fails alone.
class FolderSource final : public Source {
 public:
  FolderSource(std::string folder, std::vector<FolderImage> files, bool invert)
      : folder_(std::move(folder)), files_(std::move(files)), invert_(invert) {}

  std::optional<Group> Next() override {
    if (next_ == files_.size()) return std::nullopt;
    FolderImage& file = files_[next_++];
    Group group;
    if (file.error.empty()) {
      absl::StatusOr<std::string> data = ReadLocalFile(file.path, kLargestImageFile);
      group.error = data.status();
      if (data.ok()) {
        v1::EncodedImages& encoded = *group.request.mutable_encoded();
        encoded.set_invert(invert_);
        encoded.add_files(*std::move(data));
      }
    } else {
      group.error = UsageError(file.error);
    }
    group.images.resize(1);
    group.images[0].file = std::move(file.path);
    return group;
  }
  std::string name() const override { return folder_; }
  bool of_files() const override { return true; }

 private:
  const std::string folder_;
  std::vector<FolderImage> files_;
  const bool invert_;
  size_t next_ = 0;
};

// Images by their number, so many a request.
class NumberedSource final : public Source {
 public:
  // `fill` puts those from `first` on into a group.
  NumberedSource(std::string name, int64_t count, int64_t a_request,
                 std::function<void(int64_t first, Group& group)> fill)
      : name_(std::move(name)), count_(count), a_request_(a_request), fill_(std::move(fill)) {}

  std::optional<Group> Next() override {
    if (next_ == count_) return std::nullopt;
    Group group;
    group.images.resize(std::min(a_request_, count_ - next_));
    for (size_t i = 0; i < group.images.size(); ++i) {
      group.images[i].index = next_ + static_cast<int64_t>(i);
    }
    fill_(next_, group);
    next_ += static_cast<int64_t>(group.images.size());
    return group;
  }
  std::string name() const override { return name_; }

 private:
  const std::string name_;
  const int64_t count_;
  const int64_t a_request_;
  const std::function<void(int64_t, Group&)> fill_;
  int64_t next_ = 0;
};

absl::Status CheckShape(const std::string& what, int64_t height, int64_t width, int64_t channels,
                        const v1::InputShape& model) {
  if (height == model.height() && width == model.width() && channels == model.channels()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": has images of ", height, "x", width, "x", channels,
                   " (height x width x channels); the model takes ", model.height(), "x",
                   model.width(), "x", model.channels()));
}

absl::StatusOr<std::unique_ptr<Source>> DatasetSource(Client& client, const ScoreOptions& options,
                                                      const v1::ModelCard& card,
                                                      int64_t a_request) {
  CONVD_ASSIGN_OR_RETURN(const v1::Dataset dataset, client.GetDataset(options.dataset));
  CONVD_RETURN_IF_ERROR(CheckShape("--dataset " + options.dataset, dataset.height(),
                                   dataset.width(), dataset.channels(), card.network().input()));
  const std::string wanted = options.split.empty() ? "test" : options.split;
  const v1::Split* split = nullptr;
  std::string names;
  for (const v1::Split& there : dataset.splits()) {
    if (there.name() == wanted) split = &there;
    absl::StrAppend(&names, names.empty() ? "" : ", ", there.name());
  }
  if (split == nullptr && options.split.empty() && dataset.splits_size() == 1) {
    split = &dataset.splits(0);
  }
  if (split == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("--split ", wanted, ": the dataset ", options.dataset, " has ", names));
  }
  v1::DatasetImages images;
  images.set_name(options.dataset);
  images.set_split(split->name());
  images.set_sha256(dataset.sha256());
  return std::make_unique<NumberedSource>(
      absl::StrCat(options.dataset, "/", split->name()), split->samples(), a_request,
      [images](int64_t first, Group& group) {
        v1::DatasetImages& wanted = *group.request.mutable_dataset();
        wanted = images;
        wanted.set_first(first);
        wanted.set_count(static_cast<int64_t>(group.images.size()));
      });
}

absl::StatusOr<std::unique_ptr<Source>> FileSource(const ScoreOptions& options,
                                                   const v1::ModelCard& card, int64_t a_request) {
  CONVD_ASSIGN_OR_RETURN(const ImageSet images,
                         ReadLocalImages(options.images_file, options.labels_file));
  CONVD_RETURN_IF_ERROR(CheckShape("--images " + options.images_file, images.height, images.width,
                                   images.channels, card.network().input()));
  const int64_t fit = std::max<int64_t>(1, kRequestBytes / images.image_bytes());
  return std::make_unique<NumberedSource>(
      options.images_file, images.count, std::min(a_request, fit),
      [images](int64_t first, Group& group) {
        const auto count = static_cast<int64_t>(group.images.size());
        group.request = RawImagesOf(images.Slice(first, count));
        for (size_t i = 0; i < group.images.size() && !images.labels.empty(); ++i) {
          group.images[i].label = images.labels[first + static_cast<int64_t>(i)];
        }
      });
}

absl::StatusOr<std::unique_ptr<Source>> OpenSource(Client& client, const ScoreOptions& options,
                                                   const v1::ModelCard& card) {
  if (!options.folder.empty()) {
    // A file's own name never begins a cell, so no spreadsheet takes it for a formula; nor may the
    // folder's.
    const bool plain = std::string_view("=+-@\t\r\n").find(options.folder[0]) == std::string::npos;
    const std::string folder = plain ? options.folder : "./" + options.folder;
    CONVD_ASSIGN_OR_RETURN(std::vector<FolderImage> files, FindImages(folder));
    return std::make_unique<FolderSource>(folder, std::move(files), options.invert);
  }
  const int64_t classes = std::max(1, card.labels_size());
  const int64_t a_request = options.probabilities
                                ? std::clamp<int64_t>(kAnswerFloats / classes, 1, kRequestImages)
                                : kRequestImages;
  return options.dataset.empty() ? FileSource(options, card, a_request)
                                 : DatasetSource(client, options, card, a_request);
}

// One run: what was sent, and what becomes of it, in the images' order.
class Run {
 public:
  Run(Session& session, const ScoreOptions& options, Source& source,
      std::vector<std::string> classes)
      : session_(session), options_(options), source_(source), classes_(std::move(classes)) {}

  // The next request's images; those that can't be sent are told of when it is their turn.
  absl::StatusOr<std::optional<v1::Images>> Next() {
    for (;;) {
      std::optional<Group> group = source_.Next();
      if (!group.has_value()) return std::nullopt;
      const bool sent = group->error.ok();
      v1::Images images = std::move(group->request);
      waiting_.push_back(*std::move(group));
      if (sent) return images;
      CONVD_RETURN_IF_ERROR(TellOfUnsent());
    }
  }

  absl::Status Answered(absl::StatusOr<v1::PredictResponse> answer) {
    CONVD_RETURN_IF_ERROR(TellOfUnsent());
    Group group = std::move(waiting_.front());
    waiting_.pop_front();
    if (answer.ok() && answer->predictions_size() != static_cast<int>(group.images.size())) {
      return absl::InternalError(absl::StrCat("the server answered ", answer->predictions_size(),
                                              " predictions for ", group.images.size(), " images"));
    }
    if (!answer.ok()) {
      if (!IsOfImages(answer.status())) return answer.status();
      group.error = answer.status();
    } else {
      for (int i = 0; i < answer->predictions_size(); ++i) {
        ScoredImage& image = group.images[i];
        image.prediction = std::move(*answer->mutable_predictions(i));
        if (i < answer->labels_size()) image.label = answer->labels(i);
      }
    }
    CONVD_RETURN_IF_ERROR(Tell(group));
    return TellOfUnsent();
  }

  absl::Status TellOfUnsent() {
    while (!waiting_.empty() && !waiting_.front().error.ok()) {
      CONVD_RETURN_IF_ERROR(Tell(waiting_.front()));
      waiting_.pop_front();
    }
    return absl::OkStatus();
  }

  int64_t images() const { return images_; }
  int64_t labelled() const { return labelled_; }
  double accuracy() const { return static_cast<double>(right_) / static_cast<double>(labelled_); }
  int64_t failed() const { return failed_; }

  absl::Status Failures() const {
    if (failed_ == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(Thousands(failed_), " of ", Thousands(images_), " images failed: ", reasons_,
                     failed_ > static_cast<int64_t>(kReasons) ? "; ..." : ""));
  }

 private:
  // Else it is of the model, the caller or the server, and the rest would meet it too. So does what
  // a whole batch meets at the very beginning.
  bool IsOfImages(const absl::Status& status) const {
    if (!source_.of_files() && images_ == 0) return false;
    return absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status) ||
           absl::IsInternal(status);
  }

  absl::Status Tell(Group& group) {
    std::string rows;
    for (ScoredImage& image : group.images) {
      ++images_;
      if (!group.error.ok()) {
        // The file's name says it better than its number in a request.
        image.error = std::string(absl::StripPrefix(group.error.message(), kFirstFile));
        const std::string name =
            image.file.empty() ? absl::StrCat("image ", image.index) : image.file;
        if (failed_ < static_cast<int64_t>(kReasons)) {
          const bool named = absl::StrContains(image.error, name);
          absl::StrAppend(&reasons_, failed_ == 0 ? "" : "; ",
                          Printable(named ? image.error : absl::StrCat(name, ": ", image.error)));
        }
        ++failed_;
      } else if (image.label >= 0) {
        ++labelled_;
        if (image.prediction.top_size() > 0 && image.prediction.top(0).index() == image.label) {
          ++right_;
        }
      }
      if (options_.csv) rows += CsvRow(image, classes_, options_.probabilities);
      if (options_.jsonl) rows += JsonRow(image, classes_);
    }
    if (rows.empty()) return absl::OkStatus();
    session_.Print(rows);
    // Who doesn't read any more needs no more.
    return session_.Close();
  }

  Session& session_;
  const ScoreOptions& options_;
  Source& source_;
  const std::vector<std::string> classes_;
  std::deque<Group> waiting_;
  int64_t images_ = 0, failed_ = 0, labelled_ = 0, right_ = 0;
  std::string reasons_;
};

std::string SummaryText(const Run& run, const v1::ModelVersion& model, const std::string& data,
                        double seconds) {
  std::string text =
      absl::StrCat(Printable(ModelSpec(model)), " on ", Printable(data), ": ",
                   Thousands(run.images()), " images in ", Seconds(seconds), ", ",
                   Rate(static_cast<double>(run.images() - run.failed()) / seconds), " images/s");
  if (run.labelled() > 0) absl::StrAppend(&text, ", accuracy ", Four(run.accuracy()));
  if (run.failed() > 0) absl::StrAppend(&text, ", ", Thousands(run.failed()), " failed");
  return text;
}

std::string SummaryJson(const Run& run, double seconds) {
  return absl::StrCat(
      "{\"images\":", run.images(), ",\"failed\":", run.failed(), ",\"seconds\":", seconds,
      ",\"images_per_second\":", static_cast<double>(run.images() - run.failed()) / seconds,
      run.labelled() > 0 ? absl::StrFormat(",\"accuracy\":%.9g", run.accuracy()) : std::string(),
      "}\n");
}

}  // namespace

absl::Status ScoreImages(Session& session, v1::PredictRequest request,
                         const ScoreOptions& options) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(request.model()));
  // All answers are of one version, whatever is published meanwhile.
  *request.mutable_model() = model.card().model();
  request.set_top_k(options.jsonl ? options.top_k.value_or(1) : 1);
  request.set_probabilities(options.probabilities);
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Source> source,
                         OpenSource(*client, options, model.card()));
  const std::vector<std::string> classes(model.card().labels().begin(),
                                         model.card().labels().end());
  if (options.csv) session.Print(CsvHeader(classes, options.probabilities));

  Cancellation cancellation;
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<InterruptScope> interrupt,
                         InterruptScope::Begin([&] { cancellation.Cancel(); }));
  Run run(session, options, *source, classes);
  PredictStreamOptions stream;
  if (!source->of_files()) stream.in_flight = kBatchesInFlight;
  const absl::Time begun = absl::Now();
  absl::Status status = client->PredictStream(
      [&]() -> absl::StatusOr<std::optional<v1::PredictRequest>> {
        CONVD_ASSIGN_OR_RETURN(std::optional<v1::Images> images, run.Next());
        if (!images.has_value()) return std::nullopt;
        *request.mutable_images() = *std::move(images);
        return request;
      },
      [&](absl::StatusOr<v1::PredictResponse> answer) { return run.Answered(std::move(answer)); },
      stream, &cancellation);
  if (interrupt->interrupted()) {
    return InterruptedError(absl::StrCat("Stopped after ", Thousands(run.images()), " images."));
  }
  if (status.ok()) status = run.TellOfUnsent();
  CONVD_RETURN_IF_ERROR(status);
  const double seconds = std::max(1e-9, absl::ToDoubleSeconds(absl::Now() - begun));
  const std::string summary = SummaryText(run, model.card().model(), source->name(), seconds);
  if (options.csv || options.jsonl) {
    session.PrintNote(summary);
  } else {
    session.Print(session.json() ? SummaryJson(run, seconds) : summary + "\n");
  }
  return run.Failures();
}

}  // namespace convd
