#include "core/data/limits.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

TEST(LimitsWithin, LowersWhatIsHeldInMemoryAndNothingElse) {
  const DataLimits usual;
  const DataLimits small = LimitsWithin(int64_t{512} << 20);
  EXPECT_EQ(small.file_bytes, int64_t{128} << 20);
  EXPECT_EQ(small.decompressed_bytes, int64_t{128} << 20);
  EXPECT_EQ(small.dataset_bytes, int64_t{192} << 20);
  EXPECT_EQ(small.decoding_bytes, int64_t{64} << 20);
  EXPECT_GE(small.decoding_bytes, 4000 * 3000 * 3) << "a photo";
  EXPECT_GE(small.dataset_bytes, 60'000 * (32 * 32 * 3 + 4)) << "CIFAR-10";
  EXPECT_EQ(small.image_files, 262'144) << "at most a quarter, at about 500 bytes each";
  EXPECT_EQ(small.upload_bytes, usual.upload_bytes) << "lies on disk";
  EXPECT_EQ(small.samples, usual.samples);
  EXPECT_EQ(small.classes, usual.classes);
}

TEST(LimitsWithin, AreTheUsualOnesWhereThereIsMuchMemoryOrNobodyKnows) {
  const DataLimits usual;
  for (const int64_t bytes : {int64_t{0}, int64_t{16} << 30, int64_t{1} << 60}) {
    EXPECT_EQ(LimitsWithin(bytes).file_bytes, usual.file_bytes) << bytes;
    EXPECT_EQ(LimitsWithin(bytes).decompressed_bytes, usual.decompressed_bytes) << bytes;
    EXPECT_EQ(LimitsWithin(bytes).dataset_bytes, usual.dataset_bytes) << bytes;
    EXPECT_EQ(LimitsWithin(bytes).image_files, usual.image_files) << bytes;
    EXPECT_EQ(LimitsWithin(bytes).decoding_bytes, usual.decoding_bytes) << bytes;
  }
}

}  // namespace
}  // namespace convd
