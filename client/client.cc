#include "client/client.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/channel.h"
#include "client/grpc_call.h"
#include "client/predict_stream_call.h"
#include "client/upload_call.h"
#include "client/watched_job.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "convd/v1/evaluator.grpc.pb.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "convd/v1/models.grpc.pb.h"
#include "convd/v1/predictor.grpc.pb.h"
#include "core/names/text_fields.h"
#include "core/status/status_macros.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace convd {
namespace {

constexpr absl::Duration kShortCall = absl::Seconds(30);
constexpr absl::Duration kLongCall = absl::Hours(1);

class GrpcClient final : public Client {
 public:
  GrpcClient(std::string address, const ClientOptions& options,
             const std::shared_ptr<grpc::Channel>& channel)
      : address_(std::move(address)),
        options_(options),
        health_(grpc::health::v1::Health::NewStub(channel)),
        jobs_(v1::Jobs::NewStub(channel)),
        datasets_(v1::Datasets::NewStub(channel)),
        models_(v1::Models::NewStub(channel)),
        evaluator_(v1::Evaluator::NewStub(channel)),
        predictor_(v1::Predictor::NewStub(channel)) {}

  absl::StatusOr<Health> CheckHealth(const std::string& service) override {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    CONVD_ASSIGN_OR_RETURN(
        const grpc::health::v1::HealthCheckResponse response,
        Call(*health_, &grpc::health::v1::Health::Stub::Check, request, kShortCall));
    switch (response.status()) {
      case grpc::health::v1::HealthCheckResponse::SERVING:
        return Health::kServing;
      case grpc::health::v1::HealthCheckResponse::NOT_SERVING:
        return Health::kNotServing;
      default:
        return Health::kUnknown;
    }
  }

  absl::StatusOr<v1::Job> Train(const v1::TrainRequest& request) override {
    return Call(*jobs_, &v1::Jobs::Stub::Train, request, kShortCall);
  }

  absl::StatusOr<v1::Job> GetJob(const std::string& id) override {
    v1::GetJobRequest request;
    request.set_id(id);
    return Call(*jobs_, &v1::Jobs::Stub::GetJob, request, kShortCall);
  }

  absl::StatusOr<std::vector<v1::Job>> ListJobs(int64_t limit) override {
    return List<v1::Job>(*jobs_, &v1::Jobs::Stub::ListJobs, v1::ListJobsRequest(), limit,
                         [](auto& page) { return page.mutable_jobs(); });
  }

  absl::StatusOr<v1::Job> CancelJob(const std::string& id) override {
    v1::CancelJobRequest request;
    request.set_id(id);
    return Call(*jobs_, &v1::Jobs::Stub::CancelJob, request, kShortCall);
  }

  absl::StatusOr<v1::Job> PauseJob(const std::string& id) override {
    v1::PauseJobRequest request;
    request.set_id(id);
    return Call(*jobs_, &v1::Jobs::Stub::PauseJob, request, kShortCall);
  }

  absl::StatusOr<v1::Job> ResumeJob(const std::string& id, bool allow_different_bits) override {
    v1::ResumeJobRequest request;
    request.set_id(id);
    request.set_allow_different_bits(allow_different_bits);
    return Call(*jobs_, &v1::Jobs::Stub::ResumeJob, request, kShortCall);
  }

  absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request) override {
    return Call(*jobs_, &v1::Jobs::Stub::UpdateJob, request, kShortCall);
  }

  absl::StatusOr<v1::Job> Watch(const std::string& id,
                                absl::FunctionRef<void(const v1::JobEvent&)> on_event,
                                Cancellation* cancellation, int64_t after_epoch,
                                const std::function<void()>& on_lost) override;

  absl::StatusOr<v1::EvaluateResponse> Evaluate(const v1::EvaluateRequest& request) override {
    return Call(*evaluator_, &v1::Evaluator::Stub::Evaluate, request, kLongCall);
  }

