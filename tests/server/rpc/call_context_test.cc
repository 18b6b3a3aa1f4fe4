#include "server/rpc/call_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "convd/v1/models.grpc.pb.h"
#include "server/auth/tls_files.h"
#include "server/auth/token.h"
#include "server/rpc/tls_credentials.h"
#include "tests/core/time/hand_clock.h"
#include "tests/server/auth/test_certificates.h"
#include "tests/server/generic_call.h"
#include "tests/server/models/memory_file_system.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

// GetModel asks whether it may be called; ListModels and ExportModel forget it.
class ForgetfulModels final : public v1::Models::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*, v1::Model* response) override {
    if (const Refusal refusal(context); refusal) return refusal;
    response->set_summary(std::string(answer_bytes, 's'));
    NoteTarget(context, std::string(1 << 20, 'm'));
    ++answered;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerWriteReactor<v1::ExportModelResponse>* ExportModel(
      grpc::CallbackServerContext*, const v1::ExportModelRequest*) override {
    class Secret final : public grpc::ServerWriteReactor<v1::ExportModelResponse> {
     public:
      Secret() {
        secret_.set_data("secret");
        StartWrite(&secret_);
      }
      void OnWriteDone(bool) override { Finish(grpc::Status::OK); }
      void OnDone() override { delete this; }

     private:
      v1::ExportModelResponse secret_;
    };
    return new Secret;
  }

  std::atomic<int> answered = 0;
  size_t answer_bytes = 0;  // of GetModel's
};

class CallContextTest : public ::testing::Test {
 protected:
  void Start(CallHooks hooks, std::shared_ptr<grpc::ServerCredentials> credentials =
                                  grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    credentials_ = std::move(credentials);
    builder.AddListeningPort("127.0.0.1:0", credentials_, &port_);
    builder.RegisterService(&models_);
    AddCallHooks(builder, std::move(hooks));
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    channel_ =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials());
  }
  ~CallContextTest() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  ForgetfulModels models_;
  MemoryFileSystem fs_;
  HandClock clock_;
  int port_ = 0;
  // What the server asks goes after it.
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<TlsFiles> files_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(CallContextTest, AHandlerThatForgetsToAskAnswersNobody) {
  Start({});
  GenericCall asked, unary, stream, unknown, other_service;
  EXPECT_TRUE(asked.Run(channel_, "/convd.v1.Models/GetModel").ok());
  const grpc::Status forgot = unary.Run(channel_, "/convd.v1.Models/ListModels");
  EXPECT_EQ(forgot.error_code(), grpc::INTERNAL) << forgot.error_message();
  EXPECT_EQ(unary.messages, 0);
  const grpc::Status streamed = stream.Run(channel_, "/convd.v1.Models/ExportModel");
  EXPECT_EQ(streamed.error_code(), grpc::INTERNAL) << streamed.error_message();
  EXPECT_EQ(stream.messages, 0);
  // What gRPC answers by itself.
  EXPECT_EQ(unknown.Run(channel_, "/convd.v1.Models/Nothing").error_code(), grpc::UNIMPLEMENTED);
  EXPECT_EQ(other_service.Run(channel_, "/convd.v1.Jobs/Train").error_code(), grpc::UNIMPLEMENTED);
}

TEST_F(CallContextTest, AServerWithoutHooksLetsNobodyIn) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&models_);
  const auto server = builder.BuildAndStart();
  GenericCall call;
  EXPECT_EQ(call.Run(grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_),
                                         grpc::InsecureChannelCredentials()),
                     "/convd.v1.Models/GetModel")
                .error_code(),
            grpc::INTERNAL);
  EXPECT_EQ(models_.answered, 0);
  server->Shutdown();
}

TEST_F(CallContextTest, ARefusalSaysWhenToTryAgainAndGivesThePlaceBack) {
  ASSERT_TRUE(WriteFileAtomically(
                  fs_, "/t", TokensFileLine("ci", *ParseScopes("read"), HashToken("s")) + " rate=1")
                  .ok());
  admission_ = *Admission::Open(fs_, clock_, {.tokens_path = "/t"});
  Start({.admission = admission_.get()});
  const auto call = [&](GenericCall& made) {
    made.context.AddMetadata("authorization", "Bearer s");
    return made.Run(channel_, "/convd.v1.Models/GetModel");
  };
  GenericCall first, second;
  EXPECT_TRUE(call(first).ok());
  EXPECT_EQ(call(second).error_code(), grpc::RESOURCE_EXHAUSTED);
  const auto& trailers = second.context.GetServerTrailingMetadata();
  ASSERT_EQ(trailers.count("grpc-retry-pushback-ms"), 1u);
  EXPECT_EQ(trailers.find("grpc-retry-pushback-ms")->second, "1000");
  EXPECT_EQ(trailers.count("x-request-id"), 1u);
  EXPECT_EQ(models_.answered, 1);
}

