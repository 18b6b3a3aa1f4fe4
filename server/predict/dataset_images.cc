#include "server/predict/dataset_images.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/prefetch.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {

absl::StatusOr<DatasetAndHash> LoadDataset(DatasetRegistry& datasets, const std::string& name) {
  // The name may come to stand for other data between the two calls.
  CONVD_ASSIGN_OR_RETURN(const v1::Dataset described, datasets.Get(name));
  CONVD_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> dataset, datasets.Load(name));
  CONVD_ASSIGN_OR_RETURN(const v1::Dataset again, datasets.Get(name));
  if (again.sha256() != described.sha256()) {
    return absl::AbortedError(
        absl::StrCat("dataset \"", name, "\" was replaced just now; try again"));
  }
  return DatasetAndHash{std::move(dataset), described.sha256()};
}

absl::StatusOr<const DatasetSplit*> FindSplit(absl::string_view field, const std::string& name,
                                              const Dataset& dataset, const std::string& split) {
  const DatasetSplit* found = dataset.Find(split.empty() ? "test" : split);
  if (found == nullptr && split.empty() && dataset.splits.size() == 1) found = &dataset.splits[0];
  if (found != nullptr) return found;
  const std::string names = absl::StrJoin(
      dataset.splits, ", ",
      [](std::string* out, const DatasetSplit& s) { absl::StrAppend(out, "\"", s.name, "\""); });
  return absl::NotFoundError(
      absl::StrCat(field, ": \"", name, "\" has ", names, "; got ",
                   split.empty() ? "none, which means \"test\"" : "\"" + split + "\""));
}

absl::StatusOr<ImageSet> ReadDatasetImages(DatasetRegistry& datasets,
                                           const v1::DatasetImages& wanted, int64_t max_images) {
  CONVD_RETURN_IF_ERROR(CheckName("images.dataset.name", wanted.name()));
  if (!wanted.split().empty()) {
    CONVD_RETURN_IF_ERROR(CheckName("images.dataset.split", wanted.split()));
  }
  if (wanted.count() < 1 || wanted.count() > max_images) {
    return absl::InvalidArgumentError(absl::StrCat("images.dataset.count: got ", wanted.count(),
                                                   " images; want 1 to ", max_images,
                                                   " in one request"));
  }
  CONVD_ASSIGN_OR_RETURN(const DatasetAndHash found, LoadDataset(datasets, wanted.name()));
  if (!wanted.sha256().empty() && wanted.sha256() != found.sha256) {
    return absl::AbortedError(absl::StrCat("images.dataset.sha256: \"", wanted.name(),
                                           "\" was replaced and stands for other data now, with ",
                                           found.sha256));
  }
  CONVD_ASSIGN_OR_RETURN(
      const DatasetSplit* const split,
      FindSplit("images.dataset.split", wanted.name(), *found.dataset, wanted.split()));
  const int64_t samples = split->images.count;
  if (wanted.first() < 0 || wanted.first() >= samples ||
      wanted.count() > samples - wanted.first()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "images.dataset: got ", wanted.count(), " images from number ", wanted.first(), " on; \"",
        wanted.name(), "/", split->name, "\" has ", samples, ", numbered from 0"));
  }
  PrefetchImages(split->images, wanted.first(), wanted.count());
  ImageSet images = split->images.Slice(wanted.first(), wanted.count());
  // The split's own owner may be the mapping alone; this keeps its labels as well.
  images.owner = found.dataset;
  return images;
}

}  // namespace convd
