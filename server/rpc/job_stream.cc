#include "server/rpc/job_stream.h"

#include <atomic>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/jobs/watch.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// Whose turn it is to use a stream. The runner's wake, gRPC's reactions and the creation come on
// different threads; one of them at a time has the turn, and keeps it while a write is outstanding
// or a look at the job is due.
// A wake that finds it taken leaves a note. It outlives the stream, so that a wake which comes late
// finds out here that there is no stream any more.
class Turn {
 public:
  // True where the caller has the turn now. Otherwise the one who has it will look again.
  bool Take() {
    absl::MutexLock lock(&mu_);
    if (over_) return false;
    if (taken_) {
      look_again_ = true;
      return false;
    }
    return taken_ = true;
  }
  // Gives the turn back; false, and it is kept, where there was a note to look again.
  bool GiveBack() {
    absl::MutexLock lock(&mu_);
    if (std::exchange(look_again_, false)) return false;
    taken_ = false;
    return true;
  }
  // Nobody has the turn any more.
  void End() {
    absl::MutexLock lock(&mu_);
    over_ = true;
  }

 private:
  absl::Mutex mu_;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
  bool look_again_ ABSL_GUARDED_BY(mu_) = false;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
};

class JobStream final : public grpc::ServerWriteReactor<v1::JobEvent> {
 public:
  JobStream(JobRunner& runner, const std::string& id, int64_t after_epoch)
      : runner_(runner), id_(id), after_epoch_(after_epoch) {
    turn_->Take();  // nobody else is there yet; wakes leave notes
    runner_.Post([this] { Open(); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(absl::CancelledError("the caller is gone"));
    // The look at the job may wait for the disk, which gRPC's thread must not.
    runner_.Post([this] { GoOn(); });
  }
  void OnCancel() override {
    cancelled_ = true;
    if (turn_->Take()) GoOn();
  }
  void OnDone() override { delete this; }

 private:
  void Open() {
    absl::StatusOr<std::unique_ptr<JobWatch>> watch =
        JobWatch::Open(runner_, id_, after_epoch_, [turn = turn_, this] {
          if (turn->Take()) GoOn();
        });
    if (!watch.ok()) return End(watch.status());
    watch_ = *std::move(watch);
    GoOn();
  }
  // The caller has the turn. Nothing may touch this object after a write, the end, or the turn's
  // return: by then another thread may be at it, or it may be gone. No lock is held, as gRPC may
  // call back at once.
  void GoOn() {
    for (;;) {
      if (cancelled_) return End(absl::CancelledError("the caller is gone"));
      switch (watch_->Next(event_)) {
        case JobWatch::Step::kEvent:
          return StartWrite(&event_);
        case JobWatch::Step::kEnd:
          return End(watch_->end());
        case JobWatch::Step::kNothingYet:
          // The turn is held by its own pointer, since `this` may be gone once it is given back.
          if (const std::shared_ptr<Turn> turn = turn_; turn->GiveBack()) return;
      }
    }
  }
  void End(const absl::Status& status) {
    turn_->End();
    Finish(ToGrpcStatus(status));
  }

  JobRunner& runner_;
  const std::string id_;
  const int64_t after_epoch_;
  const std::shared_ptr<Turn> turn_ = std::make_shared<Turn>();
  std::unique_ptr<JobWatch> watch_;
  v1::JobEvent event_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

grpc::ServerWriteReactor<v1::JobEvent>* NewJobStream(JobRunner& runner, const std::string& id,
                                                     int64_t after_epoch) {
  return new JobStream(runner, id, after_epoch);
}

}  // namespace convd
