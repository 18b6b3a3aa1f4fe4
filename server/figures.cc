#include "server/figures.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "core/exec/cpu_budget.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

constexpr const char* kLaneNames[kLanes] = {"predict", "evaluate", "train"};

void ReadJobs(JobRunner& runner, ServerFigures& figures) {
  JobRunner::Overview overview = runner.overview();
  for (const v1::JobState state :
       {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSED}) {
    const std::string_view name = StateName(state);
    figures.jobs[absl::AsciiStrToLower(absl::string_view(name.data(), name.size()))] =
        overview.states[state];
  }
  for (v1::Job& job : overview.running) {
    ServerFigures::RunningJob& running = figures.running.emplace_back();
    running.id = std::move(*job.mutable_id());
    running.model = std::move(*job.mutable_request()->mutable_model());
    running.epoch = job.progress().epoch();
    running.images_per_second = job.progress().images_per_second();
    if (job.progress().step() > 0) running.loss = job.progress().loss();
  }
}

}  // namespace

ServerFigures ReadFigures(JobRunner& jobs, const Executor& executor, const MemoryLedger& memory,
                          DiskBudget& disk, const ServingState& serving, FileSystem& fs) {
  ServerFigures figures;
  ReadJobs(jobs, figures);
  figures.workers = executor.workers();
  const ExecutorUse use = executor.Use();
  for (int lane = 0; lane < kLanes; ++lane) {
    figures.lanes.push_back({.name = kLaneNames[lane],
                             .tasks = use.tasks[lane],
                             .busy = use.busy[lane],
                             .wait_seconds = use.wait_seconds[lane]});
  }
  figures.paced_seconds = use.paced_seconds;
  if (const std::optional<CpuThrottling> throttling = ReadCpuThrottling(fs)) {
    figures.throttled = {.periods = throttling->periods,
                         .seconds = absl::ToDoubleSeconds(throttling->time)};
  }
  const MemoryLedger::Taken taken = memory.taken();
  figures.memory_jobs = taken.jobs;
  figures.memory_models = taken.models;
  figures.memory_jobs_limit = memory.limits().jobs;
  figures.memory_limit = memory.limits().all;
  if (const absl::StatusOr<DiskBudget::Room> room = disk.room(); room.ok()) {
    figures.disk_free = room->free;
    if (disk.max_bytes() > 0) {
      figures.state_bytes = room->taken;
      figures.state_limit = disk.max_bytes();
    }
  }
  for (const auto& [service, status] : serving.All()) figures.serving[service] = status.ok();
  return figures;
}

}  // namespace convd
