// Makes a whole server answer each line of docs/status-codes.md, over gRPC and over HTTP.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "convd/v1/datasets.grpc.pb.h"
#include "convd/v1/models.pb.h"
#include "convd/v1/predictor.pb.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/auth/token.h"
#include "server/auth/tokens_file.h"
#include "server/models/repository.h"
#include "server/server.h"
#include "tests/core/data/samples.h"
#include "tests/server/datasets/small_datasets.h"
#include "tests/server/generic_call.h"
#include "tests/server/http/raw_client.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

constexpr char kPredict[] = "/convd.v1.Predictor/Predict";
constexpr char kGetModel[] = "/convd.v1.Models/GetModel";
constexpr int64_t kMaxStateBytes = int64_t{64} << 20;

// Code, HTTP's status or "-", and what the third column begins with.
using Row = std::tuple<std::string, std::string, std::string>;

std::set<Row> DocumentedRows() {
  std::ifstream file(std::string(CONVD_SOURCE_DIR) + "/docs/status-codes.md");
  std::set<Row> rows;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, " | ");
    if (cells.size() != 4 || !absl::StartsWith(line, "| ") || !absl::ascii_isupper(line[2]))
      continue;
    rows.emplace(cells[0].substr(2), cells[1], cells[2]);
  }
  return rows;
}

