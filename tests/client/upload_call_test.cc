#include "client/upload_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/client/fake_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kMiB = 1 << 20;

// An upload with an id, of two files of 2.5 MiB and 3 bytes, to a server that keeps what came.
class UploadCallTest : public ::testing::Test {
 protected:
  UploadCallTest() {
    for (int i = 0; i < 5 * kMiB / 2; ++i) big_ += static_cast<char>(i / 1000);
    files_ = {{"big", TempFile("big", big_)}, {"small", TempFile("small", "abc")}};
    header_.set_name("data");
    header_.set_upload_id("u1");
    server_.datasets.keeps = true;
    events_.on_progress = [this](int64_t sent, int64_t) { progress_.push_back(sent); };
    events_.on_resumed = [this](int64_t there, int64_t total) {
      resumed_.push_back(there);
      EXPECT_EQ(total, 5 * kMiB / 2 + 3);
    };
    events_.on_lost = [this] { ++losses_; };
  }

  static std::string TempFile(const std::string& name, const std::string& data) {
    const std::string path = ::testing::TempDir() + "/upload_call_test_" + name;
    std::ofstream(path, std::ios::binary) << data;
    return path;
  }
  static ClientOptions QuickOptions() {
    ClientOptions options;
    options.first_pause = absl::Milliseconds(1);
    options.longest_pause = absl::Milliseconds(2);
    options.reconnect_timeout = absl::Seconds(20);
    return options;
  }
  absl::StatusOr<v1::Dataset> Upload(const ClientOptions& options = QuickOptions(),
                                     Cancellation* cancellation = nullptr) {
    const auto client = Client::Connect(server_.address, options);
    if (!client.ok()) return client.status();
    return (*client)->UploadDataset(header_, files_, events_, cancellation);
  }
  void ExpectAllThere() {
    EXPECT_THAT(server_.datasets.files,
                ElementsAre(std::pair("big", big_), std::pair("small", std::string("abc"))));
  }

  FakeServer server_;
  std::string big_;
  std::vector<LocalFile> files_;
  v1::UploadHeader header_;
  UploadEvents events_;
  std::vector<int64_t> progress_, resumed_;
  int losses_ = 0;
};

TEST_F(UploadCallTest, WhatIsThereIsNotSentAgain) {
  server_.datasets.kept["big"] = big_.substr(0, 1'500'000);
  const auto dataset = Upload();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "data");
  ExpectAllThere();
  EXPECT_THAT(server_.datasets.received, ElementsAre(5 * kMiB / 2 + 3 - 1'500'000));
  EXPECT_THAT(resumed_, ElementsAre(1'500'000));
  ASSERT_THAT(progress_, ::testing::Not(::testing::IsEmpty()));
  EXPECT_EQ(progress_.front(), 1'500'000);
  EXPECT_EQ(progress_.back(), 5 * kMiB / 2 + 3);
  EXPECT_EQ(losses_, 0);
}

TEST_F(UploadCallTest, AWholeUploadThatIsThereIsOnlyEnded) {
  server_.datasets.kept = {{"big", big_}, {"small", "abc"}};
  ASSERT_TRUE(Upload().ok());
  ExpectAllThere();
  EXPECT_THAT(server_.datasets.received, ElementsAre(0));
}

TEST_F(UploadCallTest, GoesOnByItselfWhenTheServerIsLost) {
  server_.datasets.breaks = {kMiB, 0, 0, kMiB};
  const auto dataset = Upload();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ExpectAllThere();
  EXPECT_THAT(server_.datasets.received, ElementsAre(kMiB, 0, 0, kMiB, kMiB / 2 + 3));
  EXPECT_THAT(resumed_, ElementsAre(kMiB, kMiB, kMiB, 2 * kMiB));
  // Once for the first stream and the two that brought nothing, and once again.
  EXPECT_EQ(losses_, 2);
  EXPECT_EQ(server_.datasets.deletions, 0);
}

