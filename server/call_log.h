#ifndef CONVD_SERVER_CALL_LOG_H_
#define CONVD_SERVER_CALL_LOG_H_

#include "core/time/clock.h"
#include "server/audit_log.h"
#include "server/rpc/finished_call.h"

namespace convd {

// What the log says of calls: each one at debug, those that failed by this server's fault as
// warnings, and those that change something in the audit log, or at info where there is none.
class CallLog {
 public:
  // `audit` may be null; both outlive it.
  explicit CallLog(AuditLog* audit, const Clock& clock = Clock::Real())
      : audit_(audit), clock_(clock) {}

  // Any thread may call.
  void Finished(const FinishedCall& call);

 private:
  AuditLog* const audit_;
  const Clock& clock_;
};

}  // namespace convd

#endif  // CONVD_SERVER_CALL_LOG_H_
