#include "server/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/data/limits.h"
#include "core/dnn/engine_info.h"
#include "core/exec/cpu_budget.h"
#include "core/exec/executor.h"
#include "core/exec/memory_budget.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "server/audit_log.h"
#include "server/auth/admission.h"
#include "server/auth/method_scopes.h"
#include "server/auth/tls_files.h"
#include "server/call_log.h"
#include "server/datasets/registry.h"
#include "server/disk_budget.h"
#include "server/figures.h"
#include "server/http/http_api.h"
#include "server/http/origin.h"
#include "server/jobs/runner.h"
#include "server/jobs/store.h"
#include "server/jobs/transitions.h"
#include "server/library_versions.h"
#include "server/memory_ledger.h"
#include "server/metrics/metrics.h"
#include "server/models/repository.h"
#include "server/models/warm_up.h"
#include "server/periodic_call.h"
#include "server/predict/alarms.h"
#include "server/predict/predict_queue.h"
#include "server/predict/predictor.h"
#include "server/rpc/datasets_service.h"
#include "server/rpc/evaluator_service.h"
#include "server/rpc/inference_service.h"
#include "server/rpc/jobs_service.h"
#include "server/rpc/listening.h"
#include "server/rpc/models_service.h"
#include "server/rpc/predictor_service.h"
#include "server/rpc/readiness.h"
#include "server/serving_state.h"
#include "server/start_reserve.h"
#include "server/state_lock.h"
#include "server/version.h"

