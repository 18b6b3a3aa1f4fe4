#ifndef CONVD_CLIENT_UPLOAD_CALL_H_
#define CONVD_CLIENT_UPLOAD_CALL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cancellation.h"
#include "client/client.h"
#include "client/dataset_upload.h"
#include "convd/v1/datasets.grpc.pb.h"

namespace convd {

// What an upload needs of the client whose call it is.
struct UploadConnection {
  v1::Datasets::StubInterface& datasets;
  const ClientOptions& options;
  absl::Duration timeout;  // of each call
  // An error as the client's calls return it.
  std::function<absl::Status(const grpc::Status&)> explain;
  // Waits until the server answers, whatever it says, or until then.
  std::function<void(Cancellation&, absl::Time end)> await_server;
};

// One Client::UploadDataset, over as many streams as it takes. One thread; its arguments outlive
// it.
class UploadCall {
 public:
  UploadCall(const UploadConnection& connection, const v1::UploadHeader& header,
             const std::vector<LocalFile>& files, const UploadEvents& events,
             Cancellation& cancellation)
      : connection_(connection),
        header_(header),
        files_(files),
        events_(events),
        cancellation_(cancellation) {}

  absl::StatusOr<v1::Dataset> Run();

 private:
  absl::StatusOr<v1::Dataset> Try();
  // What is there to go on from; deletes what isn't how the files begin. A dataset where all of it
  // had been sent, and the upload has come to its end meanwhile.
  absl::StatusOr<std::optional<v1::Dataset>> Find(BytesThere& there);
  // What the server has, once it isn't making a dataset of it any more.
  absl::Status Look(v1::Upload& upload);
  absl::StatusOr<v1::Dataset> Send(const BytesThere& there);

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (v1::Datasets::StubInterface::*method)(grpc::ClientContext*,
                                                                        const Request&, Response*),
                    const Request& request, Response& response);

  const UploadConnection& connection_;
  const v1::UploadHeader& header_;
  const std::vector<LocalFile>& files_;
  const UploadEvents& events_;
  Cancellation& cancellation_;

  int64_t total_ = 0;       // bytes
  int64_t there_ = -1;      // bytes at the server when it was last asked
  bool has_grown_ = true;   // between the last two times
  bool all_sent_ = false;   // in the last stream, or by another call
  bool can_go_on_ = false;  // the server keeps what was sent
};

}  // namespace convd

#endif  // CONVD_CLIENT_UPLOAD_CALL_H_
