#ifndef CONVD_CLIENT_CONVCTL_JOB_TEXT_H_
#define CONVD_CLIENT_CONVCTL_JOB_TEXT_H_

#include <string>
#include <vector>

#include "convd/v1/jobs.pb.h"

namespace convd {

// Jobs as tables and lines for people. Any thread may call.

std::string StateText(v1::JobState state);  // "running"
// "Job j1 is queued, number 2 in line", and what the next one waits for; of a paused one, how it
// goes on or why the server paused it.
std::string StateLine(const v1::Job& job);
std::string ArchitectureText(const v1::TrainRequest& request);  // the preset's or network's name
std::string OptimizerText(const v1::Optimizer& optimizer);      // "adam, learning rate 0.001"
// "horizontal flip, shift by up to 4 pixels"
std::string AugmentationText(const v1::Augmentation& augmentation);
// "patience 3 on val_loss, by at least 0.001, publishes the best epoch"
std::string EarlyStoppingText(const v1::EarlyStopping& early_stopping);
std::string DatasetText(const v1::DatasetRef& dataset);        // "fashion/train"
std::string ValidationText(const v1::Validation& validation);  // "last 10,000 samples"

std::string JobsTable(const std::vector<v1::Job>& jobs);
// Everything about one job, its network's table and history too.
std::string JobDetails(const v1::Job& job);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_JOB_TEXT_H_
