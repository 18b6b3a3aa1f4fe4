#ifndef CONVD_CLIENT_CONVCTL_PROGRESS_BAR_H_
#define CONVD_CLIENT_CONVCTL_PROGRESS_BAR_H_

#include <cstdint>
#include <string>

#include "convd/v1/jobs.pb.h"

namespace convd {

// A running job in one line of at most `width` columns: epoch, a bar over its steps, loss,
// accuracy, images/s, time left. Where there is no room for all, the last parts go first. Any
// thread may call.
std::string ProgressLine(const v1::Progress& progress, int width, bool utf8);

// A file on its way: "name  [====>   ]  12.0 MiB of 30.5 MiB".
std::string UploadLine(const std::string& name, int64_t sent, int64_t total, int width, bool utf8);

// A finished epoch as Keras lists it: "Epoch 1/3 - 4.2s - loss: 0.5216 - accuracy: 0.8411 -
// val_loss: ... - val_accuracy: ...". No newline.
std::string EpochLine(const v1::EpochRecord& record, int64_t epochs);

// What a finished training comes to: the accuracy (of validation, where there was any) of the
// published epoch to four places, the seconds an epoch, and where it stopped early. No newline;
// empty without a history.
std::string ResultLine(const v1::Job& job);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_PROGRESS_BAR_H_
