#include "server/auth/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "server/auth/token.h"
#include "tests/core/time/hand_clock.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Line(const std::string& name, const std::string& scopes, const std::string& token) {
  return TokensFileLine(name, *ParseScopes(scopes), HashToken(token));
}

class AdmissionTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(fs_, "/tokens", text).ok());
  }
  std::unique_ptr<Admission> Open(AdmissionOptions options = {.tokens_path = "/tokens"}) {
    auto admission = Admission::Open(fs_, clock_, std::move(options));
    EXPECT_TRUE(admission.ok()) << admission.status();
    return *std::move(admission);
  }

  MemoryFileSystem fs_;
  HandClock clock_;
};

TEST_F(AdmissionTest, WithoutTokensEveryoneMayDoEverything) {
  const auto admission = Open({});
  const Admitted call = admission->Admit(Scope::kAdmin, "", {});
  EXPECT_TRUE(call.status().ok());
  EXPECT_EQ(call.principal(), "anonymous");
  EXPECT_TRUE(admission->Admit(Scope::kTrain, "Bearer whatever", {}).status().ok());
}

TEST_F(AdmissionTest, ATokenHasItsScopesAndNoOthers) {
  Write(Line("ci", "predict", "secret") + "\n" + Line("boss", "read,admin", "other"));
  const auto admission = Open();
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer secret", {}).status().ok());
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "bearer  secret ", {}).status().ok());
  const Admitted refused = admission->Admit(Scope::kPredict, "Bearer other", {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(refused.status().message(),
            "this call needs the scope predict; \"boss\" has read,admin");
  EXPECT_EQ(refused.principal(), "boss");
  for (const char* header : {"", "secret", "Basic secret", "Bearer ", "Bearer secre",
                             "Bearer secrets", "Bearer Secret"}) {
    const Admitted unknown = admission->Admit(Scope::kPredict, header, {});
    EXPECT_EQ(unknown.status().code(), absl::StatusCode::kUnauthenticated) << header;
    EXPECT_EQ(unknown.principal(), "");
    EXPECT_THAT(unknown.status().message(), Not(HasSubstr("secre")));
  }
  EXPECT_FALSE(
      admission->Admit(Scope::kPredict, "Bearer " + std::string(1 << 20, 'x'), {}).status().ok());
  EXPECT_TRUE(admission->Admit(Scope::kNone, "", {}).status().ok());
}

TEST_F(AdmissionTest, ARequestOfAStreamTakesFromTheRateAndNoPlace) {
  Write(Line("ci", "predict", "s") + " rate=2 concurrent=1");
  const auto admission = Open({.tokens_path = "/tokens"});
  const Admitted stream = admission->Admit(Scope::kPredict, "Bearer s", {});
  ASSERT_TRUE(stream.status().ok()) << stream.status();
  EXPECT_TRUE(admission->AdmitMore(stream).ok());
  const absl::Status refused = admission->AdmitMore(stream);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("2 calls a second (rate= of its entry in --tokens)"));
  EXPECT_EQ(RetryAfter(refused), absl::Milliseconds(500));
  clock_.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(admission->AdmitMore(stream).ok());
  // Without tokens nobody counts.
  EXPECT_TRUE(admission->AdmitMore(Admitted(absl::OkStatus())).ok());
}

TEST_F(AdmissionTest, AStreamAsksForNothingMoreOnceItsTokenOrScopeIsTakenBack) {
  for (const std::string& now : {Line("ci", "predict", "other"), Line("ci", "read", "s"),
                                 Line("cd", "predict", "s"), std::string()}) {
    Write(Line("ci", "predict,read", "s"));
    const auto admission = Open({.tokens_path = "/tokens"});
    const Admitted stream = admission->Admit(Scope::kPredict, "Bearer s", {});
    EXPECT_TRUE(admission->AdmitMore(stream).ok());
    Write(now);
    ASSERT_TRUE(admission->Reload().ok());
    EXPECT_EQ(admission->AdmitMore(stream).code(), absl::StatusCode::kUnauthenticated) << now;
  }
}

TEST_F(AdmissionTest, ACertificateIsKnownByOneOfItsNames) {
  Write("board.example read cert\n" + Line("ci", "predict", "secret"));
  const auto admission = Open({.tokens_path = "/tokens", .client_certificates = true});
  const std::vector<std::string> names = {"Board", "board.example"};
  const Admitted known = admission->Admit(Scope::kRead, "", {names});
  EXPECT_TRUE(known.status().ok()) << known.status();
  EXPECT_EQ(known.principal(), "board.example");
  // A token counts before it; a wrong one isn't passed over.
  EXPECT_EQ(admission->Admit(Scope::kPredict, "Bearer secret", {names}).principal(), "ci");
  EXPECT_FALSE(admission->Admit(Scope::kRead, "Bearer wrong", {names}).status().ok());
  const std::vector<std::string> others = {"evil\nci"};
  const Admitted unknown = admission->Admit(Scope::kRead, "", {others});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(unknown.status().message(), HasSubstr("evil\\nci"));
  // A token's entry is none for a certificate of that name.
  const std::vector<std::string> ci = {"ci"};
  EXPECT_FALSE(admission->Admit(Scope::kPredict, "", {ci}).status().ok());
  const auto certificates_only = Open({.client_certificates = true});
  EXPECT_EQ(certificates_only->Admit(Scope::kAdmin, "", {names}).principal(), "Board");
}