  absl::StatusOr<v1::PredictResponse> Predict(const v1::PredictRequest& request) override {
    return Call(*predictor_, &v1::Predictor::Stub::Predict, request, kLongCall);
  }

  absl::Status PredictStream(NextRequest next, OnAnswer on_answer,
                             const PredictStreamOptions& options,
                             Cancellation* cancellation) override;

  absl::StatusOr<v1::Dataset> RegisterDataset(const v1::RegisterDatasetRequest& request) override {
    return Call(*datasets_, &v1::Datasets::Stub::RegisterDataset, request, kLongCall);
  }

  absl::StatusOr<v1::Dataset> UploadDataset(const v1::UploadHeader& header,
                                            const std::vector<LocalFile>& files,
                                            const UploadEvents& events,
                                            Cancellation* cancellation) override;

  absl::StatusOr<std::vector<v1::Upload>> ListUploads() override {
    CONVD_ASSIGN_OR_RETURN(
        v1::ListUploadsResponse response,
        Call(*datasets_, &v1::Datasets::Stub::ListUploads, v1::ListUploadsRequest(), kShortCall));
    return std::vector<v1::Upload>(std::make_move_iterator(response.mutable_uploads()->begin()),
                                   std::make_move_iterator(response.mutable_uploads()->end()));
  }

  absl::Status DeleteUpload(const std::string& upload_id) override {
    v1::DeleteUploadRequest request;
    request.set_upload_id(upload_id);
    return Call(*datasets_, &v1::Datasets::Stub::DeleteUpload, request, kShortCall).status();
  }

