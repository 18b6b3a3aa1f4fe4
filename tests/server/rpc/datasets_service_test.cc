#include "server/rpc/datasets_service.h"

#include <gmock/gmock.h>
#include <grpcpp/support/server_interceptor.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/storage/file_system.h"
#include "tests/server/datasets/small_datasets.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void ExpectError(const grpc::Status& status, grpc::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr(words));
}

// On a registry of its own, on a real disk.
class DatasetsServiceTest : public ::testing::Test {
 protected:
  DatasetsServiceTest() {
    root_ = ::testing::TempDir() + "/datasets_service_test.XXXXXX";
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
    fs::create_directories(root_ + "/data");
    for (const auto& [file, bytes] : SmallMnist()) {
      std::ofstream(root_ + "/data/" + file, std::ios::binary) << bytes;
    }
    auto opened =
        DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state", {root_ + "/data"});
    EXPECT_TRUE(opened.ok()) << opened.status();
    registry_ = *std::move(opened);
    service_ = std::make_unique<DatasetsService>(*registry_);
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = v1::Datasets::NewStub(server_->channel());
  }
  ~DatasetsServiceTest() override {
    server_ = nullptr;
    service_ = nullptr;
    registry_ = nullptr;
    fs::remove_all(root_);
  }

  grpc::Status Register(const std::string& name, v1::Dataset* dataset = nullptr) {
    grpc::ClientContext context;
    v1::RegisterDatasetRequest request;
    request.set_name(name);
    request.set_path(".");
    v1::Dataset ignored;
    return stub_->RegisterDataset(&context, request, dataset != nullptr ? dataset : &ignored);
  }
  grpc::Status Get(const std::string& name) {
    grpc::ClientContext context;
    v1::GetDatasetRequest request;
    request.set_name(name);
    v1::Dataset dataset;
    return stub_->GetDataset(&context, request, &dataset);
  }
  grpc::Status Delete(const std::string& name) {
    grpc::ClientContext context;
    v1::DeleteDatasetRequest request;
    request.set_name(name);
    v1::DeleteDatasetResponse response;
    return stub_->DeleteDataset(&context, request, &response);
  }
  grpc::Status Samples(const std::string& name, const std::string& split, int64_t offset,
                       int64_t count, v1::GetSamplesResponse& response) {
    grpc::ClientContext context;
    v1::GetSamplesRequest request;
    request.set_name(name);
    request.set_split(split);
    request.set_offset(offset);
    request.set_count(count);
    response.Clear();
    return stub_->GetSamples(&context, request, &response);
  }
  grpc::Status List(const v1::ListDatasetsRequest& request, v1::ListDatasetsResponse& response) {
    grpc::ClientContext context;
    response.Clear();
    return stub_->ListDatasets(&context, request, &response);
  }
  static std::vector<std::string> Names(const v1::ListDatasetsResponse& response) {
    std::vector<std::string> names;
    for (const v1::Dataset& dataset : response.datasets()) names.push_back(dataset.name());
    return names;
  }
  // Sends until the server takes no more, and returns its answer.
  grpc::Status Upload(const std::vector<v1::UploadDatasetRequest>& messages,
                      v1::Dataset* dataset = nullptr) {
    grpc::ClientContext context;
    v1::Dataset ignored;
    const auto writer = stub_->UploadDataset(&context, dataset != nullptr ? dataset : &ignored);
    for (const v1::UploadDatasetRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  static v1::UploadDatasetRequest Header(const std::string& name) {
    v1::UploadDatasetRequest message;
    message.mutable_header()->set_name(name);
    return message;
  }
  static v1::UploadDatasetRequest Chunk(const std::string& file, const std::string& data) {
    v1::UploadDatasetRequest message;
    message.mutable_chunk()->set_file(file);
    message.mutable_chunk()->set_data(data);
    return message;
  }
  static v1::UploadDatasetRequest KeptHeader(const std::string& name, const std::string& id) {
    v1::UploadDatasetRequest message = Header(name);
    message.mutable_header()->set_upload_id(id);
    return message;
  }
  static v1::UploadDatasetRequest ChunkAt(const std::string& file, int64_t offset,
                                          const std::string& data) {
    v1::UploadDatasetRequest message = Chunk(file, data);
    message.mutable_chunk()->set_offset(offset);
    return message;
  }
  grpc::Status GetUpload(const std::string& id, v1::Upload* upload = nullptr) {
    grpc::ClientContext context;
    v1::GetUploadRequest request;
    request.set_upload_id(id);
    v1::Upload ignored;
    return stub_->GetUpload(&context, request, upload != nullptr ? upload : &ignored);
  }
  grpc::Status DeleteUpload(const std::string& id) {
    grpc::ClientContext context;
    v1::DeleteUploadRequest request;
    request.set_upload_id(id);
    v1::DeleteUploadResponse response;
    return stub_->DeleteUpload(&context, request, &response);
  }
  // Of each its id, its dataset's name, its bytes and whether a stream has it.
  std::vector<std::string> Listed() {
    grpc::ClientContext context;
    v1::ListUploadsResponse response;
    const grpc::Status status = stub_->ListUploads(&context, v1::ListUploadsRequest(), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<std::string> listed;
    for (const v1::Upload& upload : response.uploads()) {
      int64_t bytes = 0;
      for (const v1::UploadedFile& file : upload.files()) bytes += file.size_bytes();
      listed.push_back(absl::StrCat(upload.header().upload_id(), " ", upload.header().name(), " ",
                                    bytes, upload.open() ? " being sent" : " broken off"));
    }
    return listed;
  }
  // Asks until so many bytes of the upload's only file are there.
  void AwaitBytes(const std::string& id, int64_t bytes) {
    v1::Upload upload;
    do {
      upload.Clear();
      const grpc::Status status = GetUpload(id, &upload);
      if (status.error_code() == grpc::StatusCode::NOT_FOUND) continue;
      ASSERT_TRUE(status.ok()) << status.error_message();
    } while (upload.files_size() == 0 || upload.files(0).size_bytes() < bytes);
    EXPECT_EQ(upload.files(0).size_bytes(), bytes);
  }
  // What is left to send where `there` is there.
  static std::vector<v1::UploadDatasetRequest> Rest(const std::string& name,
                                                    const v1::Upload& there) {
    std::vector<v1::UploadDatasetRequest> messages = {KeptHeader(name, there.header().upload_id())};
    for (const auto& [file, bytes] : SmallMnist()) {
      int64_t at = 0;
      for (const v1::UploadedFile& found : there.files()) {
        if (found.file() == file) at = found.size_bytes();
      }
      messages.push_back(ChunkAt(file, at, bytes.substr(static_cast<size_t>(at))));
    }
    return messages;
  }
  static std::vector<v1::UploadDatasetRequest> WholeUpload(const std::string& name) {
    std::vector<v1::UploadDatasetRequest> messages = {Header(name)};
    for (const auto& [file, bytes] : SmallMnist()) {
      messages.push_back(Chunk(file, bytes.substr(0, 10)));
      messages.push_back(Chunk(file, bytes.substr(10)));
    }
    return messages;
  }

  StoppedClock clock_;
  std::string root_;
  std::unique_ptr<DatasetRegistry> registry_;
  std::unique_ptr<DatasetsService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<v1::Datasets::Stub> stub_;
};

TEST_F(DatasetsServiceTest, RegistersAndForgets) {
  v1::Dataset dataset;
  const grpc::Status status = Register("mnist", &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
  EXPECT_TRUE(Get("mnist").ok());
  EXPECT_TRUE(Delete("mnist").ok());
  ExpectError(Get("mnist"), grpc::StatusCode::NOT_FOUND, "\"mnist\"");
  ExpectError(Delete("mnist"), grpc::StatusCode::NOT_FOUND, "\"mnist\"");
}

// A job that names it may be about to be accepted.
TEST_F(DatasetsServiceTest, ADeletionWaitsForThoseWhoAreLookingAtTheDataset) {
  std::atomic<bool> looking{true};
  DatasetsService service(*registry_, [&](const std::string&) {
    EXPECT_FALSE(looking);
    return absl::FailedPreconditionError("name: a job needs it");
  });
  LoopbackServer server(service);
  const auto stub = v1::Datasets::NewStub(server.channel());
  ASSERT_TRUE(Register("mnist").ok());
  registry_->in_use().ReaderLock();
  grpc::Status status;
  std::thread deletion([&] {
    grpc::ClientContext context;
    v1::DeleteDatasetRequest request;
    request.set_name("mnist");
    v1::DeleteDatasetResponse response;
    status = stub->DeleteDataset(&context, request, &response);
  });
  // Time for one that doesn't wait to be seen.
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Get("mnist").ok());
  looking = false;
  registry_->in_use().ReaderUnlock();
  deletion.join();
  ExpectError(status, grpc::StatusCode::FAILED_PRECONDITION, "a job needs it");
  EXPECT_TRUE(Get("mnist").ok());
}

TEST_F(DatasetsServiceTest, ShowsSamplesAsTheyAreKept) {
  ASSERT_TRUE(Register("mnist").ok());
  v1::GetSamplesResponse samples;
  const grpc::Status status = Samples("mnist", "", 1, 64, samples);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(samples.images().uint8().count(), 2);
  EXPECT_EQ(samples.images().uint8().height(), 2);
  EXPECT_EQ(samples.images().uint8().width(), 2);
  EXPECT_EQ(samples.images().uint8().channels(), 1);
  EXPECT_EQ(samples.images().uint8().data(), "pppppppp");
  EXPECT_THAT(samples.labels(), ElementsAre(2, 1));
  ASSERT_TRUE(Samples("mnist", "test", 0, 1, samples).ok());
  EXPECT_EQ(samples.images().uint8().data(), "tttt");
  EXPECT_THAT(samples.labels(), ElementsAre(1));
}

TEST_F(DatasetsServiceTest, SamplesThatArentThereAreRefused) {
  ASSERT_TRUE(Register("mnist").ok());
  v1::GetSamplesResponse samples;
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  ExpectError(Samples("mnist", "", 0, 0, samples), kInvalid, "count: got 0; want 1 to 64");
  ExpectError(Samples("mnist", "", 0, 65, samples), kInvalid, "count: got 65; want 1 to 64");
  ExpectError(Samples("mnist", "", -1, 1, samples), kInvalid, "offset: got -1; split \"train\"");
  ExpectError(Samples("mnist", "test", 2, 1, samples), kInvalid, "has 2 samples, from 0 on");
  ExpectError(Samples("mnist", "val", 0, 1, samples), grpc::StatusCode::NOT_FOUND, "\"val\"");
  ExpectError(Samples("mnist", "../x", 0, 1, samples), kInvalid, "split: ");
  ExpectError(Samples("nope", "", 0, 1, samples), grpc::StatusCode::NOT_FOUND, "dataset: ");
}

TEST_F(DatasetsServiceTest, SamplesEndBeforeAnAnswerIsTooLarge) {
  const auto put = [&](const std::string& name, int height, int count) {
    const std::string size = {0, 0, static_cast<char>(height >> 8), static_cast<char>(height)};
    std::ofstream(root_ + "/data/" + name, std::ios::binary)
        << std::string("\0\0\x08\x03\0\0\0", 7) << static_cast<char>(count) << size
        << std::string("\0\0\x04\0", 4) << std::string(size_t{1024} * height * count, 'w');
    std::ofstream(root_ + "/data/" + name + ".labels", std::ios::binary)
        << IdxLabels(std::string(static_cast<size_t>(count), '\0'));
    grpc::ClientContext context;
    v1::RegisterDatasetRequest request;
    request.set_name(name);
    request.set_path(".");
    v1::SplitFiles& files = *request.add_files();
    files.set_split("all");
    files.add_images(name);
    files.add_labels(name + ".labels");
    v1::Dataset dataset;
    const grpc::Status status = stub_->RegisterDataset(&context, request, &dataset);
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  put("large", 1024, 4);
  put("larger", 3073, 1);
  v1::GetSamplesResponse samples;
  ASSERT_TRUE(Samples("large", "", 0, 4, samples).ok());
  EXPECT_EQ(samples.images().uint8().count(), 3);
  EXPECT_EQ(samples.images().uint8().data().size(), size_t{3} << 20);
  EXPECT_EQ(samples.labels_size(), 3);
  ExpectError(Samples("larger", "", 0, 1, samples), grpc::StatusCode::RESOURCE_EXHAUSTED,
              "a sample has 3146752 bytes");
}

TEST_F(DatasetsServiceTest, NamesThatCantBeAreRefusedEverywhere) {
  for (const std::string& name : {std::string(), std::string("../x"), std::string(300, 'a')}) {
    ExpectError(Register(name), grpc::StatusCode::INVALID_ARGUMENT, "name");
    ExpectError(Get(name), grpc::StatusCode::INVALID_ARGUMENT, "name");
    ExpectError(Delete(name), grpc::StatusCode::INVALID_ARGUMENT, "name");
    ExpectError(Upload({Header(name)}), grpc::StatusCode::INVALID_ARGUMENT, "name");
  }
}

TEST_F(DatasetsServiceTest, ListsByPages) {
  for (const char* name : {"b", "d", "a", "c"}) ASSERT_TRUE(Register(name).ok());
  v1::ListDatasetsRequest request;
  v1::ListDatasetsResponse response;
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(response.next_page_token(), "");
  request.set_page_size(2);
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("a", "b"));
  // Between two pages: nothing comes twice, nothing is left out.
  ASSERT_TRUE(Delete("b").ok());
  ASSERT_TRUE(Register("aa").ok());
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(List(request, response).ok());
  EXPECT_THAT(Names(response), ElementsAre("c", "d"));
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(DatasetsServiceTest, PagesThatCantBeAreRefused) {
  v1::ListDatasetsRequest request;
  v1::ListDatasetsResponse response;
  request.set_page_size(-1);
  ExpectError(List(request, response), grpc::StatusCode::INVALID_ARGUMENT, "page_size: got -1");
  request.set_page_size(0);
  for (const char* token : {"rubbish", "Li4veA", "!"}) {  // "../x"
    request.set_page_token(token);
    ExpectError(List(request, response), grpc::StatusCode::INVALID_ARGUMENT, "page_token");
  }
}

TEST_F(DatasetsServiceTest, UploadsBecomeDatasets) {
  v1::Dataset dataset;
  const grpc::Status status = Upload(WholeUpload("up"), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.name(), "up");
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
  EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
}

TEST_F(DatasetsServiceTest, UploadsOutOfOrderAreRefused) {
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  ExpectError(Upload({}), kInvalid, "header: is missing");
  ExpectError(Upload({Chunk("f", "x")}), kInvalid, "header: is missing");
  ExpectError(Upload({Header("a"), Header("a")}), kInvalid, "header: comes a second time");
  ExpectError(Upload({Header("a"), {}}), kInvalid, "part: got none");
  ExpectError(Upload({Header("a")}), kInvalid, "no files");
  ExpectError(Upload({Header("a"), Chunk("../x", "x")}), kInvalid, "chunk.file");
  ExpectError(Upload({Header("a"), Chunk("f", "x")}), grpc::StatusCode::NOT_FOUND, "the upload");
  EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
  EXPECT_THAT(registry_->List(), IsEmpty());
}

TEST_F(DatasetsServiceTest, AnUploadWhoseCallerGoesLeavesNothingBehind) {
  {
    grpc::ClientContext context;
    v1::Dataset dataset;
    const auto writer = stub_->UploadDataset(&context, &dataset);
    for (const v1::UploadDatasetRequest& message : WholeUpload("up")) {
      ASSERT_TRUE(writer->Write(message));
    }
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  server_->Shutdown();  // waits for the call to end on the server too
  EXPECT_TRUE(fs::is_empty(root_ + "/state/tmp"));
  EXPECT_THAT(registry_->List(), IsEmpty());
}

TEST_F(DatasetsServiceTest, AnUploadWithAnIdGoesOnAfterItsCallerWent) {
  const auto [file, bytes] = SmallMnist()[0];
  {
    grpc::ClientContext context;
    v1::Dataset dataset;
    const auto writer = stub_->UploadDataset(&context, &dataset);
    ASSERT_TRUE(writer->Write(KeptHeader("up", "u1")));
    ASSERT_TRUE(writer->Write(ChunkAt(file, 0, bytes.substr(0, 10))));
    AwaitBytes("u1", 10);
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  v1::Upload there;
  ASSERT_TRUE(GetUpload("u1", &there).ok());
  EXPECT_EQ(there.header().name(), "up");
  ASSERT_EQ(there.files_size(), 1);
  EXPECT_EQ(there.files(0).file(), file);
  // printf '\0\0\x08\x03\0\0\0\3\0\0' | sha256sum
  EXPECT_EQ(there.files(0).sha256(),
            "c3f8a01da29066af4f2f670753fef39aa1f0f66754ca9aed6870815a808c5bb4");
  v1::Dataset dataset;
  const grpc::Status status = Upload(Rest("up", there), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
  EXPECT_THAT(Listed(), IsEmpty());
  ExpectError(GetUpload("u1"), grpc::StatusCode::NOT_FOUND, "there is no upload \"u1\"");
  EXPECT_TRUE(fs::is_empty(root_ + "/state/uploads"));
}

TEST_F(DatasetsServiceTest, AnOlderStreamOfAnUploadEndsWhenANewerOneBegins) {
  const auto [file, bytes] = SmallMnist()[0];
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  v1::Dataset ignored;
  const auto older = stub_->UploadDataset(&context, &ignored);
  ASSERT_TRUE(older->Write(KeptHeader("up", "u1")));
  ASSERT_TRUE(older->Write(ChunkAt(file, 0, bytes.substr(0, 10))));
  AwaitBytes("u1", 10);
  EXPECT_THAT(Listed(), ElementsAre("u1 up 10 being sent"));
  v1::Upload there;
  ASSERT_TRUE(GetUpload("u1", &there).ok());
  v1::Dataset dataset;
  const grpc::Status status = Upload(Rest("up", there), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
  // It says nothing more, as if its connection were dead, and is ended all the same.
  ExpectError(older->Finish(), grpc::StatusCode::ABORTED, "another stream has taken over");
}

TEST_F(DatasetsServiceTest, ManyStreamsOfOneUploadAtOnceAllEnd) {
  const auto [file, bytes] = SmallMnist()[0];
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, file = file, bytes = bytes] {
      for (int i = 0; i < 30; ++i) {
        grpc::ClientContext context;
        v1::Dataset dataset;
        const auto writer = stub_->UploadDataset(&context, &dataset);
        writer->Write(KeptHeader("up", "u1"));
        v1::Upload there;
        GetUpload("u1", &there);
        const size_t at =
            there.files().empty() ? 0 : static_cast<size_t>(there.files(0).size_bytes());
        if (at < bytes.size()) {
          writer->Write(ChunkAt(file, static_cast<int64_t>(at), bytes.substr(at, 1)));
        }
        // Some go, and some wait for what the server says to what comes where nothing belongs.
        if (i % 2 == 0) {
          context.TryCancel();
        } else {
          writer->Write(ChunkAt(file, 1'000'000, "x"));
        }
        EXPECT_FALSE(writer->Finish().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  v1::Upload there;
  there.mutable_header()->set_upload_id("u1");
  const grpc::Status found = GetUpload("u1", &there);
  ASSERT_TRUE(found.ok() || found.error_code() == grpc::StatusCode::NOT_FOUND);
  v1::Dataset dataset;
  const grpc::Status status = Upload(Rest("up", there), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
}

TEST_F(DatasetsServiceTest, ADeletedUploadEndsItsStream) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  v1::Dataset ignored;
  const auto stream = stub_->UploadDataset(&context, &ignored);
  ASSERT_TRUE(stream->Write(KeptHeader("up", "u1")));
  ASSERT_TRUE(stream->Write(ChunkAt("f", 0, "12345")));
  AwaitBytes("u1", 5);
  EXPECT_TRUE(DeleteUpload("u1").ok());
  ExpectError(stream->Finish(), grpc::StatusCode::ABORTED, "upload \"u1\" was deleted");
  ExpectError(GetUpload("u1"), grpc::StatusCode::NOT_FOUND, "\"u1\"");
  ExpectError(DeleteUpload("u1"), grpc::StatusCode::NOT_FOUND, "\"u1\"");
}

TEST_F(DatasetsServiceTest, UploadsWithAnIdThatCantGoOnSayWhy) {
  ExpectError(Upload({KeptHeader("up", "u1"), ChunkAt("f", 0, "12345"), ChunkAt("f", 4, "x")}),
              grpc::StatusCode::OUT_OF_RANGE, "chunk.offset: got 4; of file \"f\" 5 bytes");
  AwaitBytes("u1", 5);
  ExpectError(Upload({KeptHeader("other", "u1")}), grpc::StatusCode::FAILED_PRECONDITION,
              "header.name: is not what upload \"u1\" was begun with");
  AwaitBytes("u1", 5);
  ExpectError(Upload({KeptHeader("up", "u1")}), grpc::StatusCode::NOT_FOUND, "the upload: has no");
  ExpectError(GetUpload("u1"), grpc::StatusCode::NOT_FOUND, "\"u1\"");
  for (const std::string& id : {std::string("../x"), std::string(65, 'x')}) {
    ExpectError(Upload({KeptHeader("up", id)}), grpc::StatusCode::INVALID_ARGUMENT,
                "header.upload_id: ");
    ExpectError(GetUpload(id), grpc::StatusCode::INVALID_ARGUMENT, "upload_id: ");
    ExpectError(DeleteUpload(id), grpc::StatusCode::INVALID_ARGUMENT, "upload_id: ");
  }
}

// Clients that were there before offsets send none.
TEST_F(DatasetsServiceTest, OffsetsOfAnUploadWithoutAnIdArentLookedAt) {
  std::vector<v1::UploadDatasetRequest> messages = WholeUpload("up");
  for (v1::UploadDatasetRequest& message : messages) {
    if (message.has_chunk()) message.mutable_chunk()->set_offset(0);
  }
  messages.back().mutable_chunk()->set_offset(77);
  v1::Dataset dataset;
  const grpc::Status status = Upload(messages, &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.sha256(), kSmallMnistSha256);
}

// Registers when it is told to, and keeps count.
class SlowRegistry : public DatasetRegistry {
 public:
  absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest& request) override {
    {
      absl::MutexLock lock(&mu_);
      names_.push_back(request.name());
    }
    if (request.name() == "slow") {
      begun_.Notify();
      go_on_.WaitForNotification();
    }
    if (request.name() == "too-large") throw std::bad_alloc();
    if (request.name() == "odd") throw std::runtime_error("an odd library");
    v1::Dataset dataset;
    dataset.set_name(request.name());
    return dataset;
  }
  absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(const v1::UploadHeader&) override {
    throw std::bad_alloc();
  }
  absl::StatusOr<v1::Dataset> Get(const std::string& name) override {
    return absl::NotFoundError(name);
  }
  std::vector<v1::Dataset> List() override { return {}; }
  absl::Status Delete(const std::string&) override { return absl::OkStatus(); }
  absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) override {
    return absl::NotFoundError(name);
  }

  std::vector<std::string> names() {
    absl::MutexLock lock(&mu_);
    return names_;
  }
  absl::Notification begun_;
  absl::Notification go_on_;

 private:
  absl::Mutex mu_;
  std::vector<std::string> names_ ABSL_GUARDED_BY(mu_);
};

class SlowDatasetsServiceTest : public ::testing::Test {
 protected:
  // One call whose answer is waited for later.
  struct Call {
    grpc::ClientContext context;
    v1::RegisterDatasetRequest request;
    v1::Dataset response;
    grpc::Status status;
    absl::Notification done;
  };
  Call& Start(const std::string& name) {
    Call& call = *calls_.emplace_back(std::make_unique<Call>());
    call.request.set_name(name);
    stub_->async()->RegisterDataset(&call.context, &call.request, &call.response,
                                    [&call](grpc::Status status) {
                                      call.status = status;
                                      call.done.Notify();
                                    });
    return call;
  }

  SlowRegistry registry_;
  DatasetsService service_{registry_};
  LoopbackServer server_{service_};
  std::unique_ptr<v1::Datasets::Stub> stub_ = v1::Datasets::NewStub(server_.channel());
  std::vector<std::unique_ptr<Call>> calls_;
};

TEST_F(SlowDatasetsServiceTest, OthersAreAnsweredWhileADatasetIsRead) {
  Call& slow = Start("slow");
  registry_.begun_.WaitForNotification();
  grpc::ClientContext context;
  v1::ListDatasetsResponse response;
  EXPECT_TRUE(stub_->ListDatasets(&context, {}, &response).ok());
  registry_.go_on_.Notify();
  slow.done.WaitForNotification();
  EXPECT_TRUE(slow.status.ok());
}

TEST_F(SlowDatasetsServiceTest, WhatIsThrownIsAnErrorOfItsOwnCall) {
  Call& too_large = Start("too-large");
  too_large.done.WaitForNotification();
  ExpectError(too_large.status, grpc::StatusCode::RESOURCE_EXHAUSTED, "dataset: no memory");
  Call& odd = Start("odd");
  odd.done.WaitForNotification();
  ExpectError(odd.status, grpc::StatusCode::INTERNAL, "dataset: an odd library");
  grpc::ClientContext context;
  v1::Dataset dataset;
  v1::UploadDatasetRequest header;
  header.mutable_header()->set_name("up");
  const auto upload = stub_->UploadDataset(&context, &dataset);
  upload->Write(header);
  upload->WritesDone();
  ExpectError(upload->Finish(), grpc::StatusCode::RESOURCE_EXHAUSTED, "upload: no memory");
  Call& next = Start("next");
  next.done.WaitForNotification();
  EXPECT_TRUE(next.status.ok());
}

// What a server knows of its calls, a little before or after their clients do.
class CallCounts {
 public:
  void Count(grpc::experimental::InterceptorBatchMethods* methods) {
    using Point = grpc::experimental::InterceptionHookPoints;
    absl::MutexLock lock(&mu_);
    if (methods->QueryInterceptionHookPoint(Point::POST_RECV_MESSAGE)) ++received_;
    if (methods->QueryInterceptionHookPoint(Point::POST_RECV_CLOSE)) ++closed_;
  }
  void AwaitReceived(int n) {
    absl::MutexLock lock(&mu_);
    const auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return received_ >= n; };
    mu_.Await(absl::Condition(&reached));
  }
  void AwaitClosed(int n) {
    absl::MutexLock lock(&mu_);
    const auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return closed_ >= n; };
    mu_.Await(absl::Condition(&reached));
  }

 private:
  absl::Mutex mu_;
  int received_ ABSL_GUARDED_BY(mu_) = 0;
  int closed_ ABSL_GUARDED_BY(mu_) = 0;
};

class CountCalls : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CountCalls(CallCounts& counts) : counts_(counts) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo*) override {
    class Counter : public grpc::experimental::Interceptor {
     public:
      explicit Counter(CallCounts& counts) : counts_(counts) {}
      void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
        counts_.Count(methods);
        methods->Proceed();
      }

     private:
      CallCounts& counts_;
    };
    return new Counter(counts_);
  }

 private:
  CallCounts& counts_;
};

TEST_F(SlowDatasetsServiceTest, WhoGivesUpBeforeItsTurnChangesNothing) {
  CallCounts counts;
  InterceptorFactories interceptors;
  interceptors.push_back(std::make_unique<CountCalls>(counts));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  DatasetsService service(registry_);
  builder.RegisterService(&service);
  AddCallHooks(builder, {}, std::move(interceptors));
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  stub_ = v1::Datasets::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  Call& slow = Start("slow");
  registry_.begun_.WaitForNotification();
  Call& waiting = Start("waiting");
  counts.AwaitReceived(2);
  waiting.context.TryCancel();
  waiting.done.WaitForNotification();
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::CANCELLED);
  counts.AwaitClosed(1);
  registry_.go_on_.Notify();
  slow.done.WaitForNotification();
  EXPECT_TRUE(slow.status.ok());
  server->Shutdown();
  EXPECT_THAT(registry_.names(), ElementsAre("slow"));
}

TEST_F(SlowDatasetsServiceTest, AQueueThatIsFullSaysSo) {
  Call& slow = Start("slow");
  registry_.begun_.WaitForNotification();
  // One runs and 64 wait; which of the others are refused is a race.
  absl::BlockingCounter refused(6);
  std::vector<Call*> calls;
  for (int i = 0; i < 70; ++i) {
    Call& call = *calls_.emplace_back(std::make_unique<Call>());
    call.request.set_name(absl::StrCat("d", i));
    calls.push_back(&call);
    stub_->async()->RegisterDataset(
        &call.context, &call.request, &call.response, [&call, &refused](grpc::Status status) {
          call.status = status;
          if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
            refused.DecrementCount();
          }
          call.done.Notify();
        });
  }
  refused.Wait();
  registry_.go_on_.Notify();
  int succeeded = 0;
  for (Call* call : calls) {
    call->done.WaitForNotification();
    if (call->status.ok()) ++succeeded;
  }
  slow.done.WaitForNotification();
  EXPECT_EQ(succeeded, 64);
  EXPECT_EQ(registry_.names().size(), 65u);
}

}  // namespace
}  // namespace convd