TEST_F(AdmissionTest, WhatItMayNotDoCountsForAPrincipalsRateAndTakesNoPlace) {
  Write(Line("ci", "predict", "one") + " rate=2 concurrent=1\n");
  const auto admission = Open();
  const Admitted first = admission->Admit(Scope::kAdmin, "Bearer one", {});
  EXPECT_EQ(first.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer one", {}).status().ok());
  const Admitted third = admission->Admit(Scope::kAdmin, "Bearer one", {});
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(third.principal(), "ci");
}

TEST_F(AdmissionTest, ReadsAFileAgainUntilItCanBeRead) {
  Write(Line("ci", "predict", "one") + "\n");
  const auto admission = Open();
  Write(Line("ci", "predict", "two") + "\n");
  fs_.FailAt(2);  // after the stamp, the file is opened
  EXPECT_FALSE(admission->Reload().ok());
  EXPECT_TRUE(*admission->Reload());
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer two", {}).status().ok());
}

TEST_F(AdmissionTest, AFileThatIsWrittenMeanwhileIsReadAgain) {
  Write(Line("ci", "predict", "one") + "\n");
  const auto admission = Open();
  Write(Line("ci", "predict", "two") + "\n");
  bool once = true;
  fs_.OnOperation([&](std::string_view operation, const std::string&) {
    if (operation == "read" && std::exchange(once, false)) {
      fs_.Bytes("/tokens") = Line("ci", "predict", "six") + "\n";
    }
  });
  EXPECT_EQ(admission->Reload().status().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer one", {}).status().ok());
  EXPECT_TRUE(*admission->Reload());
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer six", {}).status().ok());
}

TEST_F(AdmissionTest, HalfAFileLocksNobodyOutWhileItIsWritten) {
  Write(Line("ci", "predict", "one") + "\n" + Line("bo", "predict", "two") + "\n");
  const auto admission = Open();
  for (const std::string& half : {std::string(), Line("ci", "predict", "one")}) {
    fs_.Bytes("/tokens") = half;
    fs_.SetTime("/tokens", clock_.Now());
    EXPECT_FALSE(*admission->Reload());
    EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer two", {}).status().ok());
    EXPECT_FALSE(admission->AdmitsNobody());
  }
  // Nobody writes any more, so it is what is meant.
  fs_.Bytes("/tokens") = "";
  fs_.SetTime("/tokens", clock_.Now());
  EXPECT_FALSE(*admission->Reload());
  clock_.Advance(absl::Seconds(3));
  EXPECT_TRUE(*admission->Reload());
  EXPECT_FALSE(admission->Admit(Scope::kPredict, "Bearer one", {}).status().ok());
  EXPECT_TRUE(admission->AdmitsNobody());
}

TEST_F(AdmissionTest, LimitsAreThePrincipalsAndSayWhereTheyCameFrom) {
  Write(Line("ci", "predict", "one") + " rate=1 concurrent=2\n" + Line("ci", "predict", "two") +
        " rate=1 concurrent=2\n" + Line("bo", "predict", "three"));
  const auto admission = Open({.tokens_path = "/tokens", .limits = {.rate = 0, .concurrent = 1}});
  Admitted first = admission->Admit(Scope::kPredict, "Bearer one", {});
  const Admitted second = admission->Admit(Scope::kPredict, "Bearer two", {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(second.status().message(), HasSubstr("rate= of its entry in --tokens"));
  EXPECT_THAT(second.status().message(), HasSubstr("try again in 1000 ms"));
  EXPECT_EQ(RetryAfter(second.status()), absl::Seconds(1));
  EXPECT_EQ(second.principal(), "ci");
  clock_.Advance(absl::Seconds(1));
  Admitted third = admission->Admit(Scope::kPredict, "Bearer two", {});
  EXPECT_TRUE(third.status().ok()) << third.status();
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(admission->Admit(Scope::kPredict, "Bearer two", {}).status().message(),
              HasSubstr("2 calls running"));
  {
    const Admitted ended = std::move(first);
  }
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer two", {}).status().ok());

  const Admitted bo = admission->Admit(Scope::kPredict, "Bearer three", {});
  EXPECT_TRUE(bo.status().ok());
  const absl::Status too_many = admission->Admit(Scope::kPredict, "Bearer three", {}).status();
  EXPECT_THAT(too_many.message(), HasSubstr("--max-concurrent-calls"));
  EXPECT_EQ(RetryAfter(too_many), absl::ZeroDuration());
}

TEST_F(AdmissionTest, ReadsTheTokensAgainAndKeepsTheOldOnesWhereTheNewAreWrong) {
  Write(Line("ci", "predict", "old"));
  const auto admission = Open();
  EXPECT_FALSE(*admission->Reload());
  const Admitted running = admission->Admit(Scope::kPredict, "Bearer old", {});
  Write(Line("ci", "predict", "new") + " concurrent=1");
  EXPECT_TRUE(*admission->Reload());
  EXPECT_FALSE(admission->Admit(Scope::kPredict, "Bearer old", {}).status().ok());
  // What runs counts against a limit that is new.
  EXPECT_THAT(admission->Admit(Scope::kPredict, "Bearer new", {}).status().message(),
              HasSubstr("1 calls running"));
  Write("nonsense");
  EXPECT_THAT(admission->Reload().status().message(),
              HasSubstr("--tokens: /tokens: line 1: has 1 words"));
  EXPECT_FALSE(*admission->Reload());
  EXPECT_EQ(admission->Admit(Scope::kPredict, "Bearer new", {}).principal(), "ci");
  ASSERT_TRUE(fs_.Remove("/tokens").ok());
  EXPECT_THAT(admission->Reload().status().message(), HasSubstr("--tokens: /tokens"));
  EXPECT_FALSE(*admission->Reload());
  EXPECT_EQ(admission->Admit(Scope::kPredict, "Bearer new", {}).principal(), "ci");
  Write(Line("ci", "predict", "new") + " concurrent=2");
  EXPECT_TRUE(*admission->Reload());
  EXPECT_TRUE(admission->Admit(Scope::kPredict, "Bearer new", {}).status().ok());
}

TEST_F(AdmissionTest, WhoIsTakenOutAndPutBackHasTheNewLimitsAndTheCallsThatStillRun) {
  Write(Line("ci", "predict", "one") + " concurrent=1");
  const auto admission = Open();
  const Admitted running = admission->Admit(Scope::kPredict, "Bearer one", {});
  Write(Line("bo", "predict", "two"));
  EXPECT_TRUE(*admission->Reload());
  EXPECT_EQ(admission->Admit(Scope::kPredict, "Bearer one", {}).status().code(),
            absl::StatusCode::kUnauthenticated);
  Write(Line("ci", "predict", "one") + " concurrent=2");
  EXPECT_TRUE(*admission->Reload());
  const Admitted second = admission->Admit(Scope::kPredict, "Bearer one", {});
  EXPECT_TRUE(second.status().ok()) << second.status();
  EXPECT_THAT(admission->Admit(Scope::kPredict, "Bearer one", {}).status().message(),
              HasSubstr("2 calls running"));
}

TEST_F(AdmissionTest, EveryPlaceComesBackWhileTheTokensAreReadAgain) {
  const std::string tokens = Line("ci", "predict", "one") + " concurrent=2\n";
  Write(tokens);
  const auto admission = Open();
  std::atomic<bool> wrong = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 300; ++k) {
        const Admitted call = admission->Admit(Scope::kPredict, "Bearer one", {});
        if (!call.status().ok() && !absl::IsResourceExhausted(call.status())) wrong = true;
      }
    });
  }
  for (int k = 0; k < 50; ++k) {
    Write(tokens + (k % 2 == 0 ? "# again\n" : ""));
    EXPECT_TRUE(admission->Reload().ok());
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_FALSE(wrong);
  const Admitted first = admission->Admit(Scope::kPredict, "Bearer one", {});
  const Admitted second = admission->Admit(Scope::kPredict, "Bearer one", {});
  EXPECT_TRUE(first.status().ok() && second.status().ok());
  EXPECT_FALSE(admission->Admit(Scope::kPredict, "Bearer one", {}).status().ok());
}

TEST_F(AdmissionTest, RefusesTokensThatEveryoneOnTheMachineReads) {
  const std::string path = ::testing::TempDir() + "/tokens_" + std::to_string(getpid());
  ASSERT_TRUE(WriteFileAtomically(FileSystem::Posix(), path, Line("ci", "read", "s")).ok());
  const auto open = [&](mode_t mode) {
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return Admission::Open(FileSystem::Posix(), clock_, {.tokens_path = path}).status();
  };
  EXPECT_EQ(open(0600), absl::OkStatus());
  EXPECT_EQ(open(0440), absl::OkStatus());
  for (const mode_t mode : {0644, 0606, 0620}) {
    const absl::Status status = open(mode);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("want one that only its owner may write and only"));
  }
  EXPECT_THAT(open(0644).message(), HasSubstr("has mode 0644"));
  unlink(path.c_str());
}

}  // namespace
}  // namespace convd
