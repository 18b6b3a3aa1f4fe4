#ifndef CONVD_SERVER_JOBS_DISK_ROOM_H_
#define CONVD_SERVER_JOBS_DISK_ROOM_H_

#include <cstdint>

#include "convd/v1/model.pb.h"

namespace convd {

// How many bytes a job takes on the disk at its most: two checkpoints and a third that is being
// written, of weights, two moments and the best epoch's weights, and its version. Any thread may
// call.
int64_t DiskRoomFor(const v1::TrainRequest& request);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_DISK_ROOM_H_
