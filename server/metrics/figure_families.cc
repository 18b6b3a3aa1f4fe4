#include "server/metrics/figure_families.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

namespace convd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Family {
 public:
  Family(const char* name, const char* help, MetricType type = MetricType::Gauge) {
    family_.name = name;
    family_.help = help;
    family_.type = type;
  }
  Family& Add(double value, std::vector<ClientMetric::Label> labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    metric.counter.value = value;
    family_.metric.push_back(std::move(metric));
    return *this;
  }
  MetricFamily Take() { return std::move(family_); }

 private:
  MetricFamily family_;
};

}  // namespace

std::vector<MetricFamily> FigureFamilies(const ServerFigures& figures) {
  Family jobs("convd_jobs", "Jobs that haven't ended, by state.");
  for (const auto& [state, count] : figures.jobs) {
    jobs.Add(static_cast<double>(count), {{"state", state}});
  }
  Family epoch("convd_job_epoch", "Epoch that a running job is at, from 1.");
  Family speed("convd_job_images_per_second", "Images that a running job trains on in a second.");
  Family loss("convd_job_loss", "Mean loss of a running job's epoch so far.");
  for (const ServerFigures::RunningJob& job : figures.running) {
    const std::vector<ClientMetric::Label> labels = {{"job", job.id}, {"model", job.model}};
    epoch.Add(static_cast<double>(job.epoch), labels);
    speed.Add(job.images_per_second, labels);
    if (job.loss.has_value()) loss.Add(*job.loss, labels);
  }
  Family busy("convd_executor_busy_workers", "Workers that are at a task, by its lane.");
  Family tasks("convd_executor_tasks_total", "Tasks that workers began, by lane.",
               MetricType::Counter);
  Family waited("convd_executor_wait_seconds_total",
                "Time that tasks waited for a worker, together, by lane.", MetricType::Counter);
  for (const ServerFigures::Lane& lane : figures.lanes) {
    busy.Add(static_cast<double>(lane.busy), {{"lane", lane.name}});
    tasks.Add(static_cast<double>(lane.tasks), {{"lane", lane.name}});
    waited.Add(lane.wait_seconds, {{"lane", lane.name}});
  }
  Family paced("convd_executor_paced_seconds_total",
               "Time that workers held training back to stay below the CPU quota, together.",
               MetricType::Counter);
  paced.Add(figures.paced_seconds);
  Family throttled("convd_cgroup_throttled_seconds_total",
                   "Time that the kernel stopped the cgroup because its CPU quota was used up.",
                   MetricType::Counter);
  Family periods("convd_cgroup_throttled_periods_total",
                 "Periods of the CPU quota in which it was used up.", MetricType::Counter);
  if (figures.throttled.has_value()) {
    throttled.Add(figures.throttled->seconds);
    periods.Add(static_cast<double>(figures.throttled->periods));
  }
  Family taken("convd_memory_reserved_bytes",
               "Memory that running jobs and loaded models are estimated to take.");
  taken.Add(static_cast<double>(figures.memory_jobs), {{"holder", "jobs"}})
      .Add(static_cast<double>(figures.memory_models), {{"holder", "models"}});
  Family limits("convd_memory_limit_bytes",
                "Memory that jobs, and jobs and models together, may take; 0: no limit.");
  limits.Add(static_cast<double>(figures.memory_jobs_limit), {{"holder", "jobs"}})
      .Add(static_cast<double>(figures.memory_limit), {{"holder", "all"}});
  Family disk("convd_state_disk_free_bytes", "Free bytes of the state folder's disk.");
  if (figures.disk_free.has_value()) disk.Add(static_cast<double>(*figures.disk_free));
  Family state("convd_state_bytes",
               "Bytes that the state folder takes; looked at where --max-state-bytes is given.");
  Family state_limit("convd_state_limit_bytes", "--max-state-bytes, where it is given.");
  if (figures.state_bytes.has_value()) state.Add(static_cast<double>(*figures.state_bytes));
  if (figures.state_limit.has_value()) state_limit.Add(static_cast<double>(*figures.state_limit));
  Family serving("convd_serving", "1 where a service takes what it is there for, else 0.");
  for (const auto& [service, serves] : figures.serving) {
    serving.Add(serves ? 1 : 0, {{"service", service}});
  }

  std::vector<MetricFamily> families;
  families.push_back(Family("convd_executor_workers", "Workers.")
                         .Add(static_cast<double>(figures.workers))
                         .Take());
  for (Family* family : {&jobs, &epoch, &speed, &loss, &busy, &tasks, &waited, &paced, &throttled,
                         &periods, &taken, &limits, &disk, &state, &state_limit, &serving}) {
    families.push_back(family->Take());
  }
  return families;
}

std::vector<MetricFamily> ProcessFamilies() {
  std::vector<MetricFamily> families;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    families.push_back(
        Family("process_cpu_seconds_total", "User and system time.", MetricType::Counter)
            .Add(seconds(usage.ru_utime) + seconds(usage.ru_stime))
            .Take());
  }
  int64_t pages = 0, resident = 0;
  if (std::ifstream("/proc/self/statm") >> pages >> resident) {
    const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
    families.push_back(Family("process_resident_memory_bytes", "Memory that is resident.")
                           .Add(static_cast<double>(resident) * page)
                           .Take());
    families.push_back(Family("process_virtual_memory_bytes", "Address space.")
                           .Add(static_cast<double>(pages) * page)
                           .Take());
  }
  return families;
}

}  // namespace convd
