#include "tests/crash/workload.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/watched_job.h"
#include "tests/crash/state_folder.h"
#include "tests/end_to_end/small_fashion.h"

namespace convd {
namespace {

std::chrono::system_clock::time_point Deadline() {
  return absl::ToChronoTime(absl::Now() + kPatience);
}

size_t Below(std::mt19937_64& random, size_t bound) { return random() % bound; }

}  // namespace

Workload::Workload(const std::string& address, ServerLife& life, Ledger& ledger, DataLedger& data,
                   std::mt19937_64& random)
    : life_(life), ledger_(ledger), data_(data), random_(random) {
  grpc::ChannelArguments arguments;
  // Else channels to the same port of an earlier life would be taken again.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  jobs_ = v1::Jobs::NewStub(channel_);
  models_ = v1::Models::NewStub(channel_);
  datasets_ = v1::Datasets::NewStub(channel_);
  evaluator_ = v1::Evaluator::NewStub(channel_);
}

Workload::~Workload() {
  for (grpc::ClientContext& context : watch_contexts_) context.TryCancel();
  for (std::thread& watch : watches_) watch.join();
}

template <typename Request, typename Response, typename Method>
absl::Status Workload::Call(const Method& method, const Request& request, Response& response) {
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  return Judge(method(&context, request, &response));
}

absl::Status Workload::Judge(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                            status.error_message());
  if (absl::IsFailedPrecondition(result)) return result;
  ok_ = false;
  if (!life_.AwaitEnd(absl::Seconds(5))) {
    ledger_.Fault(absl::StrCat("a call to a server that lives failed: ", result.ToString()));
  }
  return result;
}

absl::Status Workload::RegisterDataset(const std::string& folder) {
  v1::RegisterDatasetRequest request;
  request.set_name("fashion");
  request.set_path(folder);
  v1::Dataset dataset;
  return Call(
      [this](auto* c, const auto& q, auto* r) { return datasets_->RegisterDataset(c, q, r); },
      request, dataset);
}

void Workload::Upload() {
  const auto [name, content] = data_.NewDataset();
  LabelledPixels pixels;
  pixels.labels = std::string("\0\1\2", 3);
  pixels.pixels = std::string(pixels.labels.size() * 784, static_cast<char>('a' + content));
  data_.Uploading(name, content);
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  v1::Dataset dataset;
  const auto writer = datasets_->UploadDataset(&context, &dataset);
  v1::UploadDatasetRequest part;
  part.mutable_header()->set_name(name);
  bool sent = writer->Write(part);
  for (const auto& [file, bytes] : {std::pair{"train-images-idx3-ubyte", IdxImages(pixels)},
                                    std::pair{"train-labels-idx1-ubyte", IdxLabels(pixels)}}) {
    part.mutable_chunk()->set_file(file);
    part.mutable_chunk()->set_data(bytes);
    sent = sent && writer->Write(part);
  }
  writer->WritesDone();
  if (Judge(writer->Finish()).ok()) data_.Uploaded(name, dataset.sha256());
}

void Workload::Delete(const std::string& dataset) {
  data_.Deleting(dataset);
  v1::DeleteDatasetRequest request;
  request.set_name(dataset);
  v1::DeleteDatasetResponse response;
  const absl::Status status =
      Call([this](auto* c, const auto& q, auto* r) { return datasets_->DeleteDataset(c, q, r); },
           request, response);
  if (status.ok()) data_.Deleted(dataset);
}

void Workload::LookAtDatasets() {
  std::map<std::string, std::string> shown;
  v1::ListDatasetsRequest request;
  request.set_page_size(1000);
  v1::ListDatasetsResponse response;
  const absl::Status status =
      Call([this](auto* c, const auto& q, auto* r) { return datasets_->ListDatasets(c, q, r); },
           request, response);
  if (!status.ok()) return;
  for (const v1::Dataset& dataset : response.datasets()) shown[dataset.name()] = dataset.sha256();
  data_.Shown(shown);
}

void Workload::Evaluate(const Ledger::VersionId& version) {
  v1::EvaluateRequest request;
  request.mutable_model()->set_name(version.first);
  request.mutable_model()->set_version(version.second);
  request.mutable_dataset()->set_name("fashion");
  request.mutable_dataset()->set_split("test");
  v1::EvaluateResponse response;
  const absl::Status status =
      Call([this](auto* c, const auto& q, auto* r) { return evaluator_->Evaluate(c, q, r); },
           request, response);
  if (status.ok()) data_.Evaluated(response.evaluation());
}