std::string Name(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

v1::Network ParseNet(const std::string& layers, int size, int channels) {
  v1::Network network;
  network.set_name("n");
  network.mutable_input()->set_height(size);
  network.mutable_input()->set_width(size);
  network.mutable_input()->set_channels(channels);
  for (const std::string& layer : std::vector<std::string>(absl::StrSplit(layers, ' '))) {
    v1::Layer& l = *network.add_layers();
    if (layer == "flatten") l.mutable_flatten();
    if (layer == "elu") l.mutable_activation()->set_activation(v1::ACTIVATION_ELU);
    if (layer == "pool") l.mutable_max_pool()->add_size(size);
    int units = 0;
    if (absl::SimpleAtoi(layer, &units)) l.mutable_dense()->set_units(units);
  }
  network.mutable_layers(network.layers_size() - 1)
      ->mutable_dense()
      ->set_activation(v1::ACTIVATION_SOFTMAX);
  return network;
}

v1::PredictRequest Prediction(const std::string& model, int64_t images = 1) {
  v1::PredictRequest request;
  request.mutable_model()->set_name(model);
  v1::RawImages& raw = *request.mutable_images()->mutable_uint8();
  raw.set_count(images);
  raw.set_height(2);
  raw.set_width(2);
  raw.set_channels(1);
  raw.set_data(std::string(static_cast<size_t>(4 * images), '\xff'));
  return request;
}

std::string PredictionBody(int64_t images = 1) {
  // Three bytes are four characters: twelve bytes are three images.
  std::string data;
  if (images == 1) data = "/////w==";
  for (int64_t i = 0; images > 1 && i < images; i += 3) data += "////////////////";
  return absl::StrCat("{\"images\": {\"uint8\": {\"count\": ", images,
                      ", \"height\": 2, \"width\": 2, \"channels\": 1, \"data\": \"", data,
                      "\"}}}");
}

class StatusCodesTest : public ::testing::Test {
 protected:
  StatusCodesTest() {
    char name[] = "/tmp/convd-status-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    config_.grpc_address = config_.http_address = "127.0.0.1:0";
    config_.state_dir = dir_ + "/state";
    config_.cpus = 1;
    config_.max_message_mb = 4;
    config_.max_state_bytes = kMaxStateBytes;
    config_.tokens = dir_ + "/tokens";
    const auto line = [](const std::string& principal, const std::string& scopes) {
      return TokensFileLine(principal, *ParseScopes(scopes), HashToken(principal + "-token"));
    };
    std::ofstream(config_.tokens) << line("all", "read,predict,train,admin") << "\n"
                                  << line("reader", "read") << "\n"
                                  << line("slow", "read") << " rate=0.001\n"
                                  << line("single", "read,train") << " concurrent=1\n";
    std::filesystem::permissions(config_.tokens, std::filesystem::perms(0600));
  }
  ~StatusCodesTest() override {
    server_ = nullptr;
    std::filesystem::remove_all(dir_);
  }

  void Publish(const std::string& name, const v1::Network& network, float weight) {
    const absl::StatusOr<Graph> graph = Graph::Create(network);
    ASSERT_TRUE(graph.ok()) << graph.status();
    auto models = ModelRepository::Open(FileSystem::Posix(), Clock::Real(), config_.state_dir);
    ASSERT_TRUE(models.ok()) << models.status();
    v1::ModelCard card;
    card.mutable_model()->set_name(name);
    for (int c = 0; c < graph->classes(); ++c) card.add_labels(absl::StrCat(c));
    const auto published =
        (*models)->Publish(*graph, std::vector<float>(graph->parameter_count(), weight), card);
    ASSERT_TRUE(published.ok()) << published.status();
  }
  void Start() {
    auto server = Server::Start(config_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->grpc_address(), grpc::InsecureChannelCredentials());
  }

  grpc::Status Call(const std::string& method, const google::protobuf::Message& request,
                    const std::string& token = "all") {
    GenericCall call;
    if (!token.empty()) call.context.AddMetadata("authorization", "Bearer " + token + "-token");
    return call.Run(channel_, method, request.SerializeAsString());
  }
  static std::string HttpRequestText(const std::string& route, const std::string& body,
                                     const std::string& token, const std::string& more = "") {
    return absl::StrCat(
        route, " HTTP/1.1\r\nHost: localhost\r\n", more, "Content-Length: ", body.size(), "\r\n",
        token.empty() ? "" : absl::StrCat("Authorization: Bearer ", token, "-token\r\n"), "\r\n",
        body);
  }
  std::string Ask(const std::string& route, const std::string& body = "",
                  const std::string& token = "all") {
    RawClient client(server_->http_address());
    client.Send(HttpRequestText(route, body, token, "Connection: close\r\n"));
    return client.Rest();
  }

  // One line of the table, with what gRPC and HTTP were seen to answer; "" where HTTP has none.
  void Saw(const std::string& when, const grpc::Status& status, const std::string& grpc_says,
           const std::string& http, const std::string& http_says, const char* http_code = nullptr) {
    const std::string code = Name(status.error_code());
    EXPECT_THAT(status.error_message(), HasSubstr(grpc_says)) << code << ": " << when;
    std::string number = "-";
    if (!http.empty()) {
      number = http.substr(0, 9) == "HTTP/1.1 " ? http.substr(9, 3) : http;
      EXPECT_THAT(http, HasSubstr(http_says)) << code << ": " << when;
      // /v2 has no codes in its bodies.
      if (absl::StrContains(http, "\"code\"")) {
        EXPECT_THAT(http,
                    HasSubstr(absl::StrCat("\"code\":\"", http_code ? http_code : code, "\"")));
      }
    }
    for (const Row& row : DocumentedRows()) {
      if (std::get<0>(row) == code && std::get<1>(row) == number &&
          absl::StrContains(std::get<2>(row), when)) {
        EXPECT_TRUE(seen_.insert(row).second) << when << ": seen twice";
        return;
      }
    }
    ADD_FAILURE() << "docs/status-codes.md has no line " << code << " | " << number << " | ..."
                  << when << ": " << status.error_message() << "; " << http;
  }
  void Requests();
  void Limits();
  void Damages();
  void Uploads();
  void Loads();
  void Stops();

  grpc::Status Upload(const v1::UploadHeader& header, char pixel) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer all-token");
    v1::Dataset dataset;
    const auto upload = v1::Datasets::NewStub(channel_)->UploadDataset(&context, &dataset);
    v1::UploadDatasetRequest part;
    *part.mutable_header() = header;
    upload->Write(part);
    for (const auto& [file, bytes] : SmallMnist(pixel)) {
      part.mutable_chunk()->set_file(file);
      part.mutable_chunk()->set_data(bytes);
      upload->Write(part);
    }
    upload->WritesDone();
    return upload->Finish();
  }

  std::string dir_;
  Config config_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::set<Row> seen_;
  // An upload that stays open to the end.
  grpc::ClientContext open_context_;
  v1::Dataset open_dataset_;
  std::unique_ptr<grpc::ClientWriter<v1::UploadDatasetRequest>> open_;
};

