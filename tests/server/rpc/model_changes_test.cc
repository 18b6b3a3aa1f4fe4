// The calls of convd.v1.Models that change what there is, over a real connection.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/exec/executor.h"
#include "server/rpc/models_service.h"
#include "tests/server/rpc/fake_models.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelChangesTest : public ::testing::Test {
 protected:
  ModelChanges Changes() {
    return {models_.fs, [this](const v1::ModelVersion&) { return used_; },
            [this](int64_t bytes) { return on_room_ ? on_room_(bytes) : room_; }};
  }
  // Calls a method of the stub.
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::Models::Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    context.set_deadline(SoonEnough());
    return (stub_.get()->*method)(&context, request, &response);
  }
  grpc::Status MoveLabel(const std::string& label, int64_t version, v1::ModelPolicy& policy) {
    v1::MoveLabelRequest request;
    request.set_name("m");
    request.set_label(label);
    request.set_version(version);
    return Call(&v1::Models::Stub::MoveLabel, request, policy);
  }
  grpc::Status Delete(int64_t version) {
    v1::DeleteModelRequest request;
    request.mutable_model()->set_name("m");
    request.mutable_model()->set_version(version);
    v1::DeleteModelResponse response;
    return Call(&v1::Models::Stub::DeleteModel, request, response);
  }
  std::string Export(int64_t version, grpc::Status& status) {
    v1::ExportModelRequest request;
    request.mutable_model()->set_name("m");
    request.mutable_model()->set_version(version);
    grpc::ClientContext context;
    context.set_deadline(SoonEnough());
    const auto reader = stub_->ExportModel(&context, request);
    std::string bytes;
    v1::ExportModelResponse response;
    while (reader->Read(&response)) bytes += response.data();
    status = reader->Finish();
    return bytes;
  }
  grpc::Status Import(const std::vector<v1::ImportModelRequest>& requests, v1::Model& model) {
    grpc::ClientContext context;
    const auto writer = stub_->ImportModel(&context, &model);
    for (const v1::ImportModelRequest& request : requests) {
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  static v1::ImportModelRequest Header(const std::string& name) {
    v1::ImportModelRequest request;
    request.mutable_header()->set_name(name);
    return request;
  }
  static v1::ImportModelRequest Data(const std::string& data) {
    v1::ImportModelRequest request;
    request.set_data(data);
    return request;
  }
  // For what would else wait for ever.
  static std::chrono::system_clock::time_point SoonEnough() {
    return std::chrono::system_clock::now() + std::chrono::seconds(20);
  }
  // An import that has begun, and what it is answered.
  struct Begun {
    grpc::ClientContext context;
    v1::Model model;
    std::unique_ptr<grpc::ClientWriter<v1::ImportModelRequest>> writer;
  };
  std::unique_ptr<Begun> BeginImport(const std::string& name) {
    auto begun = std::make_unique<Begun>();
    begun->context.set_deadline(SoonEnough());
    begun->writer = stub_->ImportModel(&begun->context, &begun->model);
    EXPECT_TRUE(begun->writer->Write(Header(name)));
    return begun;
  }
  std::vector<std::string> Temporaries() { return *models_.fs.List("/state/tmp"); }

  absl::Status used_;
  absl::Status room_;
  std::function<absl::Status(int64_t)> on_room_;  // set before anything is imported
  FakeModels models_;
  std::unique_ptr<Executor> executor_ = NewThreadedExecutor(1);
  ModelsService service_{*models_.repository, *executor_, {}, Clock::Real(), Changes()};
  LoopbackServer server_{service_};
  std::unique_ptr<v1::Models::Stub> stub_ = v1::Models::NewStub(server_.channel());
};

TEST_F(ModelChangesTest, MovesRollsBackAndRemovesLabels) {
  models_.Publish("m");
  models_.Publish("m");
  v1::ModelPolicy policy;
  ASSERT_TRUE(MoveLabel("stable", 1, policy).ok());
  ASSERT_TRUE(MoveLabel("stable", 0, policy).ok());
  EXPECT_EQ(policy.labels(0).version(), 2);
  v1::RollBackLabelRequest back;
  back.set_name("m");
  back.set_label("stable");
  ASSERT_TRUE(Call(&v1::Models::Stub::RollBackLabel, back, policy).ok());
  EXPECT_EQ(policy.labels(0).version(), 1);
  v1::UpdateModelPolicyRequest update;
  update.set_name("m");
  update.set_default_label("stable");
  update.set_keep(3);
  ASSERT_TRUE(Call(&v1::Models::Stub::UpdateModelPolicy, update, policy).ok());
  v1::GetModelPolicyRequest get;
  get.set_name("m");
  v1::ModelPolicy got;
  ASSERT_TRUE(Call(&v1::Models::Stub::GetModelPolicy, get, got).ok());
  EXPECT_EQ(got.SerializeAsString(), policy.SerializeAsString());
  EXPECT_EQ(got.keep(), 3);
  v1::GetModelRequest model_request;
  model_request.mutable_model()->set_name("m");
  v1::Model model;
  ASSERT_TRUE(Call(&v1::Models::Stub::GetModel, model_request, model).ok());
  EXPECT_EQ(model.card().model().version(), 1);
  v1::RemoveLabelRequest remove;
  remove.set_name("m");
  remove.set_label("stable");
  EXPECT_EQ(Call(&v1::Models::Stub::RemoveLabel, remove, policy).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION)
      << "it is the default";
}

TEST_F(ModelChangesTest, SaysWhatIsWrongByItsField) {
  models_.Publish("m");
  v1::ModelPolicy policy;
  EXPECT_EQ(MoveLabel("7", 1, policy).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(MoveLabel("latest", 1, policy).error_message(), HasSubstr("label: "));
  EXPECT_EQ(MoveLabel("stable", 5, policy).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(MoveLabel("stable", -5, policy).error_message(), HasSubstr("version: got -5"));
  v1::UpdateModelPolicyRequest update;
  update.set_name("m");
  update.set_keep(-1);
  EXPECT_THAT(Call(&v1::Models::Stub::UpdateModelPolicy, update, policy).error_message(),
              HasSubstr("keep: got -1"));
  v1::GetModelPolicyRequest get;
  get.set_name("../m");
  EXPECT_EQ(Call(&v1::Models::Stub::GetModelPolicy, get, policy).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  get.set_name("n");
  EXPECT_EQ(Call(&v1::Models::Stub::GetModelPolicy, get, policy).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Delete(0).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Delete(7).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelChangesTest, LoadsAndUnloads) {
  models_.Publish("m");
  v1::LoadModelRequest load;
  load.mutable_model()->set_name("m");
  load.set_precision(v1::PRECISION_BF16);
  v1::LoadModelResponse loaded;
  ASSERT_TRUE(Call(&v1::Models::Stub::LoadModel, load, loaded).ok());
  EXPECT_EQ(loaded.model().version(), 1);
  EXPECT_EQ(loaded.precision(), v1::PRECISION_BF16);
  v1::ModelVersion id;
  id.set_name("m");
  EXPECT_THAT(models_.repository->Get(id)->in_memory(), ElementsAre(v1::PRECISION_BF16));
  v1::UnloadModelRequest unload;
  unload.mutable_model()->set_name("m");
  v1::UnloadModelResponse unloaded;
  ASSERT_TRUE(Call(&v1::Models::Stub::UnloadModel, unload, unloaded).ok());
  EXPECT_THAT(models_.repository->Get(id)->in_memory(), IsEmpty());
}

TEST_F(ModelChangesTest, DeletesNothingThatAJobNeeds) {
  models_.Publish("m");
  used_ = absl::FailedPreconditionError("model: needed by job \"j\"");
  EXPECT_EQ(Delete(1).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  used_ = absl::OkStatus();
  EXPECT_TRUE(Delete(1).ok());
  EXPECT_EQ(Delete(1).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelChangesTest, ListsDamagedVersionsOnTheFirstPage) {
  models_.Publish("m");
  models_.Publish("m");
  models_.Publish("m");
  std::string& onnx = models_.fs.Bytes("/state/models/m/2/model.onnx");
  onnx[onnx.size() / 2] ^= 1;
  v1::ModelVersion two;
  two.set_name("m");
  two.set_version(2);
  EXPECT_FALSE(models_.repository->Load(two, v1::PRECISION_F32).ok());
  v1::ListModelsRequest list;
  list.set_page_size(1);
  v1::ListModelsResponse page;
  ASSERT_TRUE(Call(&v1::Models::Stub::ListModels, list, page).ok());
  EXPECT_EQ(page.models(0).card().model().version(), 3);
  ASSERT_EQ(page.damaged_size(), 1);
  EXPECT_EQ(page.damaged(0).card().model().version(), 2);
  EXPECT_THAT(page.damaged(0).damage(), HasSubstr("SHA-256"));
  list.set_page_token(page.next_page_token());
  ASSERT_TRUE(Call(&v1::Models::Stub::ListModels, list, page).ok());
  EXPECT_EQ(page.models(0).card().model().version(), 1);
  EXPECT_EQ(page.damaged_size(), 0);
}

TEST_F(ModelChangesTest, ExportsAndImports) {
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(0, status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  v1::Model model;
  status = Import({Header("n"), Data(archive.substr(0, 700)), Data(archive.substr(700))}, model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.card().model().name(), "n");
  EXPECT_EQ(model.card().imported().model().name(), "m");
  EXPECT_EQ(model.path(), "/state/models/n/1");
  Export(7, status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelChangesTest, RefusesStreamsOutOfOrderAndLeavesNothingBehind) {
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(1, status);
  v1::Model model;
  const struct {
    std::vector<v1::ImportModelRequest> requests;
    const char* why;
  } cases[] = {{{}, "header: is missing"},
               {{Data(archive)}, "header: is missing"},
               {{Header("")}, "data: none came"},
               {{Header(""), Header("")}, "header: comes a second time"},
               {{Header("../x"), Data(archive)}, "name: "},
               {{Header(""), v1::ImportModelRequest()}, "part: got none"},
               {{Header(""), Data("rubbish")}, "data: "},
               {{Header(""), Data(archive.substr(0, archive.size() / 2))}, "data: "}};
  for (const auto& c : cases) {
    status = Import(c.requests, model);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << c.why;
    EXPECT_THAT(status.error_message(), HasSubstr(c.why));
  }
  room_ = absl::ResourceExhaustedError("the disk is full");
  EXPECT_EQ(Import({Header(""), Data(archive)}, model).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  on_room_ = [](int64_t) -> absl::Status { throw std::bad_alloc(); };
  status = Import({Header(""), Data(archive)}, model);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("no memory"));
  EXPECT_EQ(models_.repository->Versions("").size(), 1u);
  EXPECT_THAT(Temporaries(), IsEmpty());
}

TEST_F(ModelChangesTest, AnImportWhoseCallerGoesAwayPublishesNothing) {
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(1, status);
  v1::Model model;
  grpc::ClientContext context;
  const auto writer = stub_->ImportModel(&context, &model);
  ASSERT_TRUE(writer->Write(Header("n")));
  ASSERT_TRUE(writer->Write(Data(archive)));
  context.TryCancel();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // Once it is whole the same archive is taken, and is the first.
  EXPECT_TRUE(Import({Header("n"), Data(archive)}, model).ok());
  EXPECT_EQ(model.card().model().version(), 1);
}

TEST_F(ModelChangesTest, RollsBackWhileLoadsTakeAllOfTheirThreads) {
  constexpr int kLoads = 4;
  models_.Publish("m");
  models_.Publish("m");
  v1::ModelPolicy policy;
  ASSERT_TRUE(MoveLabel("stable", 1, policy).ok());
  ASSERT_TRUE(MoveLabel("stable", 2, policy).ok());
  absl::BlockingCounter loading(kLoads);
  absl::Notification go;
  models_.on_compile = [&] {
    loading.DecrementCount();
    go.WaitForNotification();
  };
  std::vector<std::thread> loads;
  for (int i = 0; i < kLoads; ++i) {
    models_.Publish(absl::StrCat("other-", i));
    loads.emplace_back([&, i] {
      v1::LoadModelRequest load;
      load.mutable_model()->set_name(absl::StrCat("other-", i));
      v1::LoadModelResponse loaded;
      EXPECT_TRUE(Call(&v1::Models::Stub::LoadModel, load, loaded).ok());
    });
  }
  loading.Wait();
  v1::RollBackLabelRequest back;
  back.set_name("m");
  back.set_label("stable");
  EXPECT_TRUE(Call(&v1::Models::Stub::RollBackLabel, back, policy).ok());
  go.Notify();
  for (std::thread& load : loads) load.join();
}

TEST_F(ModelChangesTest, ExportsWhileImportsWaitForTheDisk) {
  constexpr int kImports = 4;
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(1, status);
  absl::BlockingCounter writing(kImports);
  absl::Notification go;
  on_room_ = [&](int64_t) {
    if (!go.HasBeenNotified()) writing.DecrementCount();
    go.WaitForNotification();
    return absl::OkStatus();
  };
  std::vector<std::unique_ptr<Begun>> imports;
  for (int i = 0; i < kImports; ++i) {
    imports.push_back(BeginImport("n"));
    EXPECT_TRUE(imports.back()->writer->Write(Data(archive)));
  }
  writing.Wait();
  EXPECT_EQ(Export(1, status), archive);
  EXPECT_TRUE(status.ok()) << status.error_message();
  go.Notify();
  for (const auto& import : imports) {
    import->writer->WritesDone();
    EXPECT_TRUE(import->writer->Finish().ok());
  }
}

TEST_F(ModelChangesTest, LosesNoImportThatHasBegunHoweverManyWait) {
  constexpr int kImports = 80;  // more than threads and places
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(1, status);
  absl::Mutex mu;
  int written = 0;
  absl::Notification go;
  on_room_ = [&](int64_t bytes) {
    if (bytes > 0) go.WaitForNotification();
    absl::MutexLock lock(&mu);
    ++written;
    return absl::OkStatus();
  };
  std::vector<std::unique_ptr<Begun>> imports;
  for (int i = 0; i < kImports; ++i) {
    imports.push_back(BeginImport("n"));
    EXPECT_TRUE(imports.back()->writer->Write(Data("")));
    absl::MutexLock lock(&mu);
    const auto is_written = [&] { return written == i + 1; };
    mu.Await(absl::Condition(&is_written));
  }
  for (const auto& import : imports) EXPECT_TRUE(import->writer->Write(Data(archive)));
  go.Notify();
  for (const auto& import : imports) {
    import->writer->WritesDone();
    status = import->writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(models_.repository->Versions("n").size(), static_cast<size_t>(kImports));
}

TEST_F(ModelChangesTest, UnpacksOneImportAtATime) {
  models_.Publish("m");
  grpc::Status status;
  const std::string archive = Export(1, status);
  std::atomic<int> unpacking{0}, most{0};
  models_.fs.OnOperation([&](std::string_view operation, const std::string& path) {
    if (operation == "create" && absl::EndsWith(path, "/files/MANIFEST")) {
      most = std::max(most.load(), ++unpacking);
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    }
    if (operation == "open" && absl::EndsWith(path, "/files/model.onnx")) --unpacking;
  });
  std::vector<std::unique_ptr<Begun>> imports;
  for (int i = 0; i < 8; ++i) {
    imports.push_back(BeginImport("n"));
    EXPECT_TRUE(imports.back()->writer->Write(Data(archive)));
    imports.back()->writer->WritesDone();
  }
  for (const auto& import : imports) EXPECT_TRUE(import->writer->Finish().ok());
  EXPECT_EQ(most, 1);
}

}  // namespace
}  // namespace convd
