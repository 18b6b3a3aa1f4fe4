#ifndef CONVD_CLIENT_CONVCTL_COMMANDS_H_
#define CONVD_CLIENT_CONVCTL_COMMANDS_H_

#include <CLI/CLI.hpp>

#include "client/convctl/session.h"

namespace convd {

// Each adds its command or commands to `app`; parsing sets `chosen`, which outlives the app, to
// what was asked for.
void AddHealthCommand(CLI::App& app, Command& chosen);
void AddDatasetsCommands(CLI::App& app, Command& chosen);
void AddTrainCommand(CLI::App& app, Command& chosen);
void AddJobsCommands(CLI::App& app,
                     Command& chosen);  // jobs, watch, pause, resume, priority, cancel
void AddEvaluateCommand(CLI::App& app, Command& chosen);
void AddExplainCommand(CLI::App& app, Command& chosen);
void AddPredictCommand(CLI::App& app, Command& chosen);
void AddBenchCommand(CLI::App& app, Command& chosen);
void AddModelsCommands(CLI::App& app, Command& chosen);

// Parts of `models`.
void AddModelDiffCommand(CLI::App& models, Command& chosen);
void AddModelChangeCommands(CLI::App& models, Command& chosen);  // labels, policies, memory, delete
void AddModelArchiveCommands(CLI::App& models, Command& chosen);  // export, import

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_COMMANDS_H_
