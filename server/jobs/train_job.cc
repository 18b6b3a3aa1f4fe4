#include "server/jobs/train_job.h"

#include <algorithm>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"

namespace convd {
namespace {

// What the bits of a run depend on besides its request.
constexpr const char* kLibrariesOfBits[] = {"convd", "oneDNN"};

absl::StatusOr<ResolvedJob> ResolveAgain(const JobTraining& training, const JobRecord& begun) {
  CONVD_ASSIGN_OR_RETURN(ResolvedJob job, training.resolve(begun.job.request()));
  const auto check = [](const char* field, const std::string& name, const std::string& then,
                        const std::string& now) {
    if (then == now) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        field, ": \"", name, "\" is other data (", now.substr(0, 12),
        ") than when the job was submitted (", then.substr(0, 12), "); submit the job again"));
  };
  const v1::TrainRequest& request = begun.job.request();
  CONVD_RETURN_IF_ERROR(
      check("dataset.name", request.dataset().name(), begun.data_sha256, job.data_sha256));
  CONVD_RETURN_IF_ERROR(check("validation.dataset.name", request.validation().dataset().name(),
                              begun.validation_sha256, job.validation_sha256));
  return job;
}

// OK where going on from the checkpoint gives the bits of the unbroken run.
absl::Status CheckSameBits(const JobTraining& training, const v1::CheckpointHeader& header) {
  const auto differs = [](absl::string_view what, const std::string& then, const std::string& now) {
    return absl::FailedPreconditionError(absl::StrCat(
        "its checkpoint was written with ", what, then, ", and this server has ", what, now,
        ", so going on would give other bits than the unbroken run's; resume it "
        "where it ran before, or with allow_different_bits"));
  };
  if (header.instruction_set() != training.instruction_set) {
    return differs("", header.instruction_set(), training.instruction_set);
  }
  for (const char* library : kLibrariesOfBits) {
    const auto then = header.library_versions().find(library);
    const auto now = training.library_versions.find(library);
    const std::string was = then == header.library_versions().end() ? "" : then->second;
    const std::string is = now == training.library_versions.end() ? "" : now->second;
    if (was != is) return differs(absl::StrCat(library, " "), was, is);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ModelCard> CardOf(const JobTraining& training, const JobRun& run,
                                     const ResolvedJob& job, const Trainer& trainer) {
  v1::ModelCard card;
  if (job.request.has_initial_model()) {
    CONVD_ASSIGN_OR_RETURN(const v1::Model initial,
                           training.models.Get(job.request.initial_model()));
    *card.mutable_earlier_history() = initial.card().earlier_history();
    card.mutable_earlier_history()->MergeFrom(initial.card().history());
  }
  card.mutable_model()->set_name(job.request.model());
  card.set_job_id(run.id());
  *card.mutable_request() = job.request;
  *card.mutable_network() = job.graph.network();
  card.set_parameters(job.graph.parameter_count());
  card.mutable_labels()->Add(job.data.labels.begin(), job.data.labels.end());
  card.set_data_sha256(job.data_sha256);
  if (job.training_pixels.mean_size() > 0) *card.mutable_training_pixels() = job.training_pixels;
  card.mutable_history()->Add(trainer.history().begin(), trainer.history().end());
  if (trainer.validation().samples() > 0) *card.mutable_validation() = trainer.validation();
  if (trainer.quantization().samples() > 0) *card.mutable_quantization() = trainer.quantization();
  card.mutable_served()->Add(trainer.served().begin(), trainer.served().end());
  card.set_instruction_set(training.instruction_set);
  card.mutable_library_versions()->insert(training.library_versions.begin(),
                                          training.library_versions.end());
  return card;
}

TrainedJob Failed(absl::Status status) {
  TrainedJob failed;
  failed.status = std::move(status);
  return failed;
}

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const JobTraining& training,
                                                     const ResolvedJob& job,
                                                     const JobCheckpoints::Found* checkpoint) {
  std::vector<float> initial;  // empty: new ones
  if (job.request.has_initial_model()) {
    CONVD_ASSIGN_OR_RETURN(initial, training.models.ReadWeights(job.request.initial_model()));
  }
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<Trainer> trainer,
                         training.make_trainer(job.graph, job.request, job.data, initial));
  if (checkpoint == nullptr) return trainer;
  const absl::Status restored = trainer->Restore(checkpoint->saved);
  if (restored.ok()) return trainer;
  if (!absl::IsDataLoss(restored)) return restored;
  // From the start the job comes to the same end.
  training.on_warning(absl::StrCat("job ", checkpoint->header.job_id(),
                                   " begins anew; its checkpoint: ", restored.message()));
  return training.make_trainer(job.graph, job.request, job.data, initial);
}

