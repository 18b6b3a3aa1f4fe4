#include "core/data/dataset_files.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/data/cifar.h"
#include "core/data/file_bytes.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/image_file.h"
#include "core/data/image_storage.h"
#include "core/data/label_list.h"
#include "core/data/label_names.h"
#include "core/data/npz.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr char kCifar10Folder[] = "cifar-10-batches-bin";
constexpr char kCifar100Folder[] = "cifar-100-binary";
constexpr char kCifar10NamesFile[] = "batches.meta.txt";
constexpr char kCifar100NamesFile[] = "fine_label_names.txt";
constexpr int64_t kMaxLabelNamesBytes = int64_t{4} << 20;

// A folder's files by name.
class Folder {
 public:
  // `prefix` stands before names in messages.
  static absl::StatusOr<Folder> Open(FileSystem& fs, const std::string& path,
                                     const std::string& prefix) {
    CONVD_ASSIGN_OR_RETURN(std::vector<std::string> names, fs.List(path));
    Folder folder;
    folder.path_ = path;
    folder.prefix_ = prefix;
    folder.names_.insert(names.begin(), names.end());
    return folder;
  }

  bool Has(const std::string& name) const { return names_.count(name) > 0; }
  DataFile File(const std::string& name) const {
    return {absl::StrCat(path_, "/", name), prefix_ + name};
  }
  // The first of the names, each plain or with .gz, that is there; an empty path where none is.
  DataFile Find(const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      for (const char* suffix : {"", ".gz"}) {
        if (Has(name + suffix)) return File(name + suffix);
      }
    }
    return {};
  }
  const std::set<std::string>& names() const { return names_; }

 private:
  std::string path_;
  std::string prefix_;
  std::set<std::string> names_;
};

bool Found(const DataFile& file) { return !file.path.empty(); }

// MNIST's four files, those of them that are there. NOT_FOUND where one of a pair is missing.
absl::Status FindMnist(const Folder& folder, const std::string& name, DatasetFiles& files) {
  for (const auto& [split, stem] : {std::pair{"train", "train"}, std::pair{"test", "t10k"}}) {
    const std::string images = absl::StrCat(stem, "-images");
    const std::string labels = absl::StrCat(stem, "-labels");
    const DataFile image_file = folder.Find({images + "-idx3-ubyte", images + ".idx3-ubyte"});
    const DataFile label_file = folder.Find({labels + "-idx1-ubyte", labels + ".idx1-ubyte"});
    if (Found(image_file) != Found(label_file)) {
      return absl::NotFoundError(absl::StrCat(
          name, ": has ", Found(image_file) ? image_file.name : label_file.name, ", but not ",
          Found(image_file) ? labels + "-idx1-ubyte" : images + "-idx3-ubyte",
          " (or the same with .gz)"));
    }
    if (Found(image_file)) files.splits.push_back({split, {image_file}, {label_file}});
  }
  return absl::OkStatus();
}

// CIFAR-10's batches. NOT_FOUND where only some of the training batches are there.
absl::Status FindCifar10(const Folder& folder, const std::string& name, DatasetFiles& files) {
  DatasetFiles::Split train;
  train.name = "train";
  std::vector<std::string> missing;
  for (int i = 1; i <= 5; ++i) {
    const std::string batch = absl::StrCat("data_batch_", i, ".bin");
    const DataFile file = folder.Find({batch});
    if (Found(file)) {
      train.images.push_back(file);
    } else {
      missing.push_back(batch);
    }
  }
  if (!train.images.empty() && !missing.empty()) {
    return absl::NotFoundError(absl::StrCat(name, ": has ", train.images[0].name, ", but not ",
                                            absl::StrJoin(missing, ", "),
                                            "; name the files to use some of them"));
  }
  if (!train.images.empty()) files.splits.push_back(std::move(train));
  const DataFile test = folder.Find({"test_batch.bin"});
  if (Found(test)) files.splits.push_back({"test", {test}, {}});
  if (!files.splits.empty() && folder.Has(kCifar10NamesFile)) {
    files.cifar10_names = folder.File(kCifar10NamesFile);
  }
  return absl::OkStatus();
}

// CIFAR-100's two files, those of them that are there.
void FindCifar100(const Folder& folder, DatasetFiles& files) {
  for (const char* split : {"train", "test"}) {
    const DataFile file = folder.Find({absl::StrCat(split, ".bin")});
    if (Found(file)) files.splits.push_back({split, {file}, {}});
  }
  if (!files.splits.empty() && folder.Has(kCifar100NamesFile)) {
    files.cifar100_names = folder.File(kCifar100NamesFile);
  }
}

