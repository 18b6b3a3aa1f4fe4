#include "core/data/limits.h"

#include <gtest/gtest.h>

#include "core/data/image_storage.h"

namespace convd {
namespace {

TEST(LimitsTest, ADiskTakesWhatAHeapDoesNot) {
  // 64 GiB of 64x64x3.
  constexpr int64_t kImages = (int64_t{64} << 30) / (64 * 64 * 3);
  EXPECT_TRUE(CheckImageShape("f", kImages, 64, 64, 3, LimitsOnDisk()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckImageShape("f", kImages, 64, 64, 3, DataLimits())));
  EXPECT_GE(LimitsOnDisk().dataset_bytes, kImages * (64 * 64 * 3 + 4));
  EXPECT_GE(LimitsOnDisk().upload_bytes, LimitsOnDisk().dataset_bytes);
}

TEST(LimitsTest, WhatStaysOnTheHeapKeepsItsLimits) {
  const DataLimits heap, disk = LimitsOnDisk();
  EXPECT_EQ(disk.image_pixels, heap.image_pixels);
  EXPECT_EQ(disk.samples, heap.samples);
  EXPECT_EQ(disk.classes, heap.classes);
  EXPECT_EQ(disk.files, heap.files);
  EXPECT_EQ(disk.decoding_bytes, heap.decoding_bytes);
  EXPECT_EQ(LimitsOnDisk(int64_t{512} << 20).decoding_bytes, int64_t{64} << 20);
  EXPECT_EQ(LimitsOnDisk(int64_t{64} << 30).decoding_bytes, heap.decoding_bytes);
}

}  // namespace
}  // namespace convd
