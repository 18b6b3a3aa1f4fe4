#ifndef CONVD_TESTS_CRASH_WORKLOAD_H_
#define CONVD_TESTS_CRASH_WORKLOAD_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <list>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "convd/v1/evaluator.grpc.pb.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "convd/v1/models.grpc.pb.h"
#include "tests/crash/data_ledger.h"
#include "tests/crash/ledger.h"
#include "tests/crash/server_life.h"

namespace convd {

// The clients of one life of a server: they compare what it says with the ledger, and give it work.
// Any call may find it dead; then ok() is false, and nothing more is asked. One thread calls.
class Workload {
 public:
  Workload(const std::string& address, ServerLife& life, Ledger& ledger, DataLedger& data,
           std::mt19937_64& random);
  ~Workload();  // ends the watches

  bool ok() const { return ok_; }

  absl::Status RegisterDataset(const std::string& folder);

  // After a start: repeats what was never answered, then looks at every job: at the live ones and
  // some ended ones, or `all`, as a whole.
  void CompareWithLedger(bool all);
  // Checkpoints are there of no jobs but those that live.
  void CheckCheckpoints(const std::string& state);
  // One thing that a client might do now.
  void DoSomething(size_t most_live);
  // Resumes what is paused, and waits until no job lives. False after `patience`.
  bool FinishAll(absl::Duration patience);
  void LookAtVersions();
  // Submits one job of a kind and returns it.
  std::string Submit(size_t kind);
  void Act(const std::string& id, Ledger::Action action);

 private:
  // A call's end. What a dying server makes of one isn't counted.
  absl::Status Judge(const grpc::Status& status);
  // With a deadline.
  template <typename Request, typename Response, typename Method>
  absl::Status Call(const Method& method, const Request& request, Response& response);
  void Upload();
  void Delete(const std::string& dataset);
  void Evaluate(const Ledger::VersionId& version);
  void LookAtDatasets();
  void LookAtEvaluations(const Ledger::VersionId& version);
  void DoSomethingWithData();
  void Send(const std::string& request_id);
  void Look(const std::string& id);
  void LookAtAll();
  void Watch(const std::string& id);

  ServerLife& life_;
  Ledger& ledger_;
  DataLedger& data_;
  std::mt19937_64& random_;
  bool ok_ = true;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Jobs::Stub> jobs_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Datasets::Stub> datasets_;
  std::unique_ptr<v1::Evaluator::Stub> evaluator_;
  std::list<grpc::ClientContext> watch_contexts_;
  std::list<std::thread> watches_;
};

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_WORKLOAD_H_