// The class names that lie beside a file, whatever it turns out to be.
void FindNamesBeside(FileSystem& fs, const std::string& path, DatasetFiles& files) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const auto& [name, found] : {std::pair{kCifar10NamesFile, &files.cifar10_names},
                                    std::pair{kCifar100NamesFile, &files.cifar100_names}}) {
    if (fs.Exists(folder + name)) *found = {folder + name, name};
  }
}

bool IsArchiveName(const std::string& file) {
  return absl::EndsWithIgnoreCase(file, ".zip") || absl::EndsWithIgnoreCase(file, ".tar") ||
         absl::EndsWithIgnoreCase(file, ".tar.gz") || absl::EndsWithIgnoreCase(file, ".tgz");
}

// Folders of images, or images with a list, if that is what is there; else none.
absl::StatusOr<DatasetFiles> FindImageFiles(FileSystem& fs, const std::string& path,
                                            const std::string& name, const DataLimits& limits,
                                            const ResolvePath& resolve) {
  constexpr int kDepth = 3;  // one around all of it, a split's, a class's
  DatasetFiles files;
  files.image_folder = name;
  CONVD_ASSIGN_OR_RETURN(files.image_files, ListTree(fs, path, name, kDepth, resolve, limits));
  const bool images =
      std::any_of(files.image_files.begin(), files.image_files.end(), [](const TreeFile& file) {
        return file.within.find('/') != std::string::npos || IsLabelListName(file.within);
      });
  if (!images) files.image_files.clear();
  return files;
}

absl::StatusOr<DatasetFiles> FindUsualNames(FileSystem& fs, const std::string& path,
                                            const std::string& name, const DataLimits& limits,
                                            const ResolvePath& resolve) {
  CONVD_ASSIGN_OR_RETURN(const Folder folder, Folder::Open(fs, path, ""));
  const auto has_folder = [&](const char* subfolder) {
    return folder.Has(subfolder) && fs.IsDirectory(absl::StrCat(path, "/", subfolder));
  };
  const auto open = [&](const char* subfolder) {
    return Folder::Open(fs, absl::StrCat(path, "/", subfolder), absl::StrCat(subfolder, "/"));
  };
  std::vector<std::pair<std::string, DatasetFiles>> found;
  DatasetFiles files;
  CONVD_RETURN_IF_ERROR(FindMnist(folder, name, files));
  if (!files.splits.empty()) found.emplace_back("MNIST's IDX files", std::move(files));
  files = {};
  CONVD_RETURN_IF_ERROR(FindCifar10(folder, name, files));
  if (files.splits.empty() && has_folder(kCifar10Folder)) {
    CONVD_ASSIGN_OR_RETURN(const Folder batches, open(kCifar10Folder));
    CONVD_RETURN_IF_ERROR(FindCifar10(batches, name, files));
  }
  if (!files.splits.empty()) found.emplace_back("CIFAR-10's batches", std::move(files));
  const auto add_file = [&](const std::string& entry) {
    DatasetFiles one;
    one.splits.push_back({"train", {folder.File(entry)}, {}});
    one.splits_within = true;
    found.emplace_back(absl::Utf8SafeCEscape(entry.substr(0, 100)), std::move(one));
  };
  for (const std::string& entry : folder.names()) {
    if (absl::EndsWithIgnoreCase(entry, ".npz")) add_file(entry);
  }
  files = {};
  FindCifar100(folder, files);
  if (files.splits.empty() && has_folder(kCifar100Folder)) {
    CONVD_ASSIGN_OR_RETURN(const Folder batches, open(kCifar100Folder));
    FindCifar100(batches, files);
  }
  // Other things are called train.bin, too.
  if (!files.splits.empty() && (found.empty() || Found(files.cifar100_names))) {
    found.emplace_back("CIFAR-100's files", std::move(files));
  }
  // An archive may well lie beside what was unpacked from it, so it counts where that is none of
  // the above. Beside image files it is a question: those may have changed since.
  if (found.empty()) {
    for (const std::string& entry : folder.names()) {
      if (IsArchiveName(entry) && IsVisibleName(entry)) add_file(entry);
    }
    CONVD_ASSIGN_OR_RETURN(files, FindImageFiles(fs, path, name, limits, resolve));
    if (!files.image_files.empty()) found.emplace_back("image files", std::move(files));
  }
  if (found.size() == 1) return std::move(found[0].second);
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat(
        name,
        ": has no images under the usual names: looked for MNIST's train-images-idx3-ubyte, "
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or with .gz), "
        "CIFAR-10's data_batch_1.bin to data_batch_5.bin and test_batch.bin (or in ",
        kCifar10Folder, "), CIFAR-100's train.bin and test.bin (or in ", kCifar100Folder,
        "), an .npz file, a .zip, .tar or .tar.gz of image files, and folders of PNG and JPEG "
        "files, CLASS/FILE or SPLIT/CLASS/FILE; name the files where they are called otherwise"));
  }
  if (found.size() > 5) found.resize(5);
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": has more than one dataset: ",
      absl::StrJoin(found, ", ", [](std::string* out, const auto& f) { *out += f.first; }),
      "; name the files of one, or its path"));
}

