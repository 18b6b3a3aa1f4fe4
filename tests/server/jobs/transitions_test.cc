#include "server/jobs/transitions.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

namespace convd {
namespace {

constexpr v1::JobState kStates[] = {v1::JOB_STATE_UNSPECIFIED, v1::JOB_STATE_QUEUED,
                                    v1::JOB_STATE_RUNNING,     v1::JOB_STATE_SUCCEEDED,
                                    v1::JOB_STATE_FAILED,      v1::JOB_STATE_CANCELLED,
                                    v1::JOB_STATE_PAUSED};

// As the comments of jobs.proto have them.
TEST(TransitionsTest, ExactlyTheDocumentedOnesAreLawful) {
  const std::set<std::pair<v1::JobState, v1::JobState>> lawful = {
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_QUEUED, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FAILED},
      {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLED},
  };
  for (const v1::JobState from : kStates) {
    for (const v1::JobState to : kStates) {
      const absl::Status status = CheckTransition(from, to);
      EXPECT_EQ(status.ok(), lawful.count({from, to}) == 1)
          << StateName(from) << " -> " << StateName(to);
      if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      }
    }
  }
}

TEST(TransitionsTest, NothingLeadsOutOfAFinalState) {
  for (const v1::JobState from : kStates) {
    bool leads = false;
    for (const v1::JobState to : kStates) leads = leads || CheckTransition(from, to).ok();
    EXPECT_EQ(leads, from == v1::JOB_STATE_QUEUED || from == v1::JOB_STATE_RUNNING ||
                         from == v1::JOB_STATE_PAUSED);
    EXPECT_EQ(IsFinal(from), from == v1::JOB_STATE_SUCCEEDED || from == v1::JOB_STATE_FAILED ||
                                 from == v1::JOB_STATE_CANCELLED);
  }
}

}  // namespace
}  // namespace convd
