#include "server/datasets/new_dataset.h"

#include "core/data/label_names.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

template <typename Message>
NewDataset FromProto(const Message& message) {
  NewDataset dataset;
  dataset.name = message.name();
  for (const v1::SplitFiles& split : message.files()) {
    dataset.files.push_back({split.split(),
                             {split.images().begin(), split.images().end()},
                             {split.labels().begin(), split.labels().end()}});
  }
  dataset.labels.assign(message.labels().begin(), message.labels().end());
  const v1::ImageSize& size = message.image_size();
  dataset.image_size = {size.height(), size.width(), size.channels()};
  return dataset;
}

}  // namespace

NewDataset ReadNewDataset(const v1::RegisterDatasetRequest& request) { return FromProto(request); }
NewDataset ReadNewDataset(const v1::UploadHeader& header) {
  NewDataset dataset = FromProto(header);
  dataset.upload_id = header.upload_id();
  return dataset;
}

absl::Status CheckNewDataset(const std::string& prefix, const NewDataset& dataset,
                             const DataLimits& limits) {
  CONVD_RETURN_IF_ERROR(CheckName(prefix + "name", dataset.name));
  if (!dataset.labels.empty()) {
    CONVD_RETURN_IF_ERROR(CheckLabelNames(prefix + "labels", dataset.labels, limits));
  }
  return CheckImageSize(prefix + "image_size", dataset.image_size, limits);
}

}  // namespace convd
