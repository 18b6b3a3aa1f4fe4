#ifndef CONVD_TESTS_CLIENT_FAKE_SERVER_H_
#define CONVD_TESTS_CLIENT_FAKE_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "core/storage/sha256.h"

namespace convd {

// A Jobs service whose watches are written down beforehand: each WatchJob call takes the next
// script.
class ScriptedJobs final : public v1::Jobs::Service {
 public:
  struct Watch {
    std::vector<v1::JobEvent> events;
    grpc::Status end;
    bool wait_for_cancel = false;  // before ending
  };

  // What watches without a script end with; set before the first.
  grpc::Status when_empty = {grpc::StatusCode::INTERNAL, "no script left"};

  void AddWatch(Watch watch) {
    absl::MutexLock lock(&mu_);
    watches_.push_back(std::move(watch));
  }
  std::vector<int64_t> after_epochs() {
    absl::MutexLock lock(&mu_);
    return after_epochs_;
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    Watch watch;
    {
      absl::MutexLock lock(&mu_);
      after_epochs_.push_back(request->after_epoch());
      if (watches_.empty()) return when_empty;
      watch = std::move(watches_.front());
      watches_.pop_front();
    }
    for (const v1::JobEvent& event : watch.events) writer->Write(event);
    if (watch.wait_for_cancel) {
      // gRPC's synchronous service says nothing when a call is cancelled, but a write then fails.
      v1::JobEvent progress;
      progress.mutable_progress()->set_epoch(1);
      while (!context->IsCancelled() && writer->Write(progress)) {
      }
    }
    return watch.end;
  }

  // Pages of two, seven jobs in all, named job-0 to job-6.
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    const int begin = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    const int size = std::min(2, request->page_size());
    for (int i = begin; i < std::min(begin + size, 7); ++i) {
      response->add_jobs()->set_id(absl::StrCat("job-", i));
    }
    if (begin + size < 7) response->set_next_page_token(absl::StrCat(begin + size));
    return grpc::Status::OK;
  }

  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job*) override {
    return grpc::Status(grpc::StatusCode::NOT_FOUND,
                        absl::StrCat("no job \"", request->id(), "\""));
  }

  // These answer with what they were asked: pausing as PAUSED, resuming as QUEUED.
  grpc::Status PauseJob(grpc::ServerContext*, const v1::PauseJobRequest* request,
                        v1::Job* job) override {
    job->set_id(request->id());
    job->set_state(v1::JOB_STATE_PAUSED);
    return grpc::Status::OK;
  }
  grpc::Status ResumeJob(grpc::ServerContext*, const v1::ResumeJobRequest* request,
                         v1::Job* job) override {
    job->set_id(request->id());
    job->set_state(v1::JOB_STATE_QUEUED);
    job->mutable_request()->set_allow_different_bits(request->allow_different_bits());
    return grpc::Status::OK;
  }
  grpc::Status UpdateJob(grpc::ServerContext*, const v1::UpdateJobRequest* request,
                         v1::Job* job) override {
    job->set_id(request->id());
    job->set_priority(request->has_priority() ? request->priority() : 1000);
    return grpc::Status::OK;
  }

 private:
  absl::Mutex mu_;
  std::deque<Watch> watches_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> after_epochs_ ABSL_GUARDED_BY(mu_);
};

// Keeps what was uploaded, or refuses it at the header. Where it `keeps`, it does so over streams,
// of the one upload that it is asked for; else it doesn't know the calls for that, as an older
// server.
class RecordingDatasets final : public v1::Datasets::Service {
 public:
  grpc::Status UploadDataset(grpc::ServerContext*,
                             grpc::ServerReader<v1::UploadDatasetRequest>* reader,
                             v1::Dataset* dataset) override {
    v1::UploadDatasetRequest request;
    received.push_back(0);
    while (reader->Read(&request)) {
      if (request.has_header()) {
        header = request.header();
        if (!refuse.ok()) return refuse;
        continue;
      }
      if (!breaks.empty() && received.back() >= breaks.front()) {
        breaks.pop_front();
        return break_with;
      }
      received.back() += static_cast<int64_t>(request.chunk().data().size());
      if (keeps) {
        std::string& data = kept[request.chunk().file()];
        if (request.chunk().offset() != static_cast<int64_t>(data.size())) {
          return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "chunk.offset: is elsewhere");
        }
        data += request.chunk().data();
        continue;
      }
      largest_chunk = std::max(largest_chunk, request.chunk().data().size());
      if (files.empty() || files.back().first != request.chunk().file()) {
        files.emplace_back(request.chunk().file(), "");
      }
      files.back().second += request.chunk().data();
    }
    dataset->set_name(header.name());
    if (!keeps) return grpc::Status::OK;
    files.assign(kept.begin(), kept.end());
    kept.clear();
    registered = true;
    return std::exchange(answer, grpc::Status::OK);
  }

  grpc::Status GetUpload(grpc::ServerContext*, const v1::GetUploadRequest* request,
                         v1::Upload* upload) override {
    if (!keeps) return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");
    ++looks;
    if (reads > 0) {
      if (--reads == 0) {
        header.set_upload_id(request->upload_id());
        kept.clear();
        registered = true;
      }
      upload->set_being_read(true);
      return grpc::Status::OK;
    }
    if (kept.empty()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no upload");
    upload->mutable_header()->set_upload_id(request->upload_id());
    for (const auto& [name, data] : kept) {
      v1::UploadedFile& file = *upload->add_files();
      const std::string there = data.substr(0, data.size() - std::exchange(unseen, 0));
      file.set_file(name);
      file.set_size_bytes(static_cast<int64_t>(there.size()));
      file.set_sha256(Sha256Hex(there));
    }
    return grpc::Status::OK;
  }
  grpc::Status DeleteUpload(grpc::ServerContext*, const v1::DeleteUploadRequest*,
                            v1::DeleteUploadResponse*) override {
    kept.clear();
    ++deletions;
    return grpc::Status::OK;
  }
  grpc::Status GetDataset(grpc::ServerContext*, const v1::GetDatasetRequest* request,
                          v1::Dataset* dataset) override {
    if (!registered) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no dataset");
    dataset->set_name(request->name());
    dataset->set_upload_id(header.upload_id());
    return grpc::Status::OK;
  }

  // A list that never ends: each page names the same next one.
  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest*,
                            v1::ListDatasetsResponse* response) override {
    response->add_datasets()->set_name("again");
    response->set_next_page_token("again");
    return grpc::Status::OK;
  }

  // Set before the call.
  grpc::Status refuse;
  bool keeps = false;
  std::map<std::string, std::string> kept;  // what has come, by file
  size_t unseen = 0;                        // bytes that the first look misses
  int reads = 0;                            // looks until what came is a dataset
  std::deque<int64_t> breaks;               // bytes after which a stream ends, each
  grpc::Status break_with{grpc::StatusCode::UNAVAILABLE, "lost"};
  grpc::Status answer;  // to the first upload that comes to its end
  // Read after the call.
  std::vector<int64_t> received;  // bytes of each stream
  int looks = 0, deletions = 0;
  bool registered = false;
  v1::UploadHeader header;
  std::vector<std::pair<std::string, std::string>> files;
  size_t largest_chunk = 0;
};

// Both services on a free port of this machine.
class FakeServer {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&jobs);
    builder.RegisterService(&datasets);
    server_ = builder.BuildAndStart();
    address = absl::StrCat("127.0.0.1:", port);
  }
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

  ScriptedJobs jobs;
  RecordingDatasets datasets;
  std::string address;

 private:
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace convd

#endif  // CONVD_TESTS_CLIENT_FAKE_SERVER_H_