void Workload::LookAtEvaluations(const Ledger::VersionId& version) {
  v1::GetModelRequest request;
  request.mutable_model()->set_name(version.first);
  request.mutable_model()->set_version(version.second);
  v1::Model model;
  const absl::Status status =
      Call([this](auto* c, const auto& q, auto* r) { return models_->GetModel(c, q, r); }, request,
           model);
  if (status.ok()) {
    data_.Shown(version, {model.evaluations().begin(), model.evaluations().end()});
  }
}

void Workload::DoSomethingWithData() {
  constexpr size_t kMostDatasets = 8;
  const auto versions = ledger_.versions();
  if (!versions.empty() && Below(random_, 2) == 0) {
    Evaluate(
        std::next(versions.begin(), static_cast<int64_t>(Below(random_, versions.size())))->first);
    return;
  }
  const std::vector<std::string> datasets = data_.datasets();
  if (datasets.size() >= kMostDatasets || (!datasets.empty() && Below(random_, 4) == 0)) {
    Delete(datasets[Below(random_, datasets.size())]);
  } else {
    Upload();
  }
}

void Workload::Send(const std::string& request_id) {
  v1::Job job;
  const uint64_t asked_at = ledger_.Now();
  const absl::Status status =
      Call([this](auto* c, const auto& q, auto* r) { return jobs_->Train(c, q, r); },
           ledger_.Request(request_id), job);
  if (status.ok()) {
    ledger_.Accepted(request_id, job, asked_at);
    if (!HasEnded(job.state())) Watch(job.id());
  } else if (absl::IsFailedPrecondition(status)) {
    ledger_.Fault(absl::StrCat("request ", request_id, " was refused: ", status.ToString()));
  }
}

std::string Workload::Submit(size_t kind) {
  // Unique over all lives: a request is sent anew only once the one before is in the ledger.
  const std::string id = absl::StrCat("request-", ledger_.requests() + 1);
  ledger_.Sent(id, kind);
  Send(id);
  return id;
}

void Workload::Look(const std::string& id) {
  v1::GetJobRequest request;
  request.set_id(id);
  v1::Job job;
  const uint64_t asked_at = ledger_.Now();
  const absl::Status status = Call(
      [this](auto* c, const auto& q, auto* r) { return jobs_->GetJob(c, q, r); }, request, job);
  if (status.ok()) ledger_.Shown(job, true, asked_at);
}