  absl::StatusOr<std::vector<v1::Dataset>> ListDatasets() override {
    return List<v1::Dataset>(*datasets_, &v1::Datasets::Stub::ListDatasets,
                             v1::ListDatasetsRequest(), 0,
                             [](auto& page) { return page.mutable_datasets(); });
  }

  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name) override {
    v1::GetDatasetRequest request;
    request.set_name(name);
    return Call(*datasets_, &v1::Datasets::Stub::GetDataset, request, kShortCall);
  }

  absl::StatusOr<v1::GetSamplesResponse> GetSamples(const v1::GetSamplesRequest& request) override {
    return Call(*datasets_, &v1::Datasets::Stub::GetSamples, request, kShortCall);
  }

  absl::Status DeleteDataset(const std::string& name) override {
    v1::DeleteDatasetRequest request;
    request.set_name(name);
    return Call(*datasets_, &v1::Datasets::Stub::DeleteDataset, request, kShortCall).status();
  }

  absl::StatusOr<std::vector<v1::Model>> ListModels(const std::string& name) override {
    v1::ListModelsRequest request;
    request.set_name(name);
    std::vector<v1::Model> damaged;
    CONVD_ASSIGN_OR_RETURN(
        std::vector<v1::Model> models,
        List<v1::Model>(*models_, &v1::Models::Stub::ListModels, request, 0, [&](auto& page) {
          damaged.insert(damaged.end(), page.damaged().begin(), page.damaged().end());
          return page.mutable_models();
        }));
    models.insert(models.end(), damaged.begin(), damaged.end());
    return models;
  }

  absl::StatusOr<v1::Model> GetModel(const v1::ModelVersion& model) override {
    v1::GetModelRequest request;
    *request.mutable_model() = model;
    return Call(*models_, &v1::Models::Stub::GetModel, request, kShortCall);
  }

  absl::StatusOr<v1::ExplainModelResponse> ExplainModel(
      const v1::ExplainModelRequest& request) override {
    return Call(*models_, &v1::Models::Stub::ExplainModel, request, kLongCall);
  }

  absl::StatusOr<v1::ModelPolicy> GetModelPolicy(const std::string& name) override {
    v1::GetModelPolicyRequest request;
    request.set_name(name);
    return Call(*models_, &v1::Models::Stub::GetModelPolicy, request, kShortCall);
  }

  absl::StatusOr<v1::ModelPolicy> UpdateModelPolicy(
      const v1::UpdateModelPolicyRequest& request) override {
    return Call(*models_, &v1::Models::Stub::UpdateModelPolicy, request, kShortCall);
  }

  absl::StatusOr<v1::ModelPolicy> MoveLabel(const v1::MoveLabelRequest& request) override {
    return Call(*models_, &v1::Models::Stub::MoveLabel, request, kShortCall);
  }

  absl::StatusOr<v1::ModelPolicy> RollBackLabel(const std::string& name,
                                                const std::string& label) override {
    v1::RollBackLabelRequest request;
    request.set_name(name);
    request.set_label(label);
    return Call(*models_, &v1::Models::Stub::RollBackLabel, request, kShortCall);
  }

  absl::StatusOr<v1::ModelPolicy> RemoveLabel(const std::string& name,
                                              const std::string& label) override {
    v1::RemoveLabelRequest request;
    request.set_name(name);
    request.set_label(label);
    return Call(*models_, &v1::Models::Stub::RemoveLabel, request, kShortCall);
  }

  absl::StatusOr<v1::LoadModelResponse> LoadModel(const v1::LoadModelRequest& request) override {
    return Call(*models_, &v1::Models::Stub::LoadModel, request, kLongCall);
  }

  absl::Status UnloadModel(const v1::ModelVersion& model) override {
    v1::UnloadModelRequest request;
    *request.mutable_model() = model;
    return Call(*models_, &v1::Models::Stub::UnloadModel, request, kShortCall).status();
  }

  absl::Status DeleteModel(const v1::ModelVersion& model) override {
    v1::DeleteModelRequest request;
    *request.mutable_model() = model;
    return Call(*models_, &v1::Models::Stub::DeleteModel, request, kShortCall).status();
  }

  absl::Status ExportModel(const v1::ModelVersion& model,
                           absl::FunctionRef<absl::Status(std::string_view)> sink) override {
    v1::ExportModelRequest request;
    *request.mutable_model() = model;
    return Receive(&v1::Models::Stub::ExportModel, request, sink);
  }
  absl::Status ExportOnnx(const v1::ExportOnnxRequest& request,
                          absl::FunctionRef<absl::Status(std::string_view)> sink) override {
    return Receive(&v1::Models::Stub::ExportOnnx, request, sink);
  }
  absl::StatusOr<v1::Model> ImportModel(
      const v1::ImportHeader& header,
      absl::FunctionRef<absl::StatusOr<std::string>()> source) override;

 private:
  absl::Duration Timeout(absl::Duration usual) const {
    return options_.timeout > absl::ZeroDuration() ? options_.timeout : usual;
  }

  // Waits until the server answers, whatever it says, or until `end`. gRPC makes a lost connection
  // again only while some call waits for it; between calls it looks at its sockets each 5 s.
  void AwaitServer(Cancellation& cancellation, absl::Time end) const {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    SetTimeout(context, end - absl::Now());
    const Cancellation::Attachment attachment(&cancellation, &context);
    grpc::health::v1::HealthCheckResponse response;
    (void)health_->Check(&context, {}, &response);
  }

  // gRPC's own words for a lost connection speak of sockets; the address is what users know.
  absl::Status Explain(const grpc::Status& status) const {
    absl::Status explained = FromGrpcStatus(status);
    // Not by us: gRPC cancels what arrives in the moment in which a server stops.
    if (absl::IsCancelled(explained)) {
      explained = absl::UnavailableError("the server ended the call; it is stopping");
    }
    if (!absl::IsUnavailable(explained)) return explained;
    return absl::UnavailableError(absl::StrCat("convd at ", address_, ": ", explained.message()));
  }

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, absl::Duration timeout) const {
    CONVD_RETURN_IF_ERROR(CheckTextFields(request));
    grpc::ClientContext context;
    SetTimeout(context, Timeout(timeout));
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

  // Hands what an export streams to `sink`.
  template <typename Request>
  absl::Status Receive(std::unique_ptr<grpc::ClientReader<v1::ExportModelResponse>> (
                           v1::Models::Stub::*method)(grpc::ClientContext*, const Request&),
                       const Request& request,
                       absl::FunctionRef<absl::Status(std::string_view)> sink);

  // All pages, or as many as `limit` (0: none) asks for.
  template <typename Item, typename Stub, typename Request, typename Response, typename Items>
  absl::StatusOr<std::vector<Item>> List(Stub& stub,
                                         grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                      const Request&, Response*),
                                         Request request, int64_t limit, Items items) const {
    std::vector<Item> all;
    std::set<std::string> seen;
    do {
      const int64_t wanted = limit == 0 ? 1000 : limit - static_cast<int64_t>(all.size());
      request.set_page_size(static_cast<int32_t>(std::min<int64_t>(wanted, 1000)));
      CONVD_ASSIGN_OR_RETURN(Response page, Call(stub, method, request, kShortCall));
      for (Item& item : *items(page)) {
        if (limit != 0 && static_cast<int64_t>(all.size()) >= limit) return all;
        all.push_back(std::move(item));
      }
      request.set_page_token(page.next_page_token());
      // A server that turns in circles would never let go.
      if (!seen.insert(page.next_page_token()).second) {
        return absl::InternalError("the server's list names the same next page twice");
      }
    } while (!request.page_token().empty() &&
             (limit == 0 || static_cast<int64_t>(all.size()) < limit));
    return all;
  }

  const std::string address_;
  const ClientOptions options_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  const std::unique_ptr<v1::Jobs::Stub> jobs_;
  const std::unique_ptr<v1::Datasets::Stub> datasets_;
  const std::unique_ptr<v1::Models::Stub> models_;
  const std::unique_ptr<v1::Evaluator::Stub> evaluator_;
  const std::unique_ptr<v1::Predictor::Stub> predictor_;
};

