#include "server/datasets/dataset_folder.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/data/image_storage.h"
#include "core/data/label_names.h"
#include "core/data/limits.h"
#include "core/data/npy.h"
#include "core/data/pixel_statistics.h"
#include "core/data/prefetch.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "core/storage/sha256.h"
#include "server/record_text.h"

namespace convd {
namespace {

static_assert(std::endian::native == std::endian::little,
              "arrays are written as they lie in memory");

constexpr int64_t kMaxRecordBytes = int64_t{64} << 20;
constexpr size_t kWriteBytes = size_t{16} << 20;

std::string ImagesPath(const std::string& folder, const std::string& split) {
  return absl::StrCat(folder, "/", split, ".images.npy");
}
std::string LabelsPath(const std::string& folder, const std::string& split) {
  return absl::StrCat(folder, "/", split, ".labels.npy");
}

std::string_view PixelBytes(const ImageSet& images) {
  return {static_cast<const char*>(images.pixels),
          static_cast<size_t>(images.count * images.image_bytes())};
}
std::string_view LabelBytes(const ImageSet& images) {
  return {reinterpret_cast<const char*>(images.labels.data()),
          images.labels.size() * sizeof(int32_t)};
}

// The headers of a split's two arrays; the arrays' bytes follow them.
std::string ImagesHeader(int64_t count, int height, int width, int channels, bool bytes) {
  return NpyFileHeader(bytes ? "|u1" : "<f4", {count, height, width, channels});
}
std::string LabelsHeader(int64_t count) { return NpyFileHeader("<i4", {count}); }

absl::Status WriteArray(FileSystem& fs, const std::string& path, const std::string& header,
                        std::string_view bytes) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, fs.Create(path));
  CONVD_RETURN_IF_ERROR(file->Append(header));
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kWriteBytes, bytes.size()))) {
    CONVD_RETURN_IF_ERROR(file->Append(bytes.substr(0, kWriteBytes)));
  }
  CONVD_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

absl::Status Damaged(absl::string_view what, const absl::Status& status) {
  return absl::DataLossError(absl::StrCat(what, ": ", status.message()));
}

// Everything that is later used as a size, an index or a name.
absl::Status CheckRecord(const v1::Dataset& record) {
  const DataLimits any = LimitsOnDisk();
  const std::vector<std::string> labels(record.labels().begin(), record.labels().end());
  CONVD_RETURN_IF_ERROR(CheckLabelNames("labels", labels, any));
  if (record.element_type() != v1::ELEMENT_TYPE_UINT8 &&
      record.element_type() != v1::ELEMENT_TYPE_FLOAT32) {
    return absl::InvalidArgumentError("element_type: is unknown");
  }
  if (record.splits().empty()) return absl::InvalidArgumentError("splits: there are none");
  std::set<std::string> names;
  for (const v1::Split& split : record.splits()) {
    CONVD_RETURN_IF_ERROR(CheckName("splits.name", split.name()));
    if (!names.insert(split.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat("splits: \"", split.name(), "\" is twice"));
    }
    CONVD_RETURN_IF_ERROR(CheckImageShape(absl::StrCat("split \"", split.name(), "\""),
                                          split.samples(), record.height(), record.width(),
                                          record.channels(), any));
    if (split.class_counts_size() != record.labels_size()) {
      return absl::InvalidArgumentError(absl::StrCat("splits: \"", split.name(), "\" counts ",
                                                     split.class_counts_size(), " classes of ",
                                                     record.labels_size()));
    }
  }
  return absl::OkStatus();
}

// A mapped array of exactly this header and size.
absl::StatusOr<std::unique_ptr<MappedFile>> MapArray(FileSystem& fs, const std::string& path,
                                                     const std::string& header, int64_t bytes) {
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, fs.Map(path));
  const std::string_view data = file->data();
  const int64_t want = static_cast<int64_t>(header.size()) + bytes;
  if (static_cast<int64_t>(data.size()) != want) {
    return absl::DataLossError(
        absl::StrCat(path, ": has ", data.size(), " bytes; its dataset's record says ", want));
  }
  if (data.substr(0, header.size()) != header) {
    return absl::DataLossError(
        absl::StrCat(path, ": its header isn't that of the array that the record says"));
  }
  return file;
}

