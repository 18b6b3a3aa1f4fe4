#ifndef CONVD_TESTS_SIMULATION_WATCHED_TRAINER_H_
#define CONVD_TESTS_SIMULATION_WATCHED_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "convd/v1/jobs.pb.h"
#include "core/exec/executor.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"

namespace convd {

// What is known of jobs that run, from the inside. One thread.
class Runs {
 public:
  struct Run {
    int64_t saved = 0;         // how far it was in the last checkpoint that was acknowledged
    int64_t deaths = 0;        // of the server while it ran, since then
    bool disk_failed = false;  // while it ran: then it may fail
  };

  // The job that runs; "" for none.
  const std::string& running() const { return running_; }
  Run& Of(const std::string& id) { return runs_[id]; }
  int64_t begun() const { return begun_; }  // jobs, so far
  int64_t resumed() const { return resumed_; }
  void CountResumed() { ++resumed_; }

  void OnChange(const v1::Job& job);
  // The job that ran has returned; it may be RUNNING in the store all the same.
  void End();
  void OnRestart();

 private:
  std::map<std::string, Run> runs_;
  std::string running_;
  std::string stored_running_;
  int64_t begun_ = 0;
  int64_t resumed_ = 0;
};

// Trainer::Create's, and looks on: calls `between_steps` after each step, and says a fault where
// the job begins before what was acknowledged to be saved of it.
absl::StatusOr<std::unique_ptr<Trainer>> MakeWatchedTrainer(
    const Graph& graph, const v1::TrainRequest& request, TrainingData data, Executor& executor,
    const Clock& clock, Runs& runs, std::function<void()> between_steps,
    std::function<void(const std::string&)> fault);

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_WATCHED_TRAINER_H_