absl::StatusOr<v1::Job> GrpcClient::Watch(const std::string& id,
                                          absl::FunctionRef<void(const v1::JobEvent&)> on_event,
                                          Cancellation* cancellation, int64_t after_epoch,
                                          const std::function<void()>& on_lost) {
  Cancellation none;
  if (cancellation == nullptr) cancellation = &none;
  const absl::Time end = options_.timeout > absl::ZeroDuration() ? absl::Now() + options_.timeout
                                                                 : absl::InfiniteFuture();
  WatchedJob watch(after_epoch);
  absl::Duration pause = options_.first_pause;
  absl::Time lost = absl::InfiniteFuture();  // when the server was last heard of, while it is away
  for (;;) {
    grpc::ClientContext context;
    SetTimeout(context, end - absl::Now());
    const Cancellation::Attachment attachment(cancellation, &context);
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_after_epoch(watch.last_epoch());
    CONVD_RETURN_IF_ERROR(CheckTextFields(request));
    const auto reader = jobs_->WatchJob(&context, request);
    v1::JobEvent event;
    while (reader->Read(&event)) {
      lost = absl::InfiniteFuture();
      pause = options_.first_pause;
      watch.Take(event, on_event);
    }
    const grpc::Status grpc_status = reader->Finish();
    if (watch.ended()) return watch.job();
    if (cancellation->cancelled()) return absl::CancelledError("stopped watching");
    // A stream that ends well before the job has is lost like any other.
    absl::Status status =
        grpc_status.ok()
            ? absl::UnavailableError(absl::StrCat("convd at ", address_, " ended the watch"))
            : Explain(grpc_status);
    if (status.code() != absl::StatusCode::kUnavailable || !watch.begun()) return status;
    if (lost == absl::InfiniteFuture()) {
      lost = absl::Now();
      if (on_lost) on_lost();
    }
    if (absl::Now() - lost >= options_.reconnect_timeout) return status;
    if (cancellation->WaitFor(std::min(pause, end - absl::Now()))) {
      return absl::CancelledError("stopped watching");
    }
    pause = std::min(2 * pause, options_.longest_pause);
    AwaitServer(*cancellation, std::min(end, lost + options_.reconnect_timeout));
  }
}