struct MappedSplit {
  std::unique_ptr<MappedFile> images;
  std::unique_ptr<MappedFile> labels;
};

}  // namespace

bool IsSha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string HashDataset(const Dataset& dataset) {
  Sha256 hash;
  const auto number = [&hash](uint64_t value) {
    char bytes[8];
    for (char& byte : bytes) {
      byte = static_cast<char>(value & 0xFF);
      value >>= 8;
    }
    hash.Update(std::string_view(bytes, sizeof(bytes)));
  };
  const auto text = [&](const std::string& value) {
    number(value.size());
    hash.Update(value);
  };
  std::vector<const DatasetSplit*> splits;
  for (const DatasetSplit& split : dataset.splits) splits.push_back(&split);
  std::sort(splits.begin(), splits.end(),
            [](const DatasetSplit* a, const DatasetSplit* b) { return a->name < b->name; });
  hash.Update("convd-dataset-1\n");
  const ImageSet& shape = splits[0]->images;
  number(static_cast<uint64_t>(shape.height));
  number(static_cast<uint64_t>(shape.width));
  number(static_cast<uint64_t>(shape.channels));
  number(shape.type == ElementType::kUint8 ? 1 : 2);
  number(dataset.labels.size());
  for (const std::string& label : dataset.labels) text(label);
  number(splits.size());
  for (const DatasetSplit* split : splits) {
    text(split->name);
    number(static_cast<uint64_t>(split->images.count));
    hash.Update(PixelBytes(split->images));
    hash.Update(LabelBytes(split->images));
  }
  return hash.Hex();
}

v1::Dataset DescribeDataset(const Dataset& dataset, const std::string& sha256) {
  v1::Dataset record;
  const ImageSet& shape = dataset.splits[0].images;
  const bool bytes = shape.type == ElementType::kUint8;
  record.set_sha256(sha256);
  record.set_height(shape.height);
  record.set_width(shape.width);
  record.set_channels(shape.channels);
  record.set_element_type(bytes ? v1::ELEMENT_TYPE_UINT8 : v1::ELEMENT_TYPE_FLOAT32);
  for (const std::string& label : dataset.labels) record.add_labels(label);
  int64_t size = 0;
  for (const DatasetSplit& split : dataset.splits) {
    v1::Split& described = *record.add_splits();
    described.set_name(split.name);
    described.set_samples(split.images.count);
    std::vector<int64_t> counts(dataset.labels.size());
    for (const int32_t label : split.images.labels) ++counts[label];
    for (const int64_t count : counts) described.add_class_counts(count);
    const ImageSet& i = split.images;
    size += static_cast<int64_t>(
        ImagesHeader(i.count, i.height, i.width, i.channels, bytes).size() + PixelBytes(i).size() +
        LabelsHeader(i.count).size() + LabelBytes(i).size());
  }
  record.set_size_bytes(size);
  const PixelStatistics pixels = MeasurePixels(dataset.TrainingSplit().images);
  v1::PixelStatistics& described = *record.mutable_pixels();
  described.mutable_mean()->Add(pixels.mean.begin(), pixels.mean.end());
  described.mutable_deviation()->Add(pixels.deviation.begin(), pixels.deviation.end());
  described.mutable_border_mean()->Add(pixels.border_mean.begin(), pixels.border_mean.end());
  return record;
}

absl::Status WriteDatasetFolder(FileSystem& fs, const std::string& folder, const Dataset& dataset,
                                const v1::Dataset& record) {
  CONVD_RETURN_IF_ERROR(fs.CreateDirectories(folder));
  for (const DatasetSplit& split : dataset.splits) {
    const ImageSet& images = split.images;
    CONVD_RETURN_IF_ERROR(
        WriteArray(fs, ImagesPath(folder, split.name),
                   ImagesHeader(images.count, images.height, images.width, images.channels,
                                images.type == ElementType::kUint8),
                   PixelBytes(images)));
    CONVD_RETURN_IF_ERROR(WriteArray(fs, LabelsPath(folder, split.name), LabelsHeader(images.count),
                                     LabelBytes(images)));
  }
  // The folder is nobody's before it is renamed, so this one need not be atomic; it syncs.
  return WriteFileAtomically(fs, absl::StrCat(folder, "/", kDatasetRecordFile), RecordText(record));
}

