#ifndef CONVD_SERVER_RPC_MODEL_STREAMS_H_
#define CONVD_SERVER_RPC_MODEL_STREAMS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "absl/status/status.h"
#include "convd/v1/models.pb.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"

// Models.ExportModel, Models.ExportOnnx and Models.ImportModel: a version's archive or ONNX file,
// piece by piece. The reactors delete themselves; all else outlives them.

namespace convd {

grpc::ServerWriteReactor<v1::ExportModelResponse>* NewModelExportStream(
    grpc::CallbackServerContext* context, const v1::ExportModelRequest* request,
    ModelRepository& models, BlockingCalls& calls);

grpc::ServerWriteReactor<v1::ExportModelResponse>* NewOnnxExportStream(
    grpc::CallbackServerContext* context, const v1::ExportOnnxRequest* request,
    ModelRepository& models, BlockingCalls& calls);

// `take_room` as ModelImport has it. Refused at its beginning where `pieces` has no place; from
// then on it waits. `commits` unpacks and checks what came: an archive's weights in memory, and
// their ONNX file, so as many at once as it has threads.
grpc::ServerReadReactor<v1::ImportModelRequest>* NewModelImportStream(
    grpc::CallbackServerContext* context, v1::Model* response, ModelRepository& models,
    FileSystem& fs, std::function<absl::Status(int64_t)> take_room, BlockingCalls& pieces,
    BlockingCalls& commits);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_MODEL_STREAMS_H_