TrainedJob Train(const JobTraining& training, JobRun& run,
                 absl::FunctionRef<absl::Status()> begin_publishing) {
  const JobRecord& begun = run.begun();
  absl::StatusOr<JobCheckpoints::Found> checkpoint = training.checkpoints.Find(run.id());
  if (!checkpoint.ok() && !absl::IsNotFound(checkpoint.status())) {
    return Failed(checkpoint.status());
  }
  // A checkpoint shows that the attempt which wrote it got somewhere.
  const int32_t saved_by = checkpoint.ok() ? checkpoint->header.attempt() : 0;
  const int32_t crashes = std::min(begun.crashes, begun.job.attempts() - saved_by) - 1;
  if (crashes >= kMaxCrashes) {
    return Failed(absl::AbortedError(
        absl::StrCat("the server ended ", crashes,
                     " times while it ran this job and had saved nothing new of it; it is not "
                     "tried again")));
  }
  if (checkpoint.ok()) {
    absl::Status same = CheckSameBits(training, checkpoint->header);
    if (!same.ok() && !begun.job.request().allow_different_bits()) {
      TrainedJob other = Failed(std::move(same));
      other.other_machine = true;
      return other;
    }
    if (!same.ok()) {
      training.on_warning(
          absl::StrCat("job ", run.id(), " goes on with other bits: ", same.message()));
    }
    run.SetSecondsBefore(checkpoint->header.seconds());
  }
  const absl::StatusOr<ResolvedJob> job = ResolveAgain(training, begun);
  if (!job.ok()) return Failed(job.status());
  if (!run.has_memory) {
    TrainedJob waits = Failed(absl::CancelledError("what memory it takes is known only now"));
    waits.memory_bytes = job->memory_bytes;
    return waits;
  }
  absl::StatusOr<std::unique_ptr<Trainer>> made =
      MakeTrainer(training, *job, checkpoint.ok() ? &*checkpoint : nullptr);
  if (!made.ok()) return Failed(made.status());
  Trainer& trainer = **made;
  if (checkpoint.ok()) checkpoint->file.reset();
  const absl::Status trained = [&]() -> absl::Status {
    CONVD_RETURN_IF_ERROR(run.PutMissingEpochs(trainer.history()));
    CONVD_RETURN_IF_ERROR(trainer.Run(run));
    CONVD_RETURN_IF_ERROR(trainer.PrepareServing(run));
    return begin_publishing();
  }();
  if (!trained.ok()) {
    const JobRun::Wish wish = run.wish();
    if (absl::IsCancelled(trained) && run.store_error().ok() &&
        (wish == JobRun::Wish::kStop || wish == JobRun::Wish::kPause)) {
      // Without it the job goes on from the one before, to the same bits.
      if (const absl::Status saved = run.WriteCheckpoint(trainer); !saved.ok()) {
        training.on_warning(absl::StrCat("job ", run.id(), ": ", saved.message()));
      }
    }
    return Failed(trained);
  }
  for (const std::string& warning : trainer.warnings()) {
    training.on_warning(
        absl::StrCat("job ", run.id(), " (model ", job->request.model(), "): ", warning));
  }
  absl::StatusOr<v1::ModelCard> card = CardOf(training, run, *job, trainer);
  if (!card.ok()) return Failed(card.status());
  card->set_training_seconds(run.Seconds());
  const std::vector<float> parameters = trainer.parameters();
  // The version that takes over wants memory, too.
  made->reset();
  run.memory = MemoryLedger::Share();
  absl::StatusOr<v1::ModelVersion> version =
      training.models.Publish(job->graph, parameters, *std::move(card));
  TrainedJob done;
  done.status = version.status();
  if (version.ok()) done.version = *std::move(version);
  return done;
}

}  // namespace