void StatusCodesTest::Requests() {
  v1::PredictRequest request = Prediction("m");
  request.mutable_images()->mutable_uint8()->set_width(3);
  Saw("a field can't be so", Call(kPredict, request), "images.uint8",
      Ask("POST /v1/models/m:predict?top_k=-1", PredictionBody()), "top_k");
  v1::GetModelRequest get;
  get.mutable_model()->set_name("none");
  Saw("there is no such model", Call(kGetModel, get), "none", Ask("GET /v1/models/none"), "none");
  request = Prediction("m");
  request.set_precision(v1::PRECISION_INT8);
  Saw("not as things stand", Call(kPredict, request), "precision",
      Ask("POST /v1/models/m:predict?precision=int8", PredictionBody()), "precision");
  Saw("no token came", Call(kPredict, request, ""), "no token came",
      Ask("POST /v1/models/m:predict", "", ""), "no token came");
  Saw("hasn't the scope", Call(kPredict, request, "reader"), "needs the scope predict",
      Ask("POST /v1/models/m:predict", "", "reader"), "needs the scope predict");
  Saw("no such method or path", Call("/convd.v1.Jobs/Unheard", request), "", Ask("GET /nothing"),
      "nothing is at this path", "NOT_FOUND");
  inference::RepositoryIndexRequest index;
  index.set_repository_name("other");
  RawClient encoded(server_->http_address());
  encoded.Send(
      HttpRequestText("POST /v1/models/m:predict", "x", "all", "Content-Encoding: gzip\r\n"));
  Saw("this server hasn't", Call("/inference.GRPCInferenceService/RepositoryIndex", index),
      "repository_name", encoded.Response(), "content-encoding");
}

void StatusCodesTest::Limits() {
  v1::GetModelRequest get;
  get.mutable_model()->set_name("m");
  EXPECT_TRUE(Call(kGetModel, get, "slow").ok());
  Saw("calls too often", Call(kGetModel, get, "slow"), "\"slow\" makes more than",
      Ask("GET /v1/models/m", "", "slow"), "Retry-After: ");
  get.mutable_model()->set_label(std::string(5 << 20, 'x'));
  RawClient client(server_->http_address());
  client.Send(absl::StrCat("POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\n",
                           "Content-Length: ", 5 << 20, "\r\n\r\n"));
  Saw("larger than `--max-message-mb`", Call(kGetModel, get), "larger than max", client.Response(),
      "--max-message-mb", "INVALID_ARGUMENT");
  v1::PredictRequest photo;
  photo.mutable_model()->set_name("m");
  const std::string huge = Sample("huge.png");
  photo.mutable_images()->mutable_encoded()->add_files(huge);
  Saw("beyond a limit", Call(kPredict, photo), "images.encoded.files[0]: says",
      Ask("POST /v1/models/m:predict", huge), "says");
  Saw("fit into the memory", Call(kPredict, Prediction("huge")), "memory",
      Ask("POST /v1/models/huge:predict", PredictionBody()), "memory");
}

void StatusCodesTest::Damages() {
  std::fstream onnx(config_.state_dir + "/models/torn/1/model.onnx",
                    std::ios::in | std::ios::out | std::ios::binary);
  onnx.seekp(-1, std::ios::end);
  onnx.put('x');
  onnx.close();
  Saw("is damaged", Call(kPredict, Prediction("torn")), "model.onnx",
      Ask("POST /v1/models/torn:predict", PredictionBody()), "model.onnx");
  Saw("probabilities aren't finite", Call(kPredict, Prediction("overflows")), "image 0",
      Ask("POST /v1/models/overflows:predict", PredictionBody()), "image 0");
}