TEST_F(UploadCallTest, GivesUpWhenTheServerStaysAway) {
  ClientOptions options = QuickOptions();
  options.reconnect_timeout = absl::Milliseconds(50);
  server_.datasets.breaks.resize(10'000);
  const auto dataset = Upload(options);
  EXPECT_EQ(dataset.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(dataset.status().message()), HasSubstr(server_.address));
  EXPECT_GT(server_.datasets.received.size(), 1u);
}

TEST_F(UploadCallTest, BeginsAnewWhereTheServersBytesAreOthers) {
  std::string flipped = big_;
  flipped[1'000'000] ^= 1;
  const std::vector<std::map<std::string, std::string>> others = {
      {{"big", flipped.substr(0, 1'500'000)}},
      {{"big", flipped}},
      {{"small", "abcd"}},
      {{"another", "x"}},
      {{"another", ""}}};
  for (const auto& kept : others) {
    server_.datasets.kept = kept;
    server_.datasets.received.clear();
    server_.datasets.deletions = 0;
    const auto dataset = Upload();
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    ExpectAllThere();
    EXPECT_EQ(server_.datasets.deletions, 1);
    EXPECT_THAT(server_.datasets.received, ElementsAre(5 * kMiB / 2 + 3));
  }
  EXPECT_THAT(resumed_, ::testing::IsEmpty());
}

// What the server read of a connection that was given up, after it was asked.
TEST_F(UploadCallTest, LooksAgainWhereMoreIsThereThanItWasTold) {
  server_.datasets.kept["big"] = big_.substr(0, 1'500'000);
  server_.datasets.unseen = 1000;
  const auto dataset = Upload();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ExpectAllThere();
  EXPECT_EQ(server_.datasets.looks, 2);
  EXPECT_EQ(losses_, 0);
}

TEST_F(UploadCallTest, AnAnswerThatIsLostIsFoundInTheDataset) {
  server_.datasets.answer = {grpc::StatusCode::UNAVAILABLE, "lost"};
  const auto dataset = Upload();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->upload_id(), "u1");
  EXPECT_THAT(server_.datasets.received, SizeIs(1));
}

TEST_F(UploadCallTest, AnUploadThatIsBecomingADatasetIsWaitedForAndNotSentAgain) {
  server_.datasets.kept = {{"big", big_}, {"small", "abc"}};
  server_.datasets.reads = 5;
  const auto dataset = Upload();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->upload_id(), "u1");
  EXPECT_EQ(server_.datasets.looks, 6);
  EXPECT_THAT(server_.datasets.received, ::testing::IsEmpty());
  EXPECT_EQ(losses_, 0);
}

TEST_F(UploadCallTest, OtherErrorsAreReturnedAtOnce) {
  server_.datasets.breaks = {kMiB};
  server_.datasets.break_with = {grpc::StatusCode::ABORTED, "another stream has taken over"};
  EXPECT_EQ(Upload().status(), absl::AbortedError("another stream has taken over"));
  EXPECT_THAT(server_.datasets.received, SizeIs(1));
}

TEST_F(UploadCallTest, WithoutAnIdOrToAnOlderServerThereIsOneStream) {
  server_.datasets.breaks = {kMiB};
  header_.clear_upload_id();
  EXPECT_EQ(Upload().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.datasets.looks, 0);
  server_.datasets.breaks = {kMiB};
  server_.datasets.keeps = false;
  server_.datasets.files.clear();
  header_.set_upload_id("u1");
  EXPECT_EQ(Upload().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(server_.datasets.received, ElementsAre(kMiB, kMiB));
  server_.datasets.files.clear();
  ASSERT_TRUE(Upload().ok());
  ExpectAllThere();
}

TEST_F(UploadCallTest, CancellationLeavesWhatWasSent) {
  Cancellation cancellation;
  events_.on_progress = [&](int64_t, int64_t) { cancellation.Cancel(); };
  EXPECT_EQ(Upload(QuickOptions(), &cancellation).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server_.datasets.deletions, 0);
}

}  // namespace
}  // namespace convd
