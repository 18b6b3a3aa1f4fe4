// Uploads that are broken off: by the server's end, by the client's, by both.

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/dataset_upload.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kMiB = 1 << 20;
constexpr char kImages[] = "train-images-idx3-ubyte";
constexpr char kLabels[] = "train-labels-idx1-ubyte";
// 64 MiB, so that there is time to break in.
constexpr int64_t kSamples = 64 * kMiB / 784;

class UploadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    data_.labels.resize(kSamples);
    data_.pixels.resize(kSamples * 784);
    for (size_t i = 0; i < data_.labels.size(); ++i) data_.labels[i] = static_cast<char>(i % 10);
    for (size_t i = 0; i < data_.pixels.size(); ++i) {
      data_.pixels[i] = static_cast<char>(i * 2654435761u >> 24);
    }
    std::filesystem::create_directories(folder_ / "data");
    WriteFile(Data(kImages), IdxImages(data_));
    WriteFile(Data(kLabels), IdxLabels(data_));
    server_ = ServerProcess::Start(State());
    ASSERT_NE(server_, nullptr);
  }

  std::string State() const { return folder_ / "state"; }
  std::string Data(const std::string& name) const { return folder_ / ("data/" + name); }
  // What convctl calls the upload of the files as dataset "up".
  std::string Id() const {
    v1::UploadHeader header;
    header.set_name("up");
    const auto id = UploadIdFor(header, {{kImages, Data(kImages)}, {kLabels, Data(kLabels)}});
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or("");
  }
  std::string KeptImages() const {
    return absl::StrCat(State(), "/uploads/", Id(), "/files/", kImages);
  }
  int64_t KeptBytes() const {
    std::error_code none;
    const auto bytes = std::filesystem::file_size(KeptImages(), none);
    return none ? 0 : static_cast<int64_t>(bytes);
  }
  // Until some of the images have come.
  void AwaitBytes() const {
    const absl::Time end = absl::Now() + kPatience;
    while (KeptBytes() == 0 && absl::Now() < end) {
    }
    ASSERT_GT(KeptBytes(), 0);
  }

  // Sends the first `bytes` of the images as convctl does, until the server has them.
  void SendBeginning(int64_t bytes) {
    const auto stub = v1::Datasets::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::Dataset dataset;
    const auto writer = stub->UploadDataset(&context, &dataset);
    v1::UploadDatasetRequest part;
    part.mutable_header()->set_name("up");
    part.mutable_header()->set_upload_id(Id());
    ASSERT_TRUE(writer->Write(part));
    const std::string images = ReadFile(Data(kImages));
    for (int64_t at = 0; at < bytes; at += kMiB) {
      part.mutable_chunk()->set_file(kImages);
      part.mutable_chunk()->set_offset(at);
      part.mutable_chunk()->set_data(
          images.substr(static_cast<size_t>(at), static_cast<size_t>(std::min(kMiB, bytes - at))));
      ASSERT_TRUE(writer->Write(part));
    }
    const absl::Time end = absl::Now() + kPatience;
    while (KeptBytes() < bytes && absl::Now() < end) {
    }
    ASSERT_EQ(KeptBytes(), bytes);
    context.TryCancel();
    (void)writer->Finish();
  }
  void KillServer() {
    server_->process().Signal(SIGKILL);
    EXPECT_EQ(server_->process().Wait(), 128 + SIGKILL);
  }
  void StartServer() {
    server_ = ServerProcess::Start(State());
    ASSERT_NE(server_, nullptr);
  }
  Finished Upload() { return server_->Convctl({"datasets", "upload", "up", folder_ / "data"}); }

  // "up" holds what an upload that nothing broke makes of the same files.
  void ExpectWhole() {
    const Finished whole = server_->Convctl({"datasets", "upload", "whole", folder_ / "data"});
    EXPECT_EQ(whole.code, 0) << whole.err;
    EXPECT_THAT(whole.err, Not(HasSubstr("resuming")));
    const auto client = server_->Connect();
    ASSERT_NE(client, nullptr);
    const auto up = client->GetDataset("up");
    ASSERT_STATUS_OK(up);
    EXPECT_EQ(up->sha256(), client->GetDataset("whole")->sha256());
    EXPECT_EQ(up->splits(0).samples(), kSamples);
    EXPECT_TRUE(std::filesystem::is_empty(State() + "/uploads"));
    EXPECT_TRUE(std::filesystem::is_empty(State() + "/tmp"));
  }

  const TempFolder folder_;
  LabelledPixels data_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(UploadsTest, AfterTheServerWasKilledTheSameCommandSendsOnlyTheRest) {
  SendBeginning(5 * kMiB + 1000);
  KillServer();
  StartServer();
  EXPECT_EQ(KeptBytes(), 5 * kMiB + 1000);
  const int64_t total = static_cast<int64_t>(std::filesystem::file_size(Data(kImages)) +
                                             std::filesystem::file_size(Data(kLabels)));
  // Counted by the client's library, which sends as convctl does; the server refuses what it has.
  std::vector<int64_t> resumed, sent;
  UploadEvents events;
  events.on_resumed = [&](int64_t there, int64_t) { resumed.push_back(there); };
  events.on_progress = [&](int64_t now, int64_t) { sent.push_back(now); };
  v1::UploadHeader header;
  header.set_name("up");
  header.set_upload_id(Id());
  Cancellation stop;
  events.on_lost = [&] { ADD_FAILURE() << "lost the server"; };
  const auto client = server_->Connect();
  ASSERT_NE(client, nullptr);
  const auto dataset = client->UploadDataset(
      header, {{kImages, Data(kImages)}, {kLabels, Data(kLabels)}}, events, &stop);
  ASSERT_STATUS_OK(dataset);
  EXPECT_THAT(resumed, ::testing::ElementsAre(5 * kMiB + 1000));
  ASSERT_GT(sent.size(), 2u);
  EXPECT_EQ(sent[0], 5 * kMiB + 1000);
  EXPECT_EQ(sent[1], 6 * kMiB + 1000);
  EXPECT_EQ(sent.back(), total);
  ExpectWhole();
}

