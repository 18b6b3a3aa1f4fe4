#ifndef CONVD_SERVER_RPC_DATASETS_SERVICE_H_
#define CONVD_SERVER_RPC_DATASETS_SERVICE_H_

#include "absl/status/status.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "server/datasets/registry.h"
#include "server/predict/blocking_calls.h"

namespace convd {

// convd.v1.Datasets. What reads or writes files runs on threads of the service, so that gRPC's own
// are never kept waiting. A caller that gives up before its turn has changed nothing; once a
// dataset is being read it is registered to the end. The registry outlives the service, and the
// gRPC server is gone before it.
class DatasetsService final : public v1::Datasets::CallbackService {
 public:
  // `check_unused` says of a name why it can't be deleted now; on any thread.
  using CheckUnused = std::function<absl::Status(const std::string&)>;
  explicit DatasetsService(
      DatasetRegistry& datasets,
      CheckUnused check_unused = [](const std::string&) { return absl::OkStatus(); });

  grpc::ServerUnaryReactor* RegisterDataset(grpc::CallbackServerContext* context,
                                            const v1::RegisterDatasetRequest* request,
                                            v1::Dataset* response) override;
  // Answers at the first error, without waiting for the rest of the stream.
  grpc::ServerReadReactor<v1::UploadDatasetRequest>* UploadDataset(
      grpc::CallbackServerContext* context, v1::Dataset* response) override;
  grpc::ServerUnaryReactor* GetUpload(grpc::CallbackServerContext* context,
                                      const v1::GetUploadRequest* request,
                                      v1::Upload* response) override;
  grpc::ServerUnaryReactor* ListUploads(grpc::CallbackServerContext* context,
                                        const v1::ListUploadsRequest* request,
                                        v1::ListUploadsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteUpload(grpc::CallbackServerContext* context,
                                         const v1::DeleteUploadRequest* request,
                                         v1::DeleteUploadResponse* response) override;
  // A page ends at page_size datasets or about a megabyte. Its token names the last one shown, so
  // datasets that come and go meanwhile make no other one appear twice or never.
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context,
                                         const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* GetSamples(grpc::CallbackServerContext* context,
                                       const v1::GetSamplesRequest* request,
                                       v1::GetSamplesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDataset(grpc::CallbackServerContext* context,
                                          const v1::DeleteDatasetRequest* request,
                                          v1::DeleteDatasetResponse* response) override;

 private:
  absl::Status Samples(const v1::GetSamplesRequest& request, v1::GetSamplesResponse& response);

  DatasetRegistry& datasets_;
  const CheckUnused check_unused_;
  // Last: their calls use the rest.
  BlockingCalls ingests_;  // whole datasets, and what changes them: one after another
  BlockingCalls chunks_;   // uploads' next pieces, which need not wait for the above
  BlockingCalls looks_;    // at pixels, which come from the disk
  BlockingCalls hashes_;   // of what is there of uploads, and their deletions
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_DATASETS_SERVICE_H_
