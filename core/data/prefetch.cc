#include "core/data/prefetch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace convd {
namespace {

bool Large(const ImageSet& images) {
  return images.count * images.image_bytes() >= kLargeImagesBytes;
}

void Advise(const ImageSet& images, int64_t begin, int64_t count, int advice) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(images.image(begin)) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(images.image(begin + count));
  // What it can't be told it does without.
  (void)madvise(reinterpret_cast<void*>(first), end - first, advice);
}

}  // namespace

void AdviseRandomReads(const ImageSet& images) {
  if (Large(images)) Advise(images, 0, images.count, MADV_RANDOM);
}

void PrefetchImages(const ImageSet& images, absl::Span<const uint32_t> samples) {
  if (!Large(images)) return;
  for (const uint32_t sample : samples) Advise(images, sample, 1, MADV_WILLNEED);
}

void PrefetchImages(const ImageSet& images, int64_t begin, int64_t count) {
  const int64_t n = std::min(count, images.count - begin);
  if (n > 0 && Large(images)) Advise(images, begin, n, MADV_WILLNEED);
}

}  // namespace convd