std::optional<v1::ModelVersion> FindPublished(ModelRepository& models, const v1::Job& job) {
  for (const v1::Model& model : models.List(job.request().model())) {
    if (model.card().job_id() == job.id()) return model.card().model();
  }
  return std::nullopt;
}

absl::Status CheckSameBits(const JobTraining& training, const std::string& job_id) {
  const absl::StatusOr<JobCheckpoints::Found> checkpoint = training.checkpoints.Find(job_id);
  return checkpoint.ok() ? CheckSameBits(training, checkpoint->header) : absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryOf(const JobTraining& training, const v1::TrainRequest& request) {
  return OrWhatItThrows("memory", [&]() -> absl::StatusOr<int64_t> {
    CONVD_ASSIGN_OR_RETURN(const ResolvedJob job, training.resolve(request));
    return job.memory_bytes;
  });
}

TrainedJob TrainJob(const JobTraining& training, JobRun& run,
                    absl::FunctionRef<absl::Status()> begin_publishing) {
  // Nothing of ours throws, but the standard library does when memory is short, and one job's
  // trouble is not the others'.
  try {
    return Train(training, run, begin_publishing);
  } catch (const std::bad_alloc&) {
    return Failed(absl::ResourceExhaustedError(
        "not enough memory for this job; take a smaller network or batch_size"));
  } catch (const std::exception& error) {
    return Failed(absl::InternalError(absl::StrCat("unexpected: ", error.what())));
  }
}

JobChange ChangeAtEnd(const JobRun& run, const TrainedJob& trained) {
  JobChange change;
  change.crashes = 0;
  change.progress = run.latest().progress;
  change.progress.set_seconds_left(0);
  change.progress.set_validating(false);
  absl::Status status = trained.status;
  if (status.ok()) {
    change.state = v1::JOB_STATE_SUCCEEDED;
    change.result = trained.version;
    return change;
  }
  // It was told that it is, so nothing that broke meanwhile counts.
  if (run.wish() == JobRun::Wish::kCancel) {
    change.state = v1::JOB_STATE_CANCELLED;
    return change;
  }
  if (trained.memory_bytes.has_value() && run.wish() == JobRun::Wish::kNone) {
    change.state = v1::JOB_STATE_QUEUED;
    change.crashes = run.begun().crashes - 1;  // it has got nowhere
    return change;
  }
  change.state = trained.other_machine ? v1::JOB_STATE_PAUSED : v1::JOB_STATE_FAILED;
  if (absl::IsCancelled(status)) {
    // What broke must not pass for a wish.
    if (!run.store_error().ok()) {
      status = absl::Status(
          run.store_error().code(),
          absl::StrCat("the history could not be kept: ", run.store_error().message()));
    } else {
      switch (run.wish()) {
        case JobRun::Wish::kPause:
          change.state = v1::JOB_STATE_PAUSED;
          return change;
        case JobRun::Wish::kStop:
          change.state = v1::JOB_STATE_QUEUED;
          return change;
        case JobRun::Wish::kTimeout:
          status = absl::DeadlineExceededError(
              absl::StrCat("max_runtime: the job has run for ", static_cast<int64_t>(run.Seconds()),
                           " s and has not come to its end; nothing was published"));
          break;
        case JobRun::Wish::kCancel:
        case JobRun::Wish::kNone:
          break;
      }
    }
  }
  change.error.set_code(static_cast<int>(status.code()));
  change.error.set_message(std::string(status.message().data(), status.message().size()));
  return change;
}

}  // namespace convd
