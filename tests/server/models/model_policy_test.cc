#include "server/models/model_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kPath[] = "/models/m/policy.textproto";

class ModelPolicyTest : public ::testing::Test {
 protected:
  ModelPolicyTest() {
    policy_.set_name("m");
    EXPECT_TRUE(fs_.CreateDirectories("/models/m").ok());
  }

  MemoryFileSystem fs_;
  v1::ModelPolicy policy_;
};

TEST_F(ModelPolicyTest, ReadsWhatWasWritten) {
  ASSERT_TRUE(MoveLabel(policy_, "stable", 3, absl::FromUnixSeconds(100)).ok());
  ASSERT_TRUE(MoveLabel(policy_, "canary", 4, absl::FromUnixSeconds(200)).ok());
  policy_.set_default_label("stable");
  policy_.set_keep(5);
  policy_.set_highest_version(7);
  ASSERT_TRUE(WritePolicy(fs_, "/models", policy_).ok());
  const auto read = ReadPolicy(fs_, "/models", "m");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), policy_.SerializeAsString());
  EXPECT_EQ(read->labels(0).label(), "canary") << "in order of their names";
}

TEST_F(ModelPolicyTest, HasNoLabelsAndKeepsAllWhereThereIsNoFile) {
  const auto read = ReadPolicy(fs_, "/models", "m");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name(), "m");
  EXPECT_EQ(read->labels_size(), 0);
  EXPECT_EQ(read->keep(), 0);
}

TEST_F(ModelPolicyTest, RemembersWhereALabelWasBefore) {
  ASSERT_TRUE(MoveLabel(policy_, "stable", 3, absl::FromUnixSeconds(100)).ok());
  EXPECT_EQ(policy_.labels(0).previous(), 0);
  ASSERT_TRUE(MoveLabel(policy_, "stable", 5, absl::FromUnixSeconds(200)).ok());
  EXPECT_EQ(policy_.labels(0).version(), 5);
  EXPECT_EQ(policy_.labels(0).previous(), 3);
  EXPECT_EQ(policy_.labels(0).moved().seconds(), 200);
  ASSERT_TRUE(MoveLabel(policy_, "stable", 5, absl::FromUnixSeconds(300)).ok());
  EXPECT_EQ(policy_.labels(0).previous(), 3) << "it did not move";
}

TEST_F(ModelPolicyTest, RefusesLabelsThatWouldBeTakenForSomethingElse) {
  for (const char* bad : {"", "12", "a/b", "..", "-x", "with space"}) {
    const absl::Status status = CheckLabel("label", bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr("label: ")) << bad;
  }
  for (const char* good : {"stable", "v2", "2024-best", "latest"}) {
    EXPECT_TRUE(CheckLabel("label", good).ok()) << good;
  }
}

TEST_F(ModelPolicyTest, SaysWhichLabelsThereAre) {
  ASSERT_TRUE(MoveLabel(policy_, "stable", 3, absl::Now()).ok());
  ASSERT_TRUE(MoveLabel(policy_, "canary", 3, absl::Now()).ok());
  const absl::Status missing = FindLabel(policy_, "prod").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("\"prod\""), HasSubstr("\"canary\", \"stable\"")));
  EXPECT_EQ(RemoveLabel(policy_, "prod"), missing);
  EXPECT_TRUE(RemoveLabel(policy_, "canary").ok());
  EXPECT_EQ(policy_.labels_size(), 1);
  policy_.set_default_label("stable");
  EXPECT_EQ(RemoveLabel(policy_, "stable").code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ModelPolicyTest, HasAtMostAHundredLabels) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(MoveLabel(policy_, absl::StrCat("l", i), 1, absl::Now()).ok());
  }
  EXPECT_EQ(MoveLabel(policy_, "more", 1, absl::Now()).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(MoveLabel(policy_, "l7", 2, absl::Now()).ok());
  EXPECT_TRUE(WritePolicy(fs_, "/models", policy_).ok());
  EXPECT_TRUE(ReadPolicy(fs_, "/models", "m").ok());
}

TEST_F(ModelPolicyTest, RefusesAFileThatMakesNoSense) {
  for (const char* bad :
       {"name: \"other\"", "nonsense", "name: \"m\" default_label: \"\\377\"",
        "name: \"m\" keep: -1", "name: \"m\" highest_version: -1",
        "name: \"m\" labels { label: \"a/b\" version: 1 }", "name: \"m\" labels { label: \"a\" }",
        "name: \"m\" labels { label: \"latest\" version: 1 }",
        "name: \"m\" labels { label: \"b\" version: 1 } labels { label: \"a\" version: 1 }",
        "name: \"m\" labels { label: \"a\" version: 1 } labels { label: \"a\" version: 2 }",
        "name: \"m\" default_label: \"a\""}) {
    fs_.Bytes(kPath) = bad;
    const absl::Status status = ReadPolicy(fs_, "/models", "m").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr(kPath)) << bad;
  }
}

TEST_F(ModelPolicyTest, WhatCannotBeReadIsNoCallersFault) {
  ASSERT_TRUE(fs_.CreateDirectories(kPath).ok());
  EXPECT_EQ(ReadPolicy(fs_, "/models", "m").status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ModelPolicyTest, IsReadOrRefusedWhicheverByteIsDamaged) {
  ASSERT_TRUE(MoveLabel(policy_, "stable", 3, absl::FromUnixSeconds(100)).ok());
  policy_.set_default_label("stable");
  ASSERT_TRUE(WritePolicy(fs_, "/models", policy_).ok());
  const std::string good = fs_.Bytes(kPath);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = -1; bit < 8; ++bit) {
      std::string& bytes = fs_.Bytes(kPath);
      bytes = bit < 0 ? good.substr(0, i) : good;
      if (bit >= 0) bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      const auto read = ReadPolicy(fs_, "/models", "m");
      if (read.ok()) {
        EXPECT_EQ(read->name(), "m");
      } else {
        EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
      }
    }
  }
}

}  // namespace
}  // namespace convd
