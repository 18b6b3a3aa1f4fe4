#ifndef CONVD_CORE_DATA_LIMITS_H_
#define CONVD_CORE_DATA_LIMITS_H_

#include <cstdint>

namespace convd {

class ArrayMemory;

// What readers of images and datasets accept, checked before memory is asked for; more is
// INVALID_ARGUMENT, while RESOURCE_EXHAUSTED is a lack of memory or disk. A plain value.
//
// As they are here they are for arrays on the heap: a few of that size are what a machine that
// trains has, and what asks for more is taken for damaged or hostile.
struct DataLimits {
  // Of one file as it lies on disk or in a message.
  int64_t file_bytes = int64_t{2} << 30;
  // Of all the files of an upload, which wait on disk.
  int64_t upload_bytes = int64_t{2} << 30;
  // What one gzip file, or one member of an npz, may unpack to.
  int64_t decompressed_bytes = int64_t{2} << 30;
  // All pixels and labels of a dataset, decoded.
  int64_t dataset_bytes = int64_t{4} << 30;
  // In one split.
  int64_t samples = 100'000'000;
  // height x width of one image: 4096 x 4096.
  int64_t image_pixels = int64_t{1} << 24;
  // What decoding one PNG or JPEG file may take, beside the pixels that come out. All that are
  // within image_pixels take less than this.
  int64_t decoding_bytes = int64_t{256} << 20;
  // Of one array in an npy or IDX file.
  int64_t array_elements = int64_t{1} << 31;
  // Labels are 0 to classes - 1. At most 2^31 - 1.
  int64_t classes = 16'384;
  // Bytes (UTF-8) in the name of one class.
  int64_t label_bytes = 128;
  // PNG and JPEG files of a folder or an archive, with what lies beside them.
  int64_t image_files = 1'000'000;
  // Files, and splits, that one dataset may be made of.
  int64_t files = 1000;
  int64_t splits = 64;
  // Where arrays lie that these limits are for; null: on the heap.
  ArrayMemory* arrays = nullptr;
};

// For a dataset whose arrays lie on a disk: what that has room for, as whoever gives out its room
// says. 128 GiB bound what one dataset can ask for, and keep every sum and product of sizes far
// below 2^63. Image files are decoded on the heap all the same, within a share of `memory_bytes`;
// 0: unknown.
DataLimits LimitsOnDisk(int64_t memory_bytes = 0);

}  // namespace convd

#endif  // CONVD_CORE_DATA_LIMITS_H_
