#ifndef CONVD_CORE_DATA_DATASET_FILES_H_
#define CONVD_CORE_DATA_DATASET_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/file_tree.h"
#include "core/data/image_dataset.h"
#include "core/data/limits.h"
#include "core/storage/file_system.h"

namespace convd {

// Which files make one split, as convd.v1.SplitFiles has it. What they are is seen from their first
// bytes.
struct SplitFiles {
  std::string split;
  // IDX images, CIFAR-10 or CIFAR-100 files, or npz files; several are one after another in the
  // split.
  std::vector<std::string> images;
  std::vector<std::string> labels;  // IDX labels, one an images file; else none
};

// A file with its path and the name it has in messages.
struct DataFile {
  std::string path;
  std::string name;
  bool ours = false;  // nobody else changes it: it is mapped instead of copied
};

// All that a dataset is read from.
struct DatasetFiles {
  struct Split {
    std::string name;
    std::vector<DataFile> images;
    std::vector<DataFile> labels;  // none, or as many
  };
  std::vector<Split> splits;
  // The one split is one file, and stands for all that are in it: those that an npz names, or a zip
  // or tar of image files has.
  bool splits_within = false;
  // A folder of image files (image_dataset.h): all of them, and what the folder is called in
  // messages. There are no splits, then.
  std::vector<TreeFile> image_files;
  std::string image_folder;
  // batches.meta.txt and fine_label_names.txt, where they lie beside the first images; else the
  // path is empty.
  DataFile cifar10_names;
  DataFile cifar100_names;
};

// What to read for `path`, a folder or a file, called `name` in messages. Opens no file. Where
// image files are looked for, `resolve` is asked about each entry before the disk is; the paths of
// `image_files` are what it said.
//
// With `files`, their paths are relative to the folder `path`. Without, a folder is searched for
//   MNIST's {train,t10k}-{images-idx3,labels-idx1}-ubyte ("." for the second "-" too, with or
//   without .gz): splits train and test;
//   CIFAR-10's data_batch_1.bin to data_batch_5.bin and test_batch.bin (.gz too), also in a
//   subfolder cifar-10-batches-bin: splits train and test;
//   CIFAR-100's train.bin and test.bin (.gz too), also in a subfolder cifar-100-binary, with
//   fine_label_names.txt beside them or nothing else of these: splits train and test;
//   one .npz file: split train, or those that it names (npz.h: x_train, y_train, x_test, y_test);
//   where there is none of these, one .zip, .tar, .tar.gz or .tgz file of image files, or image
//   files themselves (image_dataset.h), but not both;
// and a file is read as an .npz or archive, likewise, or as a CIFAR-10 or CIFAR-100 file: split
// train. There need not be a test split. Where `files` names an npz with splits of its own, each
// takes the one of its name.
//
// NOT_FOUND names what was looked for; INVALID_ARGUMENT names the field that can't be right
// (files[0].split, ...), or the kinds where there is more than one. Any thread may call.
absl::StatusOr<DatasetFiles> FindDatasetFiles(FileSystem& fs, const std::string& path,
                                              const std::string& name,
                                              const std::vector<SplitFiles>& files,
                                              const DataLimits& limits = {},
                                              const ResolvePath& resolve = TakeAnyPath);

// Reads them all, into limits.arrays where that is set, else into memory. Classes are those that
// `label_names` names, else those of batches.meta.txt (for CIFAR-10) or fine_label_names.txt (for
// CIFAR-100), else "0" to the largest label; image files have them from folders or lists, and
// `label_names` then says which there are, and their order. All splits have the same shape and
// element type; `image_size` is for image files, and refused with all else. INVALID_ARGUMENT names
// file, sample and label where one is beyond the classes. Any thread may call.
absl::StatusOr<Dataset> ReadDatasetFiles(FileSystem& fs, const DatasetFiles& files,
                                         const std::vector<std::string>& label_names,
                                         const DataLimits& limits = {},
                                         const ImageSize& image_size = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_DATASET_FILES_H_
