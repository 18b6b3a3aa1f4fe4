#ifndef CONVD_SERVER_RPC_FINISHED_CALL_H_
#define CONVD_SERVER_RPC_FINISHED_CALL_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace convd {

// An RPC whose answer has been given. What it points to lives while it is looked at. Free of gRPC,
// for logs and metrics. All that comes from a caller, `principal` of a certificate included, may
// hold any bytes, except that `request_id` and `trace_id` are as described.
struct FinishedCall {
  std::string_view method;      // "/convd.v1.Jobs/Train"
  bool audited = false;         // it is one of those that change something that lasts
  absl::Status status;          // what it was answered with
  absl::Duration duration;      // from its arrival to the end of its answer
  std::string_view principal;   // empty where nobody was recognized
  std::string_view request_id;  // 1 to 64 of A-Z a-z 0-9 . _ -, the client's or made here
  std::string_view trace_id;    // 32 hex digits of its traceparent, or empty
  std::string_view target;      // of an audited call: what it changed, such as "model m version 3"
  std::string_view model;       // that a prediction or evaluation named, cut at 64 bytes
  absl::FunctionRef<std::string()> peer;  // the client's address, as gRPC writes it
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_FINISHED_CALL_H_