absl::Status GrpcClient::PredictStream(NextRequest next, OnAnswer on_answer,
                                       const PredictStreamOptions& options,
                                       Cancellation* cancellation) {
  grpc::ClientContext context;
  SetTimeout(context, Timeout(absl::InfiniteDuration()));
  const Cancellation::Attachment attachment(cancellation, &context);
  const auto stream = predictor_->PredictStream(&context);
  PredictStreamCall call(*stream, options_, options, next, on_answer);
  std::thread reader([&call] { call.Read(); });
  const absl::Status status = call.Run();
  if (status.ok()) {
    stream->WritesDone();
  } else {
    context.TryCancel();
  }
  reader.join();
  const grpc::Status ended = stream->Finish();
  if (!status.ok()) return status;
  if (cancellation != nullptr && cancellation->cancelled()) {
    return absl::CancelledError("stopped predicting");
  }
  if (!ended.ok()) return Explain(ended);
  if (!call.all_answered()) {
    return absl::InternalError("the server ended the stream before all was answered");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Dataset> GrpcClient::UploadDataset(const v1::UploadHeader& header,
                                                      const std::vector<LocalFile>& files,
                                                      const UploadEvents& events,
                                                      Cancellation* cancellation) {
  Cancellation none;
  if (cancellation == nullptr) cancellation = &none;
  const UploadConnection connection = {
      *datasets_, options_, Timeout(kLongCall),
      [this](const grpc::Status& status) { return Explain(status); },
      [this](Cancellation& until, absl::Time end) { AwaitServer(until, end); }};
  return UploadCall(connection, header, files, events, *cancellation).Run();
}

template <typename Request>
absl::Status GrpcClient::Receive(std::unique_ptr<grpc::ClientReader<v1::ExportModelResponse>> (
                                     v1::Models::Stub::*method)(grpc::ClientContext*,
                                                                const Request&),
                                 const Request& request,
                                 absl::FunctionRef<absl::Status(std::string_view)> sink) {
  CONVD_RETURN_IF_ERROR(CheckTextFields(request));
  grpc::ClientContext context;
  SetTimeout(context, Timeout(kLongCall));
  const auto reader = (*models_.*method)(&context, request);
  v1::ExportModelResponse response;
  while (reader->Read(&response)) {
    if (absl::Status status = sink(response.data()); !status.ok()) {
      context.TryCancel();
      (void)reader->Finish();  // CANCELLED, by us
      return status;
    }
  }
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : Explain(status);
}

absl::StatusOr<v1::Model> GrpcClient::ImportModel(
    const v1::ImportHeader& header, absl::FunctionRef<absl::StatusOr<std::string>()> source) {
  CONVD_RETURN_IF_ERROR(CheckTextFields(header));
  grpc::ClientContext context;
  SetTimeout(context, Timeout(kLongCall));
  v1::Model model;
  const auto writer = models_->ImportModel(&context, &model);
  v1::ImportModelRequest request;
  *request.mutable_header() = header;
  while (writer->Write(request)) {
    absl::StatusOr<std::string> data = source();
    if (!data.ok()) {
      context.TryCancel();
      (void)writer->Finish();  // CANCELLED, by us
      return data.status();
    }
    if (data->empty()) break;
    *request.mutable_data() = *std::move(data);
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return Explain(status);
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        const ClientOptions& options) {
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                         ConnectChannel(address, options));
  return std::make_unique<GrpcClient>(address, options, channel);
}

}  // namespace convd