absl::StatusOr<DatasetFiles> CheckNamedFiles(FileSystem& fs, const std::string& path,
                                             const std::string& name,
                                             const std::vector<SplitFiles>& files,
                                             const DataLimits& limits) {
  if (static_cast<int64_t>(files.size()) > limits.splits) {
    return absl::InvalidArgumentError(
        absl::StrCat("files: got ", files.size(), " splits; want at most ", limits.splits));
  }
  DatasetFiles result;
  int64_t count = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const SplitFiles& split = files[i];
    const std::string field = absl::StrCat("files[", i, "]");
    CONVD_RETURN_IF_ERROR(CheckName(absl::StrCat(field, ".split"), split.split));
    for (size_t k = 0; k < i; ++k) {
      if (files[k].split != split.split) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".split: \"", split.split, "\" is that of files[", k, "] too"));
    }
    if (split.images.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(field, ".images: want at least one file"));
    }
    if (!split.labels.empty() && split.labels.size() != split.images.size()) {
      return absl::InvalidArgumentError(absl::StrCat(field, ".labels: got ", split.labels.size(),
                                                     " files for ", split.images.size(),
                                                     " of images; want as many, or none"));
    }
    count += static_cast<int64_t>(split.images.size() + split.labels.size());
    if (count > limits.files) {
      return absl::InvalidArgumentError(
          absl::StrCat("files: got more than ", limits.files, " files; want fewer"));
    }
    DatasetFiles::Split& checked = result.splits.emplace_back();
    checked.name = split.split;
    const auto check = [&](const char* kind, const std::vector<std::string>& paths,
                           std::vector<DataFile>& out) {
      for (size_t k = 0; k < paths.size(); ++k) {
        const std::string& file = paths[k];
        const std::string shown = absl::Utf8SafeCEscape(file.substr(0, 200));
        const std::string where = absl::StrCat(field, ".", kind, "[", k, "]: \"", shown, "\"");
        if (file.empty() || file[0] == '/' || file.find('\0') != std::string::npos) {
          return absl::InvalidArgumentError(
              absl::StrCat(where, ": want a path relative to the dataset's"));
        }
        const std::string full = absl::StrCat(path, "/", file);
        if (!fs.Exists(full)) {
          return absl::NotFoundError(absl::StrCat(where, ": there is no such file in ", name));
        }
        if (fs.IsDirectory(full)) {
          return absl::InvalidArgumentError(absl::StrCat(where, ": is a folder; a file is wanted"));
        }
        out.push_back({full, shown});
      }
      return absl::OkStatus();
    };
    CONVD_RETURN_IF_ERROR(check("images", split.images, checked.images));
    CONVD_RETURN_IF_ERROR(check("labels", split.labels, checked.labels));
  }
  FindNamesBeside(fs, result.splits[0].images[0].path, result);
  return result;
}

int64_t DecodedBytes(const ImageSet& images) {
  return images.count * (images.image_bytes() + static_cast<int64_t>(sizeof(int32_t)));
}

// `bytes` are those of the dataset up to and with file `name`.
absl::Status CheckDatasetBytes(const std::string& name, int64_t bytes, const DataLimits& limits) {
  if (bytes <= limits.dataset_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": with it the dataset has ", bytes,
                                                 " bytes of pixels and labels; the limit is ",
                                                 limits.dataset_bytes));
}

absl::StatusOr<FileBytes> ReadWhole(FileSystem& fs, const DataFile& file,
                                    const DataLimits& limits) {
  return file.ours ? FileBytes::Map(fs, file.path, file.name, limits)
                   : FileBytes::Copy(fs, file.path, file.name, limits);
}

