#ifndef CONVD_SERVER_RPC_DATASET_UPLOAD_STREAM_H_
#define CONVD_SERVER_RPC_DATASET_UPLOAD_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "convd/v1/datasets.pb.h"
#include "server/datasets/registry.h"
#include "server/predict/blocking_calls.h"

namespace convd {

// The reactor of one UploadDataset call; deletes itself. One message at a time is in memory: the
// next is asked for when the last is on disk. Chunks are written by `chunks`, the whole is decoded
// and published by `ingests`; all three arguments outlive the call. On any error, and when the
// caller goes, what was written is let go of before the call ends: it is removed, unless it has an
// upload_id. Ends at once, ABORTED, where another stream takes its upload over.
grpc::ServerReadReactor<v1::UploadDatasetRequest>* NewDatasetUploadStream(
    grpc::CallbackServerContext* context, v1::Dataset* response, DatasetRegistry& datasets,
    BlockingCalls& chunks, BlockingCalls& ingests);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_DATASET_UPLOAD_STREAM_H_