namespace convd {
namespace {

constexpr absl::Duration kReadinessInterval = absl::Seconds(5);
// How soon a version that was copied in is found.
constexpr absl::Duration kModelsInterval = absl::Seconds(2);
// How soon tokens and certificates that were changed count.
constexpr absl::Duration kAccessInterval = absl::Seconds(2);
constexpr absl::Duration kUploadsInterval = absl::Minutes(1);

absl::Status InFlag(absl::string_view flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

void LogJob(const v1::Job& job) {
  const std::string_view state = StateName(job.state());
  switch (job.state()) {
    case v1::JOB_STATE_SUCCEEDED:
      return spdlog::info("job {}: {}, published as {}@{}", job.id(), state, job.result().name(),
                          job.result().version());
    case v1::JOB_STATE_FAILED:
      return spdlog::warn("job {}: {}: {}", job.id(), state, job.error().message());
    default:
      return spdlog::info("job {}: {} (model {}, dataset {})", job.id(), state,
                          job.request().model(), job.request().dataset().name());
  }
}

// Members are destroyed from the last to the first: what answers, then what computes, then what
// they read; the models last, and the state folder's lock when nobody writes there any more.
class ConvdServer final : public Server {
 public:
  ~ConvdServer() override { Stop(absl::Now()); }

  absl::Status Open(const Config& config);

  const std::string& grpc_address() const override { return listening_.address; }
  const std::string& http_address() const override { return http_address_; }
  void Stop(absl::Time deadline) override;

 private:
  absl::Status OpenAccess(const Config& config);
  absl::Status OpenState(const Config& config);
  void StartWorkers(const Config& config);
  absl::Status StartJobs(const Config& config);
  absl::Status Serve(const Config& config);
  absl::Status ServeHttp(const Config& config);
  void Finished(const FinishedCall& call);  // of gRPC and HTTP
  void WriteAddresses();
  void MaintainModels();
  void MaintainUploads();
  void ReloadAccess();

  std::unique_ptr<Metrics> metrics_;  // counts what all the others do
  FileSystem& fs_ = FileSystem::Posix();
  const Clock& clock_ = Clock::Real();
  bool stopped_ = false;
  std::atomic<bool> stopping_{false};  // maintaining the models
  MemoryBudget memory_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<TlsFiles> tls_;        // null without encryption
  std::unique_ptr<AuditLog> audit_log_;  // null: in the log
  std::unique_ptr<CallLog> call_log_;
  std::string state_dir_;  // absolute
  std::unique_ptr<StateLock> lock_;
  std::unique_ptr<DiskBudget> disk_;
  std::unique_ptr<MemoryLedger> ledger_;  // of jobs and models
  std::unique_ptr<ModelRepository> models_;
  std::unique_ptr<DatasetRegistry> datasets_;
  std::unique_ptr<JobStore> jobs_;
  std::unique_ptr<Executor> executor_;
  JobMemory job_memory_;
  std::unique_ptr<Alarms> alarms_;  // the queue's
  std::unique_ptr<PredictQueue> predict_queue_;
  std::unique_ptr<Predictor> predictor_;
  std::unique_ptr<JobRunner> runner_;
  std::unique_ptr<JobsService> jobs_service_;
  std::unique_ptr<DatasetsService> datasets_service_;
  std::unique_ptr<ModelsService> models_service_;
  std::unique_ptr<EvaluatorService> evaluator_service_;
  std::unique_ptr<PredictorService> predictor_service_;
  std::unique_ptr<InferenceService> inference_service_;
  ListeningServer listening_;
  ServingState serving_;
  std::string http_address_;
  std::unique_ptr<HttpApi> http_;
  std::unique_ptr<Readiness> readiness_;
  std::unique_ptr<PeriodicCall> maintenance_;  // of the models
  std::unique_ptr<PeriodicCall> uploads_maintenance_;
  std::unique_ptr<PeriodicCall> access_reload_;
};

absl::Status ConvdServer::Open(const Config& config) {
  if (absl::Status set = SetInstructionSet(config.isa); !set.ok()) return InFlag("--isa", set);
  std::map<std::string, std::string> build = LibraryVersions();
  build["isa"] = InstructionSet();
  metrics_ = Metrics::New(build);
  memory_ = DetectMemoryBudget(fs_);
  // The rest is for requests, what they bring, and what the allocator keeps.
  ledger_ = std::make_unique<MemoryLedger>(
      MemoryLedger::Limits{.jobs = memory_.bytes / 4 * 3, .all = memory_.bytes / 8 * 7});
  CONVD_RETURN_IF_ERROR(OpenAccess(config));
  CONVD_RETURN_IF_ERROR(OpenState(config));
  StartWorkers(config);
  CONVD_RETURN_IF_ERROR(StartJobs(config));
  return Serve(config);
}

absl::Status ConvdServer::OpenAccess(const Config& config) {
  AdmissionOptions admission;
  admission.tokens_path = config.tokens;
  admission.client_certificates = !config.tls_client_ca.empty();
  admission.limits = {config.max_rate, config.max_concurrent_calls};
  CONVD_ASSIGN_OR_RETURN(admission_, Admission::Open(fs_, clock_, std::move(admission)));
  if (!config.tls_cert.empty()) {
    CONVD_ASSIGN_OR_RETURN(
        tls_, TlsFiles::Open(fs_, clock_, {config.tls_cert, config.tls_key, config.tls_client_ca}));
  }
  if (!config.audit_log.empty()) {
    CONVD_ASSIGN_OR_RETURN(audit_log_,
                           AuditLog::Open(fs_, config.audit_log,
                                          [](const absl::Status& status, std::string_view what) {
                                            spdlog::error("{}; what could not be written is {}",
                                                          std::string(status.message()), what);
                                          }));
  }
  call_log_ = std::make_unique<CallLog>(audit_log_.get(), clock_);
  spdlog::info("{}; {}{}", tls_ == nullptr ? "without encryption" : "with TLS",
               config.tokens.empty() ? "everyone may do everything" : "tokens say who may do what",
               config.tls_client_ca.empty() ? "" : "; clients need a certificate");
  return absl::OkStatus();
}

absl::Status ConvdServer::OpenState(const Config& config) {
  for (const std::string& dir : config.data_dirs) {
    if (fs_.IsDirectory(dir)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--data-dir: ", dir, fs_.Exists(dir) ? " is no folder" : " is not there",
                     "; want a folder that datasets may be registered from"));
  }
  if (absl::Status made = fs_.CreateDirectories(config.state_dir); !made.ok()) {
    // A path that can't be a folder is the machine's state, not the flag's form.
    return absl::FailedPreconditionError(absl::StrCat("--state: ", made.message()));
  }
  const absl::StatusOr<std::string> canonical = fs_.Canonical(config.state_dir);
  if (!canonical.ok()) return InFlag("--state", canonical.status());
  state_dir_ = *canonical;
  CONVD_ASSIGN_OR_RETURN(lock_, StateLock::Acquire(state_dir_));
  if (absl::Status freed = FreeStartReserve(fs_, state_dir_); !freed.ok()) {
    return InFlag("--state", freed);
  }
  // What an earlier server that could not end in order left there would lead to nobody.
  fs_.Remove(state_dir_ + "/addresses").IgnoreError();
  absl::StatusOr<std::unique_ptr<ModelRepository>> models = ModelRepository::Open(
      fs_, clock_, state_dir_,
      [this](const Graph& graph, absl::Span<const float> parameters,
             const InferenceOptions& compile_options) {
        return CompileAndWarmUp(*executor_, graph, parameters, compile_options);
      },
      CheckPrecision,
      [this](const Graph& graph, v1::Precision precision, int64_t file_bytes) {
        return TakeMemoryToLoad(*ledger_, executor_->workers(), graph, precision, file_bytes);
      });
  if (!models.ok()) return InFlag("--state", models.status());
  models_ = *std::move(models);
  for (const std::string& warning : models_->TakeWarnings()) spdlog::warn("{}", warning);
  disk_ = std::make_unique<DiskBudget>(fs_, clock_, state_dir_, config.max_state_bytes);
  absl::StatusOr<std::unique_ptr<DatasetRegistry>> datasets =
      DatasetRegistry::Open(fs_, clock_, state_dir_, config.data_dirs, LimitsOnDisk(memory_.bytes),
                            [this](int64_t bytes) { return disk_->Take(bytes); });
  if (!datasets.ok()) return InFlag("--state", datasets.status());
  datasets_ = *std::move(datasets);
  absl::StatusOr<std::unique_ptr<JobStore>> jobs = OpenSqliteJobStore(fs_, state_dir_);
  if (!jobs.ok()) return InFlag("--state", jobs.status());
  jobs_ = *std::move(jobs);
  spdlog::info("state in {}: {} datasets, {} model versions", state_dir_, datasets_->List().size(),
               models_->Versions("").size());
  return absl::OkStatus();
}

void ConvdServer::StartWorkers(const Config& config) {
  const CpuBudget budget = DetectCpuBudget(fs_);
  const int workers = config.cpus > 0 ? config.cpus : budget.workers;
  std::string why =
      absl::StrCat(budget.physical_cores, " physical cores of ", budget.affinity, " allowed CPUs");
  if (budget.cgroup_quota > 0) absl::StrAppend(&why, ", a quota of ", budget.cgroup_quota);
  if (config.cpus > 0) absl::StrAppend(&why, ", --cpus ", config.cpus);
  spdlog::info("{} workers ({}), {}, nice {}", workers, why, InstructionSet(), config.nice);
  if (workers > budget.workers) {
    spdlog::warn(
        "--cpus {} is more than the {} that this machine or container allows; expect "
        "waiting",
        workers, budget.workers);
  }
  ExecutorOptions options{.nice = config.nice, .train_share = config.train_share / 100.0};
  if (budget.cgroup_quota > 0) {
    options.cpu_quota = budget.cgroup_quota * budget.cgroup_period;
    options.cpu_period = budget.cgroup_period;
  }
  executor_ = NewThreadedExecutor(workers, options);
  job_memory_.workers = workers;
  job_memory_.bytes = ledger_->limits().jobs;
  if (memory_.bytes == 0) {
    spdlog::warn("how much memory there is can't be found out; jobs are not checked against it");
  } else {
    spdlog::info("{} MB of memory ({}); jobs may take {} together", memory_.bytes >> 20,
                 memory_.bytes == memory_.cgroup_limit ? "the container's limit" : "RAM",
                 job_memory_.bytes >> 20);
  }
}

absl::Status ConvdServer::StartJobs(const Config& config) {
  JobRunnerOptions options;
  options.concurrent_jobs = config.concurrent_jobs;
  options.max_waiting = config.max_waiting_jobs;
  options.take_room = [this](int64_t bytes) { return disk_->Take(bytes); };
  options.memory = ledger_.get();
  options.checkpoints.interval = config.checkpoint_interval;
  options.instruction_set = InstructionSet();
  options.library_versions = LibraryVersions();
  options.on_change = [this](const v1::Job& job) {
    LogJob(job);
    if (IsFinal(job.state())) {
      const std::string_view state = StateName(job.state());
      metrics_->JobEnded(absl::AsciiStrToLower(absl::string_view(state.data(), state.size())));
    }
  };
  options.on_warning = [](const std::string& warning) { spdlog::warn("{}", warning); };
  absl::StatusOr<std::unique_ptr<JobRunner>> runner = JobRunner::Start(
      *jobs_, *models_, fs_, state_dir_,
      [this](const v1::TrainRequest& request) {
        return ResolveJob(request, *datasets_, job_memory_, models_.get());
      },
      [this](const Graph& graph, const v1::TrainRequest& request, TrainingData data,
             absl::Span<const float> initial) {
        return Trainer::Create(graph, request, std::move(data), *executor_, clock_, initial);
      },
      clock_, std::move(options));
  if (!runner.ok()) return InFlag("--state", runner.status());
  runner_ = *std::move(runner);
  return absl::OkStatus();
}

absl::Status ConvdServer::Serve(const Config& config) {
  if (absl::Status filled = FillStartReserve(fs_, state_dir_); !filled.ok()) {
    spdlog::warn("the next start may find no room: {}",
                 std::string(filled.message().data(), filled.message().size()));
  }
  jobs_service_ = std::make_unique<JobsService>(*runner_, *datasets_, *models_, job_memory_);
  datasets_service_ = std::make_unique<DatasetsService>(
      *datasets_, [this](const std::string& name) { return runner_->CheckUnused(name); });
  ExplainLimits explain;
  // Of what jobs leave.
  explain.memory_bytes = memory_.bytes / 8;
  ModelChanges changes{
      fs_, [this](const v1::ModelVersion& version) { return runner_->CheckUnused(version); },
      [this](int64_t bytes) { return disk_->Take(bytes); }};
  models_service_ =
      std::make_unique<ModelsService>(*models_, *executor_, explain, clock_, std::move(changes));
  EvaluateLimits evaluate;
  PredictLimits predict;
  // The answer's other fields want room, too.
  const int64_t max_response = (int64_t{config.max_message_mb} << 20) * 15 / 16;
  evaluate.max_response_bytes = max_response;
  predict.max_response_bytes = max_response;
  if (memory_.bytes > 0) {
    // Of what jobs leave; every worker may be at a file.
    DataLimits files;
    files.decoding_bytes = std::min(files.decoding_bytes, memory_.bytes / 4 / executor_->workers());
    evaluate.files = files;
    predict.files = files;
  }
  evaluator_service_ =
      std::make_unique<EvaluatorService>(*models_, *datasets_, *executor_, evaluate, clock_);
  predict.max_batch = config.max_batch;
  predict.max_delay = config.batch_delay;
  predict.max_wait = config.max_queue_wait;
  if (predict.max_delay > absl::ZeroDuration()) alarms_ = NewThreadedAlarms(clock_);
  predict_queue_ = std::make_unique<PredictQueue>(*executor_, predict, clock_, &metrics_->predict(),
                                                  alarms_.get());
  predictor_ = std::make_unique<Predictor>(*models_, *predict_queue_, datasets_.get());
  predictor_service_ = std::make_unique<PredictorService>(
      *predictor_, StreamLimits(),
      [this](absl::StatusCode code, absl::string_view model, absl::Duration took) {
        metrics_->rpc().Finished("convd.v1.Predictor/PredictStream request", code, model, took);
      });
  inference_service_ = std::make_unique<InferenceService>(*models_, *predictor_, kVersion);
  CONVD_RETURN_IF_ERROR(CheckMethodScopes(
      {v1::Jobs::service_full_name(), v1::Datasets::service_full_name(),
       v1::Models::service_full_name(), v1::Evaluator::service_full_name(),
       v1::Predictor::service_full_name(), inference::GRPCInferenceService::service_full_name()}));
  ListenOptions listen;
  listen.tls = tls_.get();
  listen.hooks.admission = admission_.get();
  listen.hooks.unread = std::make_shared<UnreadAnswers>(MostWaitingBytes(config));
  listen.hooks.client_certificates = !config.tls_client_ca.empty();
  listen.hooks.on_finished = [this](const FinishedCall& call) { Finished(call); };
  CONVD_ASSIGN_OR_RETURN(listening_, Listen(config,
                                            {jobs_service_.get(), datasets_service_.get(),
                                             models_service_.get(), evaluator_service_.get(),
                                             predictor_service_.get(), inference_service_.get()},
                                            std::move(listen)));
  // The server as a whole, "", is SERVING of itself: a full disk keeps nobody from predicting.
  grpc::HealthCheckServiceInterface& health = *listening_.server->GetHealthCheckService();
  for (const char* service :
       {v1::Models::service_full_name(), v1::Evaluator::service_full_name(),
        v1::Predictor::service_full_name(), inference::GRPCInferenceService::service_full_name()}) {
    health.SetServingStatus(service, true);
    serving_.Set(service, absl::OkStatus());
  }
  serving_.Set("", absl::OkStatus());
  readiness_ = std::make_unique<Readiness>(
      health, serving_,
      std::vector<std::string>{v1::Jobs::service_full_name(), v1::Datasets::service_full_name()},
      [this] { return disk_->Take(0); }, kReadinessInterval);
  maintenance_ = std::make_unique<PeriodicCall>([this] { MaintainModels(); }, kModelsInterval);
  uploads_maintenance_ =
      std::make_unique<PeriodicCall>([this] { MaintainUploads(); }, kUploadsInterval);
  access_reload_ = std::make_unique<PeriodicCall>([this] { ReloadAccess(); }, kAccessInterval);
  if (!config.http_address.empty()) CONVD_RETURN_IF_ERROR(ServeHttp(config));
  WriteAddresses();
  return absl::OkStatus();
}

absl::Status ConvdServer::ServeHttp(const Config& config) {
  metrics_->SetFigures(
      [this] { return ReadFigures(*runner_, *executor_, *ledger_, *disk_, serving_, fs_); });
  metrics_->SetIsModel(
      [this](absl::string_view name) { return !models_->Versions(std::string(name)).empty(); });
  CONVD_ASSIGN_OR_RETURN(const ListenAddress address,
                         ParseListenAddress("--http-address", config.http_address));
  const bool open_loopback =
      IsLoopback(address.host) && config.tokens.empty() && config.tls_client_ca.empty();
  HttpApi::Sources sources{
      *models_,
      *datasets_,
      *runner_,
      *predictor_,
      kVersion,
      serving_,
      [this] { return metrics_->Text(); },
      [this, open_loopback, tokens = !config.tokens.empty(),
       certificates = !config.tls_client_ca.empty()](const HttpRequest& request, Scope scope) {
        const absl::string_view authorization = Find(request.headers, "authorization");
        if (scope != Scope::kNone) {
          if (certificates && request.certificate_names.empty()) {
            return Admitted(absl::UnauthenticatedError(
                "clients need a certificate here (--tls-client-ca), and none came"));
          }
          // A page can't know a token, but can send what nobody asks for.
          if (absl::Status status = CheckOrigin(request, open_loopback);
              !status.ok() && (authorization.empty() || !tokens)) {
            return Admitted(std::move(status));
          }
        }
        return admission_->Admit(scope, authorization, Peer{request.certificate_names});
      },
      [this](const FinishedCall& call) { Finished(call); },
  };
  if (tls_ != nullptr) sources.tls = [this] { return tls_->Context(); };
  CONVD_ASSIGN_OR_RETURN(http_, HttpApi::Start(config, std::move(sources)));
  http_address_ = http_->address();
  return absl::OkStatus();
}

void ConvdServer::Finished(const FinishedCall& call) {
  call_log_->Finished(call);
  metrics_->rpc().Finished(absl::StripPrefix({call.method.data(), call.method.size()}, "/"),
                           call.status.code(), {call.model.data(), call.model.size()},
                           call.duration);
}

void ConvdServer::WriteAddresses() {
  std::string addresses = absl::StrCat("grpc ", listening_.address, "\n");
  if (http_ != nullptr) absl::StrAppend(&addresses, "http ", http_address_, "\n");
  const absl::Status written = WriteFileAtomically(fs_, state_dir_ + "/addresses", addresses);
  if (!written.ok()) {
    // A full disk, most likely: what is there can be served all the same.
    spdlog::warn("{}; nobody can read there where this server listens: {}",
                 std::string(written.message().data(), written.message().size()),
                 absl::StrJoin(absl::StrSplit(addresses, '\n', absl::SkipEmpty()), ", "));
  }
}

void ConvdServer::MaintainModels() {
  const std::vector<v1::ModelVersion> deleted = models_->Maintain(
      [this](const v1::ModelVersion& version) { return !runner_->CheckUnused(version).ok(); },
      [this] { return stopping_.load(); });
  for (const std::string& warning : models_->TakeWarnings()) spdlog::warn("{}", warning);
  for (const v1::ModelVersion& version : deleted) {
    spdlog::info("model {} version {}: deleted, beyond those to keep", version.name(),
                 version.version());
  }
}

void ConvdServer::MaintainUploads() {
  for (const std::string& id : datasets_->RemoveUnusedUploads()) {
    spdlog::info("upload {}: removed, as nobody went on with it", id);
  }
  for (const std::string& warning : datasets_->TakeWarnings()) spdlog::warn("{}", warning);
}

void ConvdServer::ReloadAccess() {
  const auto tell = [](const char* what, const absl::StatusOr<bool>& reloaded) {
    if (!reloaded.ok()) {
      spdlog::warn("{}; what counted before still does", std::string(reloaded.status().message()));
    } else if (*reloaded) {
      spdlog::info("{} read again", what);
    }
  };
  const absl::StatusOr<bool> tokens = admission_->Reload();
  tell("--tokens:", tokens);
  if (tokens.ok() && *tokens && admission_->AdmitsNobody()) {
    spdlog::warn("--tokens: the file has no entry, so nobody may call");
  }
  if (tls_ != nullptr) tell("--tls-cert and --tls-key:", tls_->Reload());
}

void ConvdServer::Stop(absl::Time deadline) {
  if (std::exchange(stopped_, true) || listening_.server == nullptr) return;
  fs_.Remove(state_dir_ + "/addresses").IgnoreError();
  runner_->Stop();  // who sees that it isn't ready any more finds it so
  serving_.Stop();
  if (http_ != nullptr) http_->Drain();
  readiness_ = nullptr;
  stopping_ = true;
  maintenance_ = nullptr;
  uploads_maintenance_ = nullptr;
  access_reload_ = nullptr;
  listening_.server->GetHealthCheckService()->SetServingStatus(false);
  predictor_service_->Stop();
  // Watches end when they have shown what became of their jobs, which are being saved meanwhile.
  std::thread jobs_end([&] {
    const absl::Duration left = std::max(absl::ZeroDuration(), deadline - absl::Now());
    if (!runner_->AwaitIdle(0.8 * left)) {
      spdlog::warn("a job has not come to its next cut yet");
    }
    runner_->EndWatches();
  });
  // Answers what was accepted; refuses what comes.
  ShutDown(listening_, deadline);
  if (http_ != nullptr) http_->Stop(deadline);
  jobs_end.join();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Config& config) {
  auto server = std::make_unique<ConvdServer>();
  CONVD_RETURN_IF_ERROR(server->Open(config));
  return server;
}

}  // namespace convd