void StatusCodesTest::Uploads() {
  v1::UploadHeader header;
  header.set_name("digits");
  const grpc::Status first = Upload(header, 'p');
  EXPECT_TRUE(first.ok()) << first.error_message();
  Saw("stands for other data", Upload(header, 'q'), "name: \"digits\"", "", "");

  const auto stub = v1::Datasets::NewStub(channel_);
  header.set_name("other");
  header.set_upload_id("u");
  v1::UploadDatasetRequest part;
  const auto begin = [&](grpc::ClientContext& context, v1::Dataset& dataset,
                         const std::string& token = "all") {
    context.AddMetadata("authorization", "Bearer " + token + "-token");
    auto upload = stub->UploadDataset(&context, &dataset);
    *part.mutable_header() = header;
    upload->Write(part);
    return upload;
  };
  grpc::ClientContext context, second_context, third_context;
  v1::Dataset dataset;
  const auto upload = begin(context, dataset);
  v1::GetUploadRequest get;
  get.set_upload_id("u");
  while (!Call("/convd.v1.Datasets/GetUpload", get).ok()) std::this_thread::yield();
  const auto second = begin(second_context, dataset);
  part.mutable_chunk()->set_file("labels");
  for (int64_t offset = 0;; ++offset) {
    part.mutable_chunk()->set_offset(offset);
    part.mutable_chunk()->set_data("x");
    if (!upload->Write(part)) break;
  }
  Saw("another was faster", upload->Finish(), "upload_id", "", "");
  const auto third = begin(third_context, dataset);
  part.mutable_chunk()->set_file("labels");
  part.mutable_chunk()->set_offset(int64_t{1} << 40);
  third->Write(part);
  third->WritesDone();
  Saw("`chunk.offset` isn't", third->Finish(), "chunk.offset", "", "");
  second_context.TryCancel();
  second->Finish();
  header.set_upload_id("v");
  open_ = begin(open_context_, open_dataset_, "single");
  get.set_upload_id("v");
  while (!Call("/convd.v1.Datasets/GetUpload", get).ok()) std::this_thread::yield();
  v1::GetModelRequest model;
  model.mutable_model()->set_name("m");
  Saw("too many calls running", Call(kGetModel, model, "single"), "has 1 calls running",
      Ask("GET /v1/models/m", "", "single"), "has 1 calls running");

  std::ofstream(config_.state_dir + "/large") << std::string(kMaxStateBytes, 'x');
  header.clear_upload_id();
  grpc::Status refused;
  // What the folder takes is looked at each second at most; until then the upload lacks its files.
  while (refused.error_code() != grpc::RESOURCE_EXHAUSTED) {
    grpc::ClientContext at_once;
    const auto upload_begun = begin(at_once, dataset);
    upload_begun->WritesDone();
    refused = upload_begun->Finish();
  }
  Saw("the disk is full", refused, "--max-state-bytes", "", "");
  std::filesystem::remove(config_.state_dir + "/large");
}

