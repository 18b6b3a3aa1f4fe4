#ifndef CONVD_CORE_EXEC_EXECUTOR_H_
#define CONVD_CORE_EXEC_EXECUTOR_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"

namespace convd {

// The order in which a free worker, or one at a cut, looks for work.
enum class Lane { kPredict = 0, kEvaluate = 1, kTrain = 2 };
inline constexpr int kLanes = 3;

// What the workers have done and do, by lane. A plain value.
struct ExecutorUse {
  std::array<int64_t, kLanes> tasks{};        // begun; a loop's stage counts as one
  std::array<int64_t, kLanes> busy{};         // workers that are at one
  std::array<double, kLanes> wait_seconds{};  // from being queued to being begun, together
};

// Runs tasks on the server's budget of cores. Every computation of training, evaluation and
// prediction goes through one of these. Any thread may call, unless said otherwise.
class Executor {
 public:
  virtual ~Executor() = default;

  virtual int workers() const = 0;

  // Queues `task` behind the lane's others. Never runs it before returning, never drops it.
  virtual void Submit(Lane lane, absl::AnyInvocable<void()> task) = 0;

  // Runs `task` before returning, on the calling thread in place of a worker that has nothing to
  // do; false, and nothing is run, where all are busy or something waits. For predictions that take
  // no longer than to wake a worker. REQUIRES: `lane` is kPredict; the caller holds no lock.
  virtual bool TryRunHere(Lane, absl::FunctionRef<void()> /*task*/) { return false; }

  // Calls body(i) once for each i in [0, count), on the workers, in the order of i, each worker
  // taking the next; returns when all have returned. What the bodies wrote is visible to the
  // caller. REQUIRES: the caller is not a worker of this executor.
  virtual void ForEach(Lane lane, int64_t count, absl::FunctionRef<void(int64_t)> body);

  // The same, stage after stage: a stage is as many indices as `next_stage` says, the next begins
  // when all of its bodies have returned, and 0 or less is the end. `next_stage` is called on the
  // caller's thread first and then on the worker that ended the stage, which spares waking the
  // caller; it sees what the bodies wrote, they see what it wrote, and it should be short and makes
  // no cut: workers that find nothing to do meanwhile look out for the next stage. REQUIRES: the
  // caller is not a worker of this executor; neither function throws.
  virtual void ForEachInStages(Lane lane, absl::FunctionRef<int64_t()> next_stage,
                               absl::FunctionRef<void(int64_t)> body) = 0;

  // The point between two calls of a task: runs what waits in the lanes above the running task's,
  // to its end, and returns, sooner where training is due its share. The caller holds no lock. Does
  // nothing on a thread that is no worker.
  virtual void Cut() = 0;

  // Nothing where an executor doesn't count.
  virtual ExecutorUse Use() const { return {}; }
};

// `workers` threads, each telling OpenMP that it is alone (Debian's oneDNN is an OpenMP build) and
// running at `nice`. `train_share`, 0 to 0.9, is how much of a worker's time training and
// evaluations each have at least while a lane above wants all of it. The destructor runs what is
// queued to its end, then joins. REQUIRES: workers >= 1.
std::unique_ptr<Executor> NewThreadedExecutor(int workers, int nice = 0, double train_share = 0);

// For tests: no threads. Tasks run on the caller's thread in RunOne() or, inside ForEach, at once.
class HandCrankedExecutor : public Executor {
 public:
  // Runs the first task of the first lane that has one; false where there is none.
  virtual bool RunOne() = 0;
  virtual int64_t pending(Lane lane) const = 0;
};
std::unique_ptr<HandCrankedExecutor> NewHandCrankedExecutor(int workers = 1);

}  // namespace convd

#endif  // CONVD_CORE_EXEC_EXECUTOR_H_