// One file of images with its labels, each of which is checked against `classes`.
absl::StatusOr<ImageSet> ReadPart(FileSystem& fs, const std::string& split, const DataFile& images,
                                  const DataFile* labels, int64_t classes, const DataLimits& limits,
                                  std::set<ImageFileKind>& kinds) {
  CONVD_ASSIGN_OR_RETURN(const FileBytes image_file, ReadWhole(fs, images, limits));
  const std::string_view image_bytes = image_file.view();
  const NamedBytes named_images{image_bytes, images.name};
  if (labels != nullptr) {
    kinds.insert(ImageFileKind::kIdx);
    CONVD_ASSIGN_OR_RETURN(const FileBytes label_file, ReadWhole(fs, *labels, limits));
    const NamedBytes named_labels{label_file.view(), labels->name};
    CONVD_ASSIGN_OR_RETURN(ImageSet part, ReadImageFile(named_images, &named_labels, limits));
    CONVD_RETURN_IF_ERROR(CheckLabels(labels->name, part.labels, classes));
    return part;
  }
  CONVD_ASSIGN_OR_RETURN(const ImageFileKind kind,
                         DetectImageFile(image_bytes, images.name, limits));
  if (kind == ImageFileKind::kIdx) {
    return absl::InvalidArgumentError(
        absl::StrCat(images.name, ": is an IDX file, which has no labels; name its labels file"));
  }
  kinds.insert(kind);
  CONVD_ASSIGN_OR_RETURN(ImageSet part, ReadImageFile(named_images, nullptr, limits, split));
  CONVD_RETURN_IF_ERROR(CheckLabels(images.name, part.labels, classes));
  return part;
}

// What may be an archive of image files: a tar in a gzip file is unpacked, all else stays as it is.
absl::StatusOr<PlainBytes> ArchiveWithin(std::string_view bytes, const std::string& name,
                                         const DataLimits& limits) {
  constexpr size_t kTarHeader = 512;
  if (DetectFileFormat(bytes) == FileFormat::kGzip &&
      DetectFileFormat(GzipPrefix(bytes, kTarHeader)) == FileFormat::kTar) {
    return InflateIfGzip(bytes, name, limits.decompressed_bytes, limits.arrays);
  }
  PlainBytes plain;
  plain.view = bytes;
  return plain;
}

// The splits of one file, with those bytes, that stands for all that are in it.
absl::StatusOr<std::vector<DatasetFiles::Split>> SplitsWithin(const DatasetFiles& files,
                                                              std::string_view bytes,
                                                              const DataLimits& limits) {
  const DataFile& file = files.splits[0].images[0];
  CONVD_ASSIGN_OR_RETURN(const ImageFileKind kind, DetectImageFile(bytes, file.name, limits));
  if (kind != ImageFileKind::kNpz) return files.splits;
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, file.name, limits.decompressed_bytes, limits.arrays));
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         NpzSplits(plain.view, file.name, limits));
  if (names.empty()) return files.splits;
  std::vector<DatasetFiles::Split> splits;
  for (const std::string& name : names) splits.push_back({name, {file}, {}});
  return splits;
}

absl::StatusOr<DatasetSplit> ReadSplit(FileSystem& fs, const DatasetFiles::Split& files,
                                       int64_t classes, const DataLimits& limits,
                                       std::set<ImageFileKind>& kinds) {
  std::vector<ImageSet> parts;
  std::vector<std::string> names;
  int64_t bytes = 0;
  for (size_t i = 0; i < files.images.size(); ++i) {
    const DataFile* const labels = files.labels.empty() ? nullptr : &files.labels[i];
    CONVD_ASSIGN_OR_RETURN(
        ImageSet part, ReadPart(fs, files.name, files.images[i], labels, classes, limits, kinds));
    bytes += DecodedBytes(part);
    CONVD_RETURN_IF_ERROR(CheckDatasetBytes(files.images[i].name, bytes, limits));
    parts.push_back(std::move(part));
    names.push_back(files.images[i].name);
  }
  DatasetSplit split;
  split.name = files.name;
  CONVD_ASSIGN_OR_RETURN(split.images, ConcatenateImages(parts, names, limits));
  return split;
}

}  // namespace

