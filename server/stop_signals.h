#ifndef CONVD_SERVER_STOP_SIGNALS_H_
#define CONVD_SERVER_STOP_SIGNALS_H_

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace convd {

// SIGTERM and SIGINT are taken by a thread that waits for them, since handlers may do next to
// nothing, and the first process of a container has no default action for signals.

// Call before any thread starts: all must inherit the blocked signals.
void BlockStopSignals();

// Starts the thread. The first signal notifies what is returned, which lives for ever; from then
// on the thread bounds the end: at a second signal the process ends at once with 128 + the signal's
// number, and `drain` after the first with 0. REQUIRES: called once, after BlockStopSignals.
const absl::Notification& WatchStopSignals(absl::Duration drain);

}  // namespace convd

#endif  // CONVD_SERVER_STOP_SIGNALS_H_
