#ifndef CONVD_TESTS_SERVER_JOBS_WATCH_READER_H_
#define CONVD_TESTS_SERVER_JOBS_WATCH_READER_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/jobs/transitions.h"
#include "server/jobs/watch.h"

namespace convd {

// Reads a watch as fast as a test wants it to.
class WatchReader {
 public:
  WatchReader(JobRunner& runner, const std::string& id, int64_t after_epoch = 0)
      : signal_(std::make_shared<Signal>()) {
    auto watch = JobWatch::Open(runner, id, after_epoch, [signal = signal_] {
      absl::MutexLock lock(&signal->mu);
      ++signal->wakes;
    });
    EXPECT_TRUE(watch.ok()) << watch.status();
    if (watch.ok()) watch_ = *std::move(watch);
  }

  // The next event, waited for; false at the end.
  bool Read(v1::JobEvent& event) {
    for (;;) {
      int64_t seen;
      {
        absl::MutexLock lock(&signal_->mu);
        seen = signal_->wakes;
      }
      switch (watch_->Next(event)) {
        case JobWatch::Step::kEvent:
          return true;
        case JobWatch::Step::kEnd:
          return false;
        case JobWatch::Step::kNothingYet:
          break;
      }
      absl::MutexLock lock(&signal_->mu);
      const auto woken = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return signal_->wakes > seen; };
      signal_->mu.Await(absl::Condition(&woken));
    }
  }

  // All there is to the end.
  std::vector<v1::JobEvent> ReadAll() {
    std::vector<v1::JobEvent> events;
    for (v1::JobEvent event; Read(event);) events.push_back(event);
    return events;
  }

  JobWatch& watch() { return *watch_; }
  int64_t wakes() {
    absl::MutexLock lock(&signal_->mu);
    return signal_->wakes;
  }

 private:
  struct Signal {
    absl::Mutex mu;
    int64_t wakes ABSL_GUARDED_BY(mu) = 0;
  };
  std::shared_ptr<Signal> signal_;
  std::unique_ptr<JobWatch> watch_;
};

// The job once it has ended.
inline v1::Job AwaitEnd(JobRunner& runner, const std::string& id) {
  const std::vector<v1::JobEvent> events = WatchReader(runner, id).ReadAll();
  return events.empty() ? v1::Job() : events.back().job();
}

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_JOBS_WATCH_READER_H_