TEST_F(UploadsTest, ConvctlSaysWhatIsThereAndGoesOnAcrossAServersEnd) {
  SendBeginning(5 * kMiB);
  KillServer();
  StartServer();
  const Finished finished = Upload();
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_EQ(finished.err, "resuming: 5.0 MiB of 64.1 MiB are there\n");
  ExpectWhole();
}

TEST_F(UploadsTest, AServerThatIsKilledInTheMidstIsWaitedForByARunningCommand) {
  const auto convctl = server_->StartConvctl({"datasets", "upload", "up", folder_ / "data"});
  ASSERT_NE(convctl, nullptr);
  AwaitBytes();
  convctl->Signal(SIGSTOP);
  KillServer();
  ASSERT_LT(KeptBytes(), static_cast<int64_t>(std::filesystem::file_size(Data(kImages))));
  convctl->Signal(SIGCONT);
  ASSERT_TRUE(convctl->WaitForError("Lost the server; trying for it again for up to 1m.\n"));
  const int64_t there = KeptBytes();
  server_ = ServerProcess::Start(State(), {"--grpc-address", server_->address()});
  ASSERT_NE(server_, nullptr);
  EXPECT_EQ(convctl->Wait(), 0) << convctl->err();
  EXPECT_THAT(convctl->err(), HasSubstr(absl::StrCat("resuming: ", there / kMiB, ".")));
  ExpectWhole();
}

TEST_F(UploadsTest, CtrlCLeavesWhatWasSentToBeGoneOnWith) {
  const auto convctl = server_->StartConvctl({"datasets", "upload", "up", folder_ / "data"});
  ASSERT_NE(convctl, nullptr);
  AwaitBytes();
  convctl->Signal(SIGINT);
  EXPECT_EQ(convctl->Wait(), 130) << convctl->err();
  EXPECT_EQ(convctl->err(),
            "Stopped uploading. What was sent stays at the server; the same command goes on from "
            "there, within 24 hours.\n");
  const Finished finished = Upload();
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("resuming: "));
  ExpectWhole();
}

TEST_F(UploadsTest, AKilledClientsUploadGoesOnToo) {
  const auto convctl = server_->StartConvctl({"datasets", "upload", "up", folder_ / "data"});
  ASSERT_NE(convctl, nullptr);
  AwaitBytes();
  convctl->Signal(SIGKILL);
  EXPECT_EQ(convctl->Wait(), 128 + SIGKILL);
  const Finished finished = Upload();
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("resuming: "));
  ExpectWhole();
}

TEST_F(UploadsTest, WhatIsThereAndIsAnotherIsSentAnew) {
  SendBeginning(3 * kMiB);
  KillServer();
  std::string bytes = ReadFile(KeptImages());
  bytes[2'000'000] = static_cast<char>(bytes[2'000'000] ^ 1);
  WriteFile(KeptImages(), bytes);
  StartServer();
  const Finished finished = Upload();
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_THAT(finished.err, Not(HasSubstr("resuming")));
  ExpectWhole();
}

}  // namespace
}  // namespace convd