// While a worker has seconds of predictions before it.
void StatusCodesTest::Loads() {
  constexpr int64_t kMostImages = 65'536;  // of a request; four times that may wait
  struct Background {
    GenericCall call;
    grpc::Status status;
    std::atomic<bool> ended = false;
    std::thread thread;
  };
  std::vector<std::unique_ptr<Background>> fillers;
  const auto fill = [&] {
    Background& b = *fillers.emplace_back(std::make_unique<Background>());
    b.call.context.AddMetadata("authorization", "Bearer all-token");
    b.thread = std::thread([this, &b] {
      b.status =
          b.call.Run(channel_, kPredict, Prediction("busy", kMostImages).SerializeAsString());
      b.ended = true;
    });
  };
  ASSERT_TRUE(Call(kPredict, Prediction("busy")).ok());
  for (int i = 0; i < 6; ++i) fill();
  std::vector<Background*> refused, waiting;
  while (refused.size() < 2) {
    std::this_thread::yield();
    refused.clear();
    waiting.clear();
    for (const auto& filler : fillers) (filler->ended ? refused : waiting).push_back(filler.get());
  }
  Saw("too many predictions wait", refused[0]->status, "too many predictions wait",
      Ask("POST /v1/models/m:predict", PredictionBody()), "too many predictions wait");

  waiting[0]->call.context.TryCancel();
  waiting[0]->thread.join();
  // Where there is no room yet for those who leave, later ones find it.
  const std::string cancelled = "{code=\"CANCELLED\",method=\"POST /v1/models/{name}:predict\"";
  while (!absl::StrContains(Ask("GET /metrics"), cancelled)) {
    RawClient leaves(server_->http_address());
    leaves.Send(HttpRequestText("POST /v1/models/busy:predict", PredictionBody(60'000), "all"));
    leaves.Reset();  // one that only says that it sends no more is answered
  }
  Saw("the client has gone", waiting[0]->status, "", "499", "499");

  grpc::Status late(grpc::RESOURCE_EXHAUSTED, "");
  while (late.error_code() == grpc::RESOURCE_EXHAUSTED) {
    GenericCall call;
    call.context.AddMetadata("authorization", "Bearer all-token");
    call.context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    late = call.Run(channel_, kPredict, Prediction("busy", kMostImages).SerializeAsString());
  }
  Saw("the deadline passed", late, "", "", "");
  for (const auto& filler : fillers) {
    filler->call.context.TryCancel();
    if (filler->thread.joinable()) filler->thread.join();
  }
}

// While a call goes on.
void StatusCodesTest::Stops() {
  RawClient client(server_->http_address());
  const std::string ask = HttpRequestText("GET /v1/models/m", "", "all");
  client.Send(ask);
  EXPECT_THAT(client.Response(), HasSubstr("HTTP/1.1 200 "));
  std::thread stop([&] { server_->Stop(absl::Now() + absl::Seconds(60)); });
  std::string stopping;
  for (stopping = "HTTP/1.1 200 "; absl::StrContains(stopping, "HTTP/1.1 200 ");) {
    RawClient next(server_->http_address());
    next.Send(ask);
    stopping = next.Response();
  }
  grpc::Status gone;
  v1::GetModelRequest get;
  get.mutable_model()->set_name("m");
  while (gone.error_code() != grpc::UNAVAILABLE) gone = Call(kGetModel, get);
  Saw("the server stops", gone, "", stopping, "the server is stopping");
  open_context_.TryCancel();
  open_->Finish();
  stop.join();
}

TEST_F(StatusCodesTest, AServerAnswersEachLineOfTheTable) {
  ASSERT_GT(DocumentedRows().size(), 15u);
  std::filesystem::create_directories(config_.state_dir);
  Publish("m", ParseNet("flatten 4", 2, 1), 0.1f);
  Publish("torn", ParseNet("flatten 4", 2, 1), 0.1f);
  Publish("overflows", ParseNet("flatten 4", 2, 1), 3e38f);
  Publish("busy", ParseNet("flatten 512 512 512 512 512 512 512 512 512 512 512 512 4", 2, 1),
          0.001f);
  std::string many = "elu";
  for (int i = 0; i < 900; ++i) many += " elu";
  Publish("huge", ParseNet(many + " pool flatten 2", 16'000, 1), 0.1f);
  Start();
  Damages();
  Requests();
  Limits();
  Uploads();
  Loads();
  Stops();
  for (const Row& row : DocumentedRows()) {
    EXPECT_EQ(seen_.count(row), 1u) << "nothing was seen of " << std::get<0>(row) << " | "
                                    << std::get<1>(row) << " | " << std::get<2>(row);
  }
  // None of gRPC's is missing but UNKNOWN, which nothing here answers.
  std::set<std::string> codes, all;
  for (const Row& row : seen_) codes.insert(std::get<0>(row));
  for (int code = 1; code <= 16; ++code) {
    if (code != grpc::UNKNOWN) all.insert(Name(static_cast<grpc::StatusCode>(code)));
  }
  EXPECT_EQ(codes, all);
}

}  // namespace
}  // namespace convd
