#ifndef CONVD_SERVER_JOBS_TRAIN_JOB_H_
#define CONVD_SERVER_JOBS_TRAIN_JOB_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/train/trainer.h"
#include "server/jobs/checkpoints.h"
#include "server/jobs/job_run.h"
#include "server/jobs/resolve.h"
#include "server/models/repository.h"

namespace convd {

// Trainer::Create on the server's executor, or what a test puts in its place.
using TrainerFactory = std::function<absl::StatusOr<std::unique_ptr<Trainer>>(
    const Graph&, const v1::TrainRequest&, TrainingData, absl::Span<const float> initial)>;
// ResolveJob of a request that was resolved at its submission, with what is there now.
using JobResolver = std::function<absl::StatusOr<ResolvedJob>(const v1::TrainRequest&)>;

// What turns a job that has begun into a published version. Any thread may call what it refers to.
struct JobTraining {
  ModelRepository& models;
  JobCheckpoints& checkpoints;
  JobResolver resolve;
  TrainerFactory make_trainer;
  std::string instruction_set;
  std::map<std::string, std::string> library_versions;
  std::function<void(const std::string&)> on_warning;
};

// The version that an earlier attempt of the job published before the server ended.
std::optional<v1::ModelVersion> FindPublished(ModelRepository& models, const v1::Job& job);

// FAILED_PRECONDITION where going on from the job's checkpoint would give other bits than the
// unbroken run's: another instruction set, oneDNN or convd wrote it. OK where there is none.
absl::Status CheckSameBits(const JobTraining& training, const std::string& job_id);

// How many bytes of memory training it takes. An error where it can't be resolved, which TrainJob
// would say, too, unless it has passed by then. Reads datasets; never throws.
absl::StatusOr<int64_t> MemoryOf(const JobTraining& training, const v1::TrainRequest& request);

// Attempts that may end with the server, without a checkpoint in between, before a job is given up.
inline constexpr int32_t kMaxCrashes = 3;

struct TrainedJob {
  absl::Status status;         // CANCELLED where run.wish() or run.store_error() says why
  v1::ModelVersion version;    // where that is OK
  bool other_machine = false;  // its checkpoint's bits can't go on here; `status` says why
  // Where it began without its memory: what it takes, known only now. Then nothing was trained, and
  // `status` is CANCELLED.
  std::optional<int64_t> memory_bytes = std::nullopt;
};

// Trains the job to its end, from its checkpoint where it has one, and publishes it.
// Where it is to stop or pause it is saved. `begin_publishing` is asked when it is trained; from
// its OK on nothing ends the run. Blocks until all is done; never throws.
TrainedJob TrainJob(const JobTraining& training, JobRun& run,
                    absl::FunctionRef<absl::Status()> begin_publishing);

// The change of state that a run has come to, but for its time. Of several reasons for an end that
// of the highest wish.
JobChange ChangeAtEnd(const JobRun& run, const TrainedJob& trained);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_TRAIN_JOB_H_