absl::StatusOr<v1::Dataset> ReadDatasetRecord(FileSystem& fs, const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const std::string text, fs.Read(path, kMaxRecordBytes));
  v1::Dataset record;
  CONVD_RETURN_IF_ERROR(ParseRecord(path, text, record));
  return record;
}

absl::StatusOr<v1::Dataset> CheckDatasetFolder(FileSystem& fs, const std::string& folder,
                                               const std::string& sha256) {
  const std::string path = absl::StrCat(folder, "/", kDatasetRecordFile);
  absl::StatusOr<v1::Dataset> record = ReadDatasetRecord(fs, path);
  if (!record.ok()) return Damaged(folder, record.status());
  if (absl::Status status = CheckRecord(*record); !status.ok()) return Damaged(path, status);
  if (record->sha256() != sha256) {
    return absl::DataLossError(absl::StrCat(path, ": sha256: is another than its folder's"));
  }
  const bool bytes = record->element_type() == v1::ELEMENT_TYPE_UINT8;
  for (const v1::Split& split : record->splits()) {
    const int64_t elements =
        split.samples() * record->height() * record->width() * record->channels();
    const int64_t images =
        static_cast<int64_t>(ImagesHeader(split.samples(), record->height(), record->width(),
                                          record->channels(), bytes)
                                 .size()) +
        elements * (bytes ? 1 : 4);
    const int64_t labels =
        static_cast<int64_t>(LabelsHeader(split.samples()).size()) + 4 * split.samples();
    for (const auto& [file, want] : {std::pair{ImagesPath(folder, split.name()), images},
                                     std::pair{LabelsPath(folder, split.name()), labels}}) {
      const absl::StatusOr<int64_t> size = fs.Size(file);
      if (!size.ok()) return Damaged(folder, size.status());
      if (*size == want) continue;
      return absl::DataLossError(
          absl::StrCat(file, ": has ", *size, " bytes; its dataset's record says ", want));
    }
  }
  return record;
}

absl::StatusOr<std::shared_ptr<const Dataset>> MapDataset(FileSystem& fs, const std::string& folder,
                                                          const v1::Dataset& record) {
  if (absl::Status status = CheckRecord(record); !status.ok()) return Damaged(folder, status);
  auto dataset = std::make_shared<Dataset>();
  dataset->labels.assign(record.labels().begin(), record.labels().end());
  const bool bytes = record.element_type() == v1::ELEMENT_TYPE_UINT8;
  for (const v1::Split& split : record.splits()) {
    ImageSet images;
    images.count = split.samples();
    images.height = record.height();
    images.width = record.width();
    images.channels = record.channels();
    images.type = bytes ? ElementType::kUint8 : ElementType::kFloat32;
    const std::string images_header =
        ImagesHeader(images.count, images.height, images.width, images.channels, bytes);
    const std::string labels_header = LabelsHeader(images.count);
    auto mapped = std::make_shared<MappedSplit>();
    CONVD_ASSIGN_OR_RETURN(mapped->images,
                           MapArray(fs, ImagesPath(folder, split.name()), images_header,
                                    images.count * images.image_bytes()));
    CONVD_ASSIGN_OR_RETURN(mapped->labels, MapArray(fs, LabelsPath(folder, split.name()),
                                                    labels_header, 4 * images.count));
    images.pixels = mapped->images->data().data() + images_header.size();
    images.labels = absl::MakeConstSpan(
        reinterpret_cast<const int32_t*>(mapped->labels->data().data() + labels_header.size()),
        static_cast<size_t>(images.count));
    // Training uses them as indices.
    if (absl::Status status =
            CheckLabels(LabelsPath(folder, split.name()), images.labels, record.labels_size());
        !status.ok()) {
      return absl::DataLossError(status.message());
    }
    images.owner = std::move(mapped);
    AdviseRandomReads(images);
    dataset->splits.push_back({split.name(), std::move(images)});
  }
  return dataset;
}

}  // namespace convd
