#include "server/predict/alarms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "tests/core/time/hand_clock.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

TEST(ThreadedAlarms, CallsInTheOrderOfTheirTimesAndNeverEarly) {
  HandClock clock;
  absl::Mutex mu;
  std::vector<int> called;
  std::vector<bool> in_time;
  absl::Notification over[3];
  const std::unique_ptr<Alarms> alarms = NewThreadedAlarms(clock);
  const auto set = [&](int number, absl::Duration when) {
    alarms->Set(when, [&, number, when] {
      {
        absl::MutexLock lock(&mu);
        called.push_back(number);
        in_time.push_back(clock.Monotonic() >= when);
      }
      over[number].Notify();
    });
  };
  // The one that is due first comes last, when the thread waits for another already.
  set(2, absl::Milliseconds(40));
  set(1, absl::Milliseconds(20));
  set(0, -absl::Seconds(1));
  for (absl::Notification& each : over) {
    each.WaitForNotification();
    clock.Advance(absl::Milliseconds(20));
  }
  absl::MutexLock lock(&mu);
  EXPECT_THAT(called, ElementsAre(0, 1, 2));
  EXPECT_THAT(in_time, ElementsAre(true, true, true));
}

TEST(ThreadedAlarms, DropsWhatIsNotDueAtItsEnd) {
  auto held = std::make_shared<int>();
  {
    const std::unique_ptr<Alarms> alarms = NewThreadedAlarms(Clock::Real());
    alarms->Set(Clock::Real().Monotonic() + absl::Hours(1), [held] { ++*held; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 0);
}

}  // namespace
}  // namespace convd
