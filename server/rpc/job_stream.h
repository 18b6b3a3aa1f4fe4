#ifndef CONVD_SERVER_RPC_JOB_STREAM_H_
#define CONVD_SERVER_RPC_JOB_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <string>

#include "convd/v1/jobs.pb.h"
#include "server/jobs/runner.h"

namespace convd {

// The reactor of one WatchJob call, which deletes itself when gRPC is done with it: writes what a
// JobWatch gives, one event at a time. The runner outlives it.
grpc::ServerWriteReactor<v1::JobEvent>* NewJobStream(JobRunner& runner, const std::string& id,
                                                     int64_t after_epoch);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_JOB_STREAM_H_
