#ifndef CONVD_SERVER_FIGURES_H_
#define CONVD_SERVER_FIGURES_H_

#include "core/exec/executor.h"
#include "core/storage/file_system.h"
#include "server/disk_budget.h"
#include "server/jobs/runner.h"
#include "server/memory_ledger.h"
#include "server/metrics/server_figures.h"
#include "server/serving_state.h"

namespace convd {

// What these know at this moment. Waits for the disk; any thread that may do so.
ServerFigures ReadFigures(JobRunner& jobs, const Executor& executor, const MemoryLedger& memory,
                          DiskBudget& disk, const ServingState& serving, FileSystem& fs);

}  // namespace convd

#endif  // CONVD_SERVER_FIGURES_H_