absl::StatusOr<DatasetFiles> FindDatasetFiles(FileSystem& fs, const std::string& path,
                                              const std::string& name,
                                              const std::vector<SplitFiles>& files,
                                              const DataLimits& limits,
                                              const ResolvePath& resolve) {
  if (!fs.Exists(path)) {
    return absl::NotFoundError(absl::StrCat(name, ": there is no such file or folder"));
  }
  const bool is_folder = fs.IsDirectory(path);
  if (!files.empty()) {
    if (!is_folder) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": is a file; where files are named, want the folder they are in"));
    }
    return CheckNamedFiles(fs, path, name, files, limits);
  }
  if (is_folder) return FindUsualNames(fs, path, name, limits, resolve);
  DatasetFiles result;
  result.splits.push_back({"train", {{path, name}}, {}});
  result.splits_within = true;
  FindNamesBeside(fs, path, result);
  return result;
}

absl::StatusOr<Dataset> ReadDatasetFiles(FileSystem& fs, const DatasetFiles& files,
                                         const std::vector<std::string>& label_names,
                                         const DataLimits& limits, const ImageSize& image_size) {
  if (!label_names.empty()) {
    CONVD_RETURN_IF_ERROR(CheckLabelNames("labels", label_names, limits));
  }
  CONVD_RETURN_IF_ERROR(CheckImageSize("image_size", image_size, limits));
  if (!files.image_files.empty()) {
    const std::unique_ptr<FileTree> tree = NewFolderTree(fs, files.image_files, limits);
    return ReadImageDataset(*tree, files.image_folder, label_names, image_size, limits);
  }
  std::vector<DatasetFiles::Split> splits = files.splits;
  if (files.splits_within) {
    const DataFile& file = splits[0].images[0];
    CONVD_ASSIGN_OR_RETURN(const FileBytes whole, ReadWhole(fs, file, limits));
    const std::string_view bytes = whole.view();
    CONVD_ASSIGN_OR_RETURN(const PlainBytes archive, ArchiveWithin(bytes, file.name, limits));
    if (IsFileArchive(archive.view)) {
      CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree,
                             OpenArchiveTree(archive.view, file.name, limits));
      return ReadImageDataset(*tree, file.name, label_names, image_size, limits);
    }
    CONVD_ASSIGN_OR_RETURN(splits, SplitsWithin(files, bytes, limits));
  }
  if (image_size.given()) {
    return absl::InvalidArgumentError(
        "image_size: is for PNG and JPEG files; want none for arrays, whose shape is theirs");
  }
  Dataset dataset;
  dataset.labels = label_names;
  const int64_t classes =
      label_names.empty() ? limits.classes : static_cast<int64_t>(label_names.size());
  std::set<ImageFileKind> kinds;
  int64_t bytes = 0;
  for (const DatasetFiles::Split& split : splits) {
    CONVD_ASSIGN_OR_RETURN(DatasetSplit read, ReadSplit(fs, split, classes, limits, kinds));
    const ImageSet& images = read.images;
    if (!dataset.splits.empty() && ShapeText(images) != ShapeText(dataset.splits[0].images)) {
      return absl::InvalidArgumentError(
          absl::StrCat(split.images[0].name, ": split \"", split.name, "\" has images of ",
                       ShapeText(images), ", but \"", dataset.splits[0].name, "\" of ",
                       ShapeText(dataset.splits[0].images), "; want the same in all"));
    }
    bytes += DecodedBytes(images);
    CONVD_RETURN_IF_ERROR(CheckDatasetBytes(split.images[0].name, bytes, limits));
    dataset.splits.push_back(std::move(read));
  }
  if (dataset.splits.empty()) return absl::InvalidArgumentError("files: got no splits");
  for (const auto& [kind, names] : {std::pair{ImageFileKind::kCifar10, &files.cifar10_names},
                                    std::pair{ImageFileKind::kCifar100, &files.cifar100_names}}) {
    if (!dataset.labels.empty() || kinds != std::set{kind} || !Found(*names)) continue;
    CONVD_ASSIGN_OR_RETURN(const std::string text,
                           ReadFileText(fs, names->path, names->name, kMaxLabelNamesBytes));
    CONVD_ASSIGN_OR_RETURN(dataset.labels, ReadLabelNames(text, names->name, limits));
  }
  if (dataset.labels.empty()) {
    int32_t largest = 0;
    for (const DatasetSplit& split : dataset.splits) {
      for (const int32_t label : split.images.labels) largest = std::max(largest, label);
    }
    for (int32_t i = 0; i <= largest; ++i) dataset.labels.push_back(absl::StrCat(i));
  }
  for (const DatasetSplit& split : dataset.splits) {
    CONVD_RETURN_IF_ERROR(CheckLabels(absl::StrCat("split \"", split.name, "\""),
                                      split.images.labels,
                                      static_cast<int64_t>(dataset.labels.size())));
  }
  return dataset;
}

}  // namespace convd
