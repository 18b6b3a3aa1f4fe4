#ifndef CONVD_TESTS_END_TO_END_FASHION_SERVER_H_
#define CONVD_TESTS_END_TO_END_FASHION_SERVER_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/end_to_end/server_process.h"
#include "tests/end_to_end/small_fashion.h"

namespace convd {

// A test with a server of its own on which dataset "fashion" is registered, and a client of it.
class FashionServerTest : public ::testing::Test {
 protected:
  void SetUp() override;

  std::string state() const { return folder_ / "state"; }
  std::string data_dir() const { return folder_ / "data"; }

  // Trains to the end; fails the test where it doesn't succeed.
  v1::Job TrainToTheEnd(const v1::TrainRequest& request);
  // Submits a job that takes longer than any test waits.
  v1::Job StartEndlessJob(const std::string& model);
  // Watches until the job is at work (a step done) and returns.
  void WaitUntilAtWork(const std::string& id);

  const TempFolder folder_;
  SmallFashion data_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

// Ends the test, and prints the status, where one is not OK.
#define ASSERT_STATUS_OK(expr)                                \
  do {                                                        \
    const auto& convd_status = (expr);                        \
    ASSERT_TRUE(convd_status.ok()) << StatusOf(convd_status); \
  } while (false)

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

}  // namespace convd

#endif  // CONVD_TESTS_END_TO_END_FASHION_SERVER_H_
