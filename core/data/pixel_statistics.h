#ifndef CONVD_CORE_DATA_PIXEL_STATISTICS_H_
#define CONVD_CORE_DATA_PIXEL_STATISTICS_H_

#include <vector>

#include "core/data/dataset.h"

namespace convd {

// What the pixels of images are like, a value a channel, in the units that they are kept in.
struct PixelStatistics {
  std::vector<double> mean;
  std::vector<double> deviation;    // of the population
  std::vector<double> border_mean;  // of the outermost rows and columns
};

// Of all pixels, each read once and in order, so that the same images give the same bits. REQUIRES:
// at least one image, and finite pixels. Any thread may call.
PixelStatistics MeasurePixels(const ImageSet& images);

}  // namespace convd

#endif  // CONVD_CORE_DATA_PIXEL_STATISTICS_H_
