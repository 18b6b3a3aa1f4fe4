#include "server/predict/blocking_calls.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"

namespace convd {
namespace {

TEST(BlockingCalls, RunsAsManyAtOnceAsItHasThreads) {
  absl::BlockingCounter together(3);
  absl::Notification go;
  BlockingCalls calls(3, 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(calls.Start([&] {
      together.DecrementCount();
      go.WaitForNotification();
    }));
  }
  together.Wait();  // would hang if they ran one after the other
  go.Notify();
}

TEST(BlockingCalls, RefusesWhatIsBeyondItsThreadsAndPlaces) {
  absl::Notification go;
  std::atomic<int> ran{0};
  {
    BlockingCalls calls(1, 2);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(calls.Start([&] {
        go.WaitForNotification();
        ++ran;
      })) << i;
    }
    EXPECT_FALSE(calls.Start([&] { ran += 100; }));
    go.Notify();
  }
  EXPECT_EQ(ran, 3);
}

TEST(BlockingCalls, LetsWhatGoesOnWaitThoughAllPlacesAreTaken) {
  absl::Notification go;
  std::atomic<int> ran{0};
  {
    BlockingCalls calls(1, 0);
    ASSERT_TRUE(calls.Start([&] { go.WaitForNotification(); }));
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(calls.StartNext([&] { ++ran; })) << i;
    EXPECT_FALSE(calls.Start([&] { ran += 100; })) << "what begins finds no place";
    go.Notify();
  }
  EXPECT_EQ(ran, 10);
}

TEST(BlockingCalls, RunsWhatItAcceptedBeforeItIsGone) {
  std::atomic<int> ran{0};
  {
    BlockingCalls calls(2, 100);
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(calls.Start([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 100);
}

TEST(BlockingCalls, LetsGoOfWhatACallHeldWhenItHasRun) {
  auto held = std::make_shared<int>(0);
  {
    BlockingCalls calls(1, 0);
    ASSERT_TRUE(calls.Start([held] { ++*held; }));
  }
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace convd