void Workload::LookAtAll() {
  std::vector<std::string> missing = ledger_.live();
  for (const std::string& id : ledger_.ended()) missing.push_back(id);
  std::sort(missing.begin(), missing.end());
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  do {
    v1::ListJobsResponse response;
    const uint64_t asked_at = ledger_.Now();
    const absl::Status status =
        Call([this](auto* c, const auto& q, auto* r) { return jobs_->ListJobs(c, q, r); }, request,
             response);
    if (!status.ok()) return;
    for (const v1::Job& job : response.jobs()) {
      ledger_.Shown(job, false, asked_at);
      const auto found = std::lower_bound(missing.begin(), missing.end(), job.id());
      if (found != missing.end() && *found == job.id()) missing.erase(found);
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  for (const std::string& id : missing) ledger_.Fault(absl::StrCat("job ", id, " is lost"));
}

void Workload::CompareWithLedger(bool all) {
  for (const auto& [request_id, kind] : ledger_.unanswered()) {
    if (ok_) Send(request_id);
  }
  if (ok_) LookAtAll();
  for (const std::string& id : ledger_.live()) {
    if (ok_) Look(id);
    if (ok_) Watch(id);
  }
  std::vector<std::string> ended = ledger_.ended();
  if (!all) {
    std::shuffle(ended.begin(), ended.end(), random_);
    ended.resize(std::min<size_t>(ended.size(), 10));
  }
  for (const std::string& id : ended) {
    if (ok_) Look(id);
    // A client that never saw the answer, or forgot it.
    if (ok_ && (all || Below(random_, 3) == 0)) Send(ledger_.ARequestId(id));
  }
  if (ok_) LookAtVersions();
  if (ok_) LookAtDatasets();
  std::vector<Ledger::VersionId> evaluated = data_.evaluated();
  if (!all) {
    std::shuffle(evaluated.begin(), evaluated.end(), random_);
    evaluated.resize(std::min<size_t>(evaluated.size(), 5));
  }
  for (const Ledger::VersionId& version : evaluated) {
    if (ok_) LookAtEvaluations(version);
  }
}

void Workload::LookAtVersions() {
  auto missing = ledger_.versions();
  v1::ListModelsRequest request;
  request.set_page_size(1000);
  do {
    v1::ListModelsResponse response;
    const absl::Status status =
        Call([this](auto* c, const auto& q, auto* r) { return models_->ListModels(c, q, r); },
             request, response);
    if (!status.ok()) return;
    for (const v1::Model& model : response.models()) {
      const v1::ModelVersion& version = model.card().model();
      missing.erase({version.name(), version.version()});
      ledger_.ShownVersion(version, model.card().job_id());
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  for (const auto& [id, version] : missing) {
    ledger_.Fault(absl::StrCat("version ", id.first, ":", id.second, " is lost"));
  }
}

void Workload::CheckCheckpoints(const std::string& state) {
  const absl::Time end = absl::Now() + absl::Seconds(10);
  for (;;) {
    // A job that has just ended may still have its own for a moment.
    std::string stray;
    for (const auto& [id, newest] : NewestCheckpoints(state)) {
      if (!ok_) return;
      if (!ledger_.Known(id)) continue;  // the answer to its request is still to come
      Look(id);
      if (HasEnded(ledger_.State(id))) stray = id;
    }
    if (stray.empty() || !ok_) return;
    if (absl::Now() > end) {
      ledger_.Fault(absl::StrCat("job ", stray, " has ended and still has checkpoints"));
      return;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

void Workload::Act(const std::string& id, Ledger::Action action) {
  absl::Status status;
  v1::Job job;
  const auto call = [&](auto request, const auto& method) {
    request.set_id(id);
    status = Call(method, request, job);
  };
  const int32_t priority = static_cast<int32_t>(Below(random_, 21)) - 10;
  ledger_.Asked(id, action, priority);
  const uint64_t asked_at = ledger_.Now();
  switch (action) {
    case Ledger::Action::kPause:
      call(v1::PauseJobRequest(),
           [this](auto* c, const auto& q, auto* r) { return jobs_->PauseJob(c, q, r); });
      break;
    case Ledger::Action::kResume:
      call(v1::ResumeJobRequest(),
           [this](auto* c, const auto& q, auto* r) { return jobs_->ResumeJob(c, q, r); });
      break;
    case Ledger::Action::kCancel:
      call(v1::CancelJobRequest(),
           [this](auto* c, const auto& q, auto* r) { return jobs_->CancelJob(c, q, r); });
      break;
    case Ledger::Action::kPriority: {
      v1::UpdateJobRequest request;
      request.set_priority(priority);
      call(request, [this](auto* c, const auto& q, auto* r) { return jobs_->UpdateJob(c, q, r); });
      break;
    }
  }
  if (!status.ok() && !absl::IsFailedPrecondition(status)) return;
  ledger_.Answered(id, action, status);
  if (status.ok()) ledger_.Shown(job, true, asked_at);
}

void Workload::DoSomething(size_t most_live) {
  if (Below(random_, 8) == 0) return DoSomethingWithData();
  const std::vector<std::string> live = ledger_.live();
  if (live.size() < most_live) {
    // The last kind takes longer than the others together, and would keep them from running.
    const size_t kind = Below(random_, 4 * ledger_.kinds());
    Submit(kind < ledger_.kinds() ? kind : kind % (ledger_.kinds() - 1));
    return;
  }
  if (live.empty()) return;
  const std::string& id = live[Below(random_, live.size())];
  const size_t dice = Below(random_, 100);
  if (dice < 6) {
    Act(id, Ledger::Action::kPause);
  } else if (dice < 7) {
    Act(id, Ledger::Action::kCancel);
  } else if (dice < 12) {
    Act(id, Ledger::Action::kPriority);
  } else if (dice < 40 && ledger_.State(id) == v1::JOB_STATE_PAUSED) {
    Act(id, Ledger::Action::kResume);
  } else if (dice < 45) {
    LookAtVersions();
  } else if (dice < 50) {
    Send(ledger_.ARequestId(id));
  } else {
    Look(id);
  }
}

bool Workload::FinishAll(absl::Duration patience) {
  const absl::Time end = absl::Now() + patience;
  while (ok_ && absl::Now() < end) {
    const std::vector<std::string> live = ledger_.live();
    if (live.empty()) return true;
    for (const std::string& id : live) {
      if (ok_) Look(id);
      if (ok_ && ledger_.State(id) == v1::JOB_STATE_PAUSED) Act(id, Ledger::Action::kResume);
    }
    life_.AwaitEnd(absl::Milliseconds(50));
  }
  return false;
}

void Workload::Watch(const std::string& id) {
  constexpr size_t kMostWatches = 40;
  if (watches_.size() >= kMostWatches) return;
  grpc::ClientContext& context = watch_contexts_.emplace_back();
  context.set_deadline(Deadline());
  watches_.emplace_back([this, id, &context] {
    v1::WatchJobRequest request;
    request.set_id(id);
    const std::unique_ptr<grpc::ClientReader<v1::JobEvent>> reader =
        jobs_->WatchJob(&context, request);
    for (v1::JobEvent event; reader->Read(&event);) ledger_.Watched(event, id);
    // Its end is the server's or the watch's own; both are looked at elsewhere.
    reader->Finish();
  });
}

}  // namespace convd
