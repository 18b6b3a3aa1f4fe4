#ifndef CONVD_CLIENT_CLIENT_H_
#define CONVD_CLIENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cancellation.h"
#include "convd/v1/datasets.pb.h"
#include "convd/v1/evaluator.pb.h"
#include "convd/v1/jobs.pb.h"
#include "convd/v1/models.pb.h"
#include "convd/v1/predictor.pb.h"

namespace convd {

struct ClientOptions {
  // How long Connect waits for a server that doesn't answer; a refused connection fails at once.
  absl::Duration connect_timeout = absl::Seconds(10);
  // Of each call. Zero: 30 s, or an hour for what computes or reads data (registering, uploading,
  // evaluating, explaining, predicting), and no limit for Watch.
  absl::Duration timeout = absl::ZeroDuration();
  // Sent with every call; empty: none. Without TLS everyone on the way can read and use it, so
  // Connect refuses to send it beyond this machine unless insecure_token says that the network is
  // trusted.
  std::string token;
  bool insecure_token = false;
  // TLS, for servers with --tls-cert; the rest are PEM texts. An empty tls_ca stands for the
  // authorities that this machine trusts; the other two are for servers with --tls-client-ca.
  // Without TLS, which https:// before the address begins, too, they are an error.
  bool tls = false;
  std::string tls_ca, tls_certificate, tls_key;
  // The longest message either way. The server has a limit of its own.
  int max_message_bytes = 256 << 20;
  // While a call runs and nothing comes: how long until the server is pinged, and how long it may
  // take to answer before the call is UNAVAILABLE. Often enough for routers to remember a quiet
  // watch's connection; convd allows six times as many.
  absl::Duration keepalive_interval = absl::Seconds(60);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  // Watch, and uploads with an id: how long a lost server is tried for again, and the pauses
  // between (doubled each time).
  absl::Duration reconnect_timeout = absl::Seconds(60);
  absl::Duration first_pause = absl::Milliseconds(100);
  absl::Duration longest_pause = absl::Seconds(5);
};

// A file to upload: the plain name it bears there, and where it lies here.
struct LocalFile {
  std::string name;
  std::string path;
};

// What UploadDataset tells as it goes, on the calling thread; each may be empty.
struct UploadEvents {
  std::function<void(int64_t sent, int64_t total)> on_progress;  // bytes, with those from before
  // Before the rest is sent, where something is there already, also after each loss.
  std::function<void(int64_t there, int64_t total)> on_resumed;
  // Once each time the server is lost, before it is tried for again.
  std::function<void()> on_lost;
};

// How much of a PredictStream is kept under way, from a request's making until its answer is handed
// on. One request may be larger than all.
struct PredictStreamOptions {
  int in_flight = 32;  // requests; at least 1
  int64_t bytes = int64_t{16} << 20;
};
using NextRequest = absl::FunctionRef<absl::StatusOr<std::optional<v1::PredictRequest>>()>;
using OnAnswer = absl::FunctionRef<absl::Status(absl::StatusOr<v1::PredictResponse>)>;

enum class Health { kServing, kNotServing, kUnknown };

// A connection to one convd server. Calls block and return the server's code and message; on top of
// those: UNAVAILABLE where the server can't be reached, was lost or ended the call in stopping,
// DEADLINE_EXCEEDED past the timeout. Any thread may call, several at once.
class Client {
 public:
  // `address` is HOST:PORT, [IPV6]:PORT or unix:PATH, the first two with https:// before them for
  // TLS; INVALID_ARGUMENT for another form,
  // UNAVAILABLE where nothing answers there, DEADLINE_EXCEEDED where it doesn't within
  // options.timeout, if that is the shorter one.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ClientOptions& options = {});
  virtual ~Client() = default;

  // Of the server as a whole, or of one of its services by its full name, such as convd.v1.Jobs;
  // NOT_FOUND where it has no such service.
  virtual absl::StatusOr<Health> CheckHealth(const std::string& service = "") = 0;

  virtual absl::StatusOr<v1::Job> Train(const v1::TrainRequest& request) = 0;
  virtual absl::StatusOr<v1::Job> GetJob(const std::string& id) = 0;
  // Newest first, at most `limit` (0: all).
  virtual absl::StatusOr<std::vector<v1::Job>> ListJobs(int64_t limit = 0) = 0;
  virtual absl::StatusOr<v1::Job> CancelJob(const std::string& id) = 0;
  virtual absl::StatusOr<v1::Job> PauseJob(const std::string& id) = 0;
  virtual absl::StatusOr<v1::Job> ResumeJob(const std::string& id,
                                            bool allow_different_bits = false) = 0;
  virtual absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request) = 0;