// A GetModel whose answer is on its way and read when the test says so.
struct UnreadCall {
  explicit UnreadCall(const std::shared_ptr<grpc::Channel>& channel)
      : stub(channel), call(stub.PrepareCall(&context, "/convd.v1.Models/GetModel", &queue)) {
    call->StartCall(nullptr);
    EXPECT_TRUE(Next());
    const grpc::Slice nothing("");
    call->WriteLast(grpc::ByteBuffer(&nothing, 1), {}, nullptr);
    EXPECT_TRUE(Next());
    call->ReadInitialMetadata(nullptr);
    EXPECT_TRUE(Next());
  }
  grpc::Status Read() {
    grpc::ByteBuffer message;
    call->Read(&message, nullptr);
    if (Next()) bytes = message.Length();
    grpc::Status status;
    call->Finish(&status, nullptr);
    EXPECT_TRUE(Next());
    return status;
  }
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }

  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::GenericStub stub;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  size_t bytes = 0;
};

TEST_F(CallContextTest, EndsTheCallWhoseAnswerHasWaitedLongestToBeReadWhereTheyAreTooMany) {
  models_.answer_bytes = 1 << 20;
  const auto unread = std::make_shared<UnreadAnswers>(int64_t{5} << 19);  // room for two
  Start({.unread = unread});
  // A client that takes no more of an answer than it reads.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                       grpc::InsecureChannelCredentials(), arguments);
  UnreadCall first(channel_), second(channel_);
  EXPECT_GT(unread->bytes(), 2 << 20);
  UnreadCall third(channel_);
  const grpc::Status ended = first.Read();
  EXPECT_EQ(ended.error_code(), grpc::RESOURCE_EXHAUSTED) << ended.error_message();
  EXPECT_THAT(ended.error_message(), HasSubstr("read them as they come"));
  for (UnreadCall* call : {&second, &third}) {
    const grpc::Status status = call->Read();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_GT(call->bytes, 1u << 20);
  }
  server_->Shutdown();
  server_ = nullptr;
  EXPECT_EQ(unread->bytes(), 0);
}

TEST_F(CallContextTest, TellsOfEachCallThatHasEnded) {
  struct Told {
    std::string method, principal, request_id, trace_id, peer;
    absl::StatusCode code;
    size_t target;
  };
  absl::Mutex mu;
  std::map<std::string, Told> told;  // calls may end on several threads, in any order
  CallHooks hooks;
  const auto active = std::make_shared<ActiveCalls>();
  hooks.active = active;
  hooks.on_finished = [&](const FinishedCall& call) {
    absl::MutexLock lock(&mu);
    told.insert(
        {std::string(call.method),
         {std::string(call.method), std::string(call.principal), std::string(call.request_id),
          std::string(call.trace_id), call.peer(), call.status.code(), call.target.size()}});
  };
  Start(std::move(hooks));
  GenericCall named, evil;
  named.context.AddMetadata("x-request-id", "build-7.1");
  named.context.AddMetadata("traceparent",
                            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_TRUE(named.Run(channel_, "/convd.v1.Models/GetModel").ok());
  evil.context.AddMetadata("x-request-id", "a b\"");
  evil.context.AddMetadata("traceparent",
                           "00-00000000000000000000000000000000-b7ad6b7169203331-01");
  EXPECT_FALSE(evil.Run(channel_, "/convd.v1.Models/ListModels").ok());
  EXPECT_TRUE(active->AwaitNone(absl::InfiniteFuture()));
  server_->Shutdown();
  server_ = nullptr;
  absl::MutexLock lock(&mu);
  ASSERT_EQ(told.size(), 2u);
  const Told& answered = told.at("/convd.v1.Models/GetModel");
  EXPECT_EQ(answered.request_id, "build-7.1");
  EXPECT_EQ(answered.trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(answered.code, absl::StatusCode::kOk);
  EXPECT_LE(answered.target, 400u);
  const Told& failed = told.at("/convd.v1.Models/ListModels");
  EXPECT_THAT(failed.request_id, ::testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(failed.trace_id, "");
  EXPECT_EQ(failed.code, absl::StatusCode::kInternal);
}

TEST_F(CallContextTest, ANewPairCountsForNewConnectionsAndAWrongOneForNone) {
  TestAuthority first, second("another authority");
  const auto write = [&](const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(fs_, path, text).ok());
  };
  const PemPair old_pair = first.Issue("convd"), new_pair = second.Issue("convd");
  write("/cert", old_pair.certificate);
  write("/key", old_pair.key);
  files_ = *TlsFiles::Open(fs_, clock_, {"/cert", "/key", ""});
  Start({}, NewTlsCredentials(*files_));
  const auto connect = [&](const TestAuthority& trusted) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = trusted.certificate();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                     grpc::SslCredentials(options), arguments);
  };
  const auto code = [](const std::shared_ptr<grpc::Channel>& channel) {
    GenericCall call;
    return call.Run(channel, "/convd.v1.Models/GetModel").error_code();
  };
  const auto kept = connect(first);
  EXPECT_EQ(code(kept), grpc::OK);
  write("/cert", new_pair.certificate);
  EXPECT_FALSE(files_->Reload().ok());
  EXPECT_EQ(code(connect(first)), grpc::OK);
  write("/key", new_pair.key);
  EXPECT_TRUE(*files_->Reload());
  EXPECT_EQ(code(connect(second)), grpc::OK);
  EXPECT_EQ(code(connect(first)), grpc::UNAVAILABLE);
  EXPECT_EQ(code(kept), grpc::OK);
}

}  // namespace
}  // namespace convd
