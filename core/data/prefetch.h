#ifndef CONVD_CORE_DATA_PREFETCH_H_
#define CONVD_CORE_DATA_PREFETCH_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/data/dataset.h"

namespace convd {

// For mapped images that may be more than what memory keeps of the disk. Hints: no result depends
// on them. Of sets of fewer than kLargeImagesBytes, which stay where they were read once, there is
// nothing to say. Any thread may call.
inline constexpr int64_t kLargeImagesBytes = int64_t{128} << 20;

// That the images will be read in any order. By itself the kernel reads what lies around a page,
// too: ten times as much as an image has.
void AdviseRandomReads(const ImageSet& images);

// Begins to read these, or `count` from `begin` on as far as there are so many, and doesn't wait:
// a disk reads many at once several times as fast as one after another. REQUIRES: samples of the
// set, 0 <= begin.
void PrefetchImages(const ImageSet& images, absl::Span<const uint32_t> samples);
void PrefetchImages(const ImageSet& images, int64_t begin, int64_t count);

}  // namespace convd

#endif  // CONVD_CORE_DATA_PREFETCH_H_