  // Follows a job until it has ended, and returns it whole. `on_event` runs on the calling thread:
  // the job first and at each change of state, progress as it comes, each epoch record after
  // `after_epoch` exactly once and in order, also across lost connections, which it makes again by
  // itself, and across ends of the server; the ended job last. `on_lost` runs there, too, once each
  // time the server is lost, before it is tried for again. CANCELLED by `cancellation`, UNAVAILABLE
  // when the server stays away.
  virtual absl::StatusOr<v1::Job> Watch(const std::string& id,
                                        absl::FunctionRef<void(const v1::JobEvent&)> on_event,
                                        Cancellation* cancellation = nullptr,
                                        int64_t after_epoch = 0,
                                        const std::function<void()>& on_lost = nullptr) = 0;

  virtual absl::StatusOr<v1::EvaluateResponse> Evaluate(const v1::EvaluateRequest& request) = 0;
  virtual absl::StatusOr<v1::PredictResponse> Predict(const v1::PredictRequest& request) = 0;
  // Predicts for what `next` returns, until that is nothing, over one stream. `on_answer` gets each
  // request's answer or error, in the order of the requests. Both run on the calling thread, and an
  // error of theirs ends the call and is returned. What is RESOURCE_EXHAUSTED is sent again, with
  // growing pauses, for options.reconnect_timeout. The call itself has no limit of time unless
  // options.timeout is set. CANCELLED by `cancellation`.
  virtual absl::Status PredictStream(NextRequest next, OnAnswer on_answer,
                                     const PredictStreamOptions& options = {},
                                     Cancellation* cancellation = nullptr) = 0;

  virtual absl::StatusOr<v1::Dataset> RegisterDataset(
      const v1::RegisterDatasetRequest& request) = 0;
  // Sends the files in chunks of 1 MiB. NOT_FOUND, with nothing sent, where one can't be opened.
  // With a header.upload_id it sends only what isn't there of an earlier upload with the same id,
  // or all where that one's bytes are others; makes lost connections again by itself; and after an
  // error, or CANCELLED by `cancellation`, can mostly be gone on with by the same call. UNAVAILABLE
  // when the server stays away; ABORTED where another call with the same id took over.
  virtual absl::StatusOr<v1::Dataset> UploadDataset(const v1::UploadHeader& header,
                                                    const std::vector<LocalFile>& files,
                                                    const UploadEvents& events = {},
                                                    Cancellation* cancellation = nullptr) = 0;
  // What waits at the server to be gone on with, by upload_id.
  virtual absl::StatusOr<std::vector<v1::Upload>> ListUploads() = 0;
  virtual absl::Status DeleteUpload(const std::string& upload_id) = 0;
  virtual absl::StatusOr<std::vector<v1::Dataset>> ListDatasets() = 0;  // by name
  virtual absl::StatusOr<v1::Dataset> GetDataset(const std::string& name) = 0;
  // At most 64 of a split's images, and as many as fit into an answer (datasets.proto).
  virtual absl::StatusOr<v1::GetSamplesResponse> GetSamples(
      const v1::GetSamplesRequest& request) = 0;
  virtual absl::Status DeleteDataset(const std::string& name) = 0;

  // By name, newest version first; all names where `name` is empty. Then those that are damaged,
  // with their `damage`.
  virtual absl::StatusOr<std::vector<v1::Model>> ListModels(const std::string& name = "") = 0;
  virtual absl::StatusOr<v1::Model> GetModel(const v1::ModelVersion& model) = 0;
  virtual absl::StatusOr<v1::ExplainModelResponse> ExplainModel(
      const v1::ExplainModelRequest& request) = 0;

  virtual absl::StatusOr<v1::ModelPolicy> GetModelPolicy(const std::string& name) = 0;
  virtual absl::StatusOr<v1::ModelPolicy> UpdateModelPolicy(
      const v1::UpdateModelPolicyRequest& request) = 0;
  virtual absl::StatusOr<v1::ModelPolicy> MoveLabel(const v1::MoveLabelRequest& request) = 0;
  virtual absl::StatusOr<v1::ModelPolicy> RollBackLabel(const std::string& name,
                                                        const std::string& label) = 0;
  virtual absl::StatusOr<v1::ModelPolicy> RemoveLabel(const std::string& name,
                                                      const std::string& label) = 0;
  virtual absl::StatusOr<v1::LoadModelResponse> LoadModel(const v1::LoadModelRequest& request) = 0;
  virtual absl::Status UnloadModel(const v1::ModelVersion& model) = 0;
  virtual absl::Status DeleteModel(const v1::ModelVersion& model) = 0;
  // Hands the archive to `sink`, piece by piece; an error of the sink ends the call and is
  // returned.
  virtual absl::Status ExportModel(const v1::ModelVersion& model,
                                   absl::FunctionRef<absl::Status(std::string_view)> sink) = 0;
  // The same for the version's ONNX file.
  virtual absl::Status ExportOnnx(const v1::ExportOnnxRequest& request,
                                  absl::FunctionRef<absl::Status(std::string_view)> sink) = 0;
  // Sends what `source` returns, until that is empty; an error of it ends the call and is returned.
  virtual absl::StatusOr<v1::Model> ImportModel(
      const v1::ImportHeader& header, absl::FunctionRef<absl::StatusOr<std::string>()> source) = 0;
};

}  // namespace convd

#endif  // CONVD_CLIENT_CLIENT_H_
