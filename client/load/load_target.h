#ifndef CONVD_CLIENT_LOAD_LOAD_TARGET_H_
#define CONVD_CLIENT_LOAD_LOAD_TARGET_H_

#include <cstdint>

#include "absl/status/status.h"

namespace convd {

// Told how calls end.
class LoadObserver {
 public:
  virtual ~LoadObserver() = default;
  // On a thread of the target's. May start the slot's next call.
  virtual void OnEnd(int slot, const absl::Status& status) = 0;
};

// What load is put on, by one protocol: makes calls and keeps none of the answers. A slot is the
// room that one call at a time takes; they are made beforehand, since a load must cost little. The
// destructor waits for the calls under way and ends the threads. Any thread may call.
class LoadTarget {
 public:
  virtual ~LoadTarget() = default;

  virtual int slots() const = 0;
  // Begins call number `call` (which may choose what is asked) and returns; `observer`, which
  // outlives the call, is told once. REQUIRES: slot < slots(), and none of its calls is under way.
  virtual void Start(int slot, int64_t call, LoadObserver& observer) = 0;
  // Calls under way end soon, CANCELLED.
  virtual void CancelAll() = 0;
};

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_LOAD_TARGET_H_
