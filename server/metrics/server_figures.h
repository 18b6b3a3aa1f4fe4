#ifndef CONVD_SERVER_METRICS_SERVER_FIGURES_H_
#define CONVD_SERVER_METRICS_SERVER_FIGURES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace convd {

// What is known elsewhere of a server at one moment, and only read when somebody asks for it. A
// plain value. Times are in seconds, sizes in bytes.
struct ServerFigures {
  struct Lane {
    std::string name;
    int64_t tasks = 0;        // begun since the start
    int64_t busy = 0;         // workers that are at one
    double wait_seconds = 0;  // that tasks have waited for a worker, together
  };
  struct RunningJob {
    std::string id, model;
    int64_t epoch = 0;
    double images_per_second = 0;
    std::optional<double> loss;  // of the epoch so far
  };

  std::map<std::string, int64_t> jobs;  // that haven't ended, by state
  std::vector<RunningJob> running;
  int64_t workers = 0;
  std::vector<Lane> lanes;
  double paced_seconds = 0;  // that training waited for the quota
  struct Throttled {
    int64_t periods = 0;
    double seconds = 0;
  };
  std::optional<Throttled> throttled;  // by the kernel, as the cgroup counts it
  int64_t memory_jobs = 0, memory_models = 0;       // estimated, of the ledger
  int64_t memory_jobs_limit = 0, memory_limit = 0;  // 0: none
  std::optional<int64_t> disk_free, state_bytes, state_limit;
  std::map<std::string, bool> serving;  // by service; "" is the server
};

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_SERVER_FIGURES_H_
