#include "server/start_reserve.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/simulation/simulated_disk.h"

namespace convd {
namespace {

class StartReserveTest : public ::testing::Test {
 protected:
  StartReserveTest() { EXPECT_TRUE(disk_.CreateDirectories("/state").ok()); }

  SimulatedDisk disk_{1};
};

TEST_F(StartReserveTest, TakesRoomUntilTheDiskIsFull) {
  ASSERT_TRUE(FillStartReserve(disk_, "/state").ok());
  EXPECT_EQ(*disk_.TreeBytes("/state"), kStartReserveBytes);
  disk_.SetCapacity(2 * kStartReserveBytes);
  ASSERT_TRUE(FreeStartReserve(disk_, "/state").ok());
  EXPECT_EQ(*disk_.TreeBytes("/state"), kStartReserveBytes);
  disk_.SetCapacity(2 * kStartReserveBytes - 1);
  ASSERT_TRUE(FreeStartReserve(disk_, "/state").ok());
  EXPECT_EQ(*disk_.TreeBytes("/state"), 0);
  EXPECT_TRUE(FreeStartReserve(disk_, "/state").ok());
}

TEST_F(StartReserveTest, IsMadeOnce) {
  ASSERT_TRUE(FillStartReserve(disk_, "/state").ok());
  const int64_t operations = disk_.operations();
  ASSERT_TRUE(FillStartReserve(disk_, "/state").ok());
  EXPECT_EQ(disk_.operations(), operations);
}

TEST_F(StartReserveTest, WhatThePowerCutOffIsMadeAnew) {
  ASSERT_TRUE((*disk_.Create("/state/reserve"))->Append("half").ok());
  ASSERT_TRUE(FillStartReserve(disk_, "/state").ok());
  EXPECT_EQ(*disk_.Size("/state/reserve"), kStartReserveBytes);
}

TEST_F(StartReserveTest, WithoutRoomItLeavesNothing) {
  disk_.SetCapacity(kStartReserveBytes - 1);
  EXPECT_TRUE(absl::IsResourceExhausted(FillStartReserve(disk_, "/state")));
  EXPECT_EQ(*disk_.TreeBytes("/state"), 0);
}

}  // namespace
}  // namespace convd
