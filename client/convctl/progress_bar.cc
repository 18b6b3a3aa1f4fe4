#include "client/convctl/progress_bar.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/terminal_text.h"
#include "core/train/early_stopping.h"

namespace convd {
namespace {

constexpr int kLeastBar = 8;
constexpr int kWidestBar = 30;

std::string Bar(double share, int width, bool utf8) {
  const int done = static_cast<int>(std::clamp(share, 0.0, 1.0) * width);
  std::string bar = utf8 ? "" : "[";
  for (int i = 0; i < width; ++i) {
    if (utf8) {
      bar += i < done ? "━" : "─";
    } else {
      bar += i < done ? '=' : i == done ? '>' : '.';
    }
  }
  return utf8 ? bar : bar + "]";
}

// `parts` joined by two spaces, with a bar after the first, in at most `width` columns: parts go
// from the end until it fits.
std::string FitLine(std::vector<std::string> parts, double share, int width, bool utf8) {
  const int frame = utf8 ? 0 : 2;
  for (;;) {
    const int text = static_cast<int>(DisplayWidth(absl::StrJoin(parts, "  ")));
    const int room = width - text - 2 - frame;
    if (room >= kLeastBar) {
      parts.insert(parts.begin() + 1, Bar(share, std::min(room, kWidestBar), utf8));
      return absl::StrJoin(parts, "  ");
    }
    if (parts.size() == 1) return std::string(CutToWidth(parts[0], std::max(width, 0)));
    parts.pop_back();
  }
}

double Share(int64_t done, int64_t total) {
  return total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
}

// The epoch whose weights were published. REQUIRES: the job's history isn't empty.
const v1::EpochRecord& PublishedEpoch(const v1::Job& job) {
  const v1::EpochRecord* published = &*job.history().rbegin();
  EarlyStopping early_stopping(job.request().early_stopping());
  if (!early_stopping.restores_best()) return *published;
  for (const v1::EpochRecord& record : job.history()) {
    if (early_stopping.Add(record)) published = &record;
  }
  return *published;
}

}  // namespace

std::string ProgressLine(const v1::Progress& progress, int width, bool utf8) {
  std::vector<std::string> parts;
  parts.push_back(absl::StrCat("Epoch ", progress.epoch(), "/", progress.epochs()));
  // Padded to the width of the total, so that the line doesn't jump.
  const std::string steps = absl::StrCat(progress.steps());
  if (progress.validating()) {
    parts.push_back("validating");
  } else {
    parts.push_back(
        absl::StrFormat("%*d/%s", static_cast<int>(steps.size()), progress.step(), steps));
  }
  if (progress.step() > 0) {
    parts.push_back(absl::StrCat("loss ", Four(progress.loss())));
    parts.push_back(absl::StrCat("accuracy ", Four(progress.accuracy())));
    parts.push_back(absl::StrCat(Rate(progress.images_per_second()), " images/s"));
    parts.push_back(absl::StrCat(Seconds(progress.seconds_left()), " left"));
  }
  return FitLine(std::move(parts), Share(progress.step(), progress.steps()), width, utf8);
}

std::string UploadLine(const std::string& name, int64_t sent, int64_t total, int width, bool utf8) {
  return FitLine({Printable(name), absl::StrCat(Bytes(sent), " of ", Bytes(total))},
                 Share(sent, total), width, utf8);
}

std::string EpochLine(const v1::EpochRecord& record, int64_t epochs) {
  std::string line =
      absl::StrCat("Epoch ", record.epoch(), "/", epochs, " - ", Seconds(record.seconds()),
                   " - loss: ", Four(record.loss()), " - accuracy: ", Four(record.accuracy()));
  if (record.has_val_loss()) absl::StrAppend(&line, " - val_loss: ", Four(record.val_loss()));
  if (record.has_val_accuracy()) {
    absl::StrAppend(&line, " - val_accuracy: ", Four(record.val_accuracy()));
  }
  return line;
}

std::string ResultLine(const v1::Job& job) {
  if (job.history().empty()) return "";
  double seconds = 0;
  for (const v1::EpochRecord& record : job.history()) seconds += record.seconds();
  const v1::EpochRecord& published = PublishedEpoch(job);
  const int64_t last = job.history().rbegin()->epoch();
  const bool validated = published.has_val_accuracy();
  std::string line =
      absl::StrCat(Printable(ModelSpec(job.result())), ": ",
                   validated ? "validation accuracy " : "training accuracy ",
                   Four(validated ? published.val_accuracy() : published.accuracy()));
  if (published.epoch() != last) absl::StrAppend(&line, " of epoch ", published.epoch());
  absl::StrAppendFormat(&line, ", %.2f seconds an epoch", seconds / job.history_size());
  if (last < job.request().epochs()) absl::StrAppend(&line, ", stopped early at epoch ", last);
  return line;
}

}  // namespace convd
