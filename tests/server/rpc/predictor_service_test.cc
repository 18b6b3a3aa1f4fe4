#include "server/rpc/predictor_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/server/rpc/fake_models.h"
#include "tests/server/rpc/fake_registry.h"
#include "tests/server/rpc/loopback_server.h"

namespace convd {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class PredictorServiceTest : public ::testing::Test {
 protected:
  void Start(const PredictLimits& limits = {}) {
    queue_ = std::make_unique<PredictQueue>(*executor_, limits);
    predictor_ = std::make_unique<Predictor>(*models_.repository, *queue_, &registry_);
    service_ = std::make_unique<PredictorService>(*predictor_);
    server_ = std::make_unique<LoopbackServer>(*service_);
    stub_ = v1::Predictor::NewStub(server_->channel());
  }
  static v1::PredictRequest Request(const std::string& model, const std::vector<int>& classes) {
    v1::PredictRequest request;
    request.mutable_model()->set_name(model);
    *request.mutable_images() = ImagesOf(classes);
    return request;
  }
  grpc::Status Predict(const v1::PredictRequest& request, v1::PredictResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::PredictResponse unused;
    return stub_->Predict(&context, request, response != nullptr ? response : &unused);
  }

  FakeModels models_;
  FakeRegistry registry_;
  std::unique_ptr<Executor> executor_ = NewThreadedExecutor(2);
  std::unique_ptr<PredictQueue> queue_;
  std::unique_ptr<Predictor> predictor_;
  std::unique_ptr<PredictorService> service_;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<v1::Predictor::Stub> stub_;
};

TEST_F(PredictorServiceTest, AnswersFromTheNewestVersionOrTheNamedOne) {
  models_.Publish("m");
  models_.Publish("m");
  Start();
  for (int64_t version : {0, 1, 2, 0, 1}) {
    v1::PredictRequest request = Request("m", {2, 0, 3, 1, 1});
    request.mutable_model()->set_version(version);
    request.set_top_k(2);
    v1::PredictResponse response;
    const grpc::Status status = Predict(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model().name(), "m");
    EXPECT_EQ(response.model().version(), version == 0 ? 2 : version);
    ASSERT_EQ(response.predictions_size(), 5);
    EXPECT_EQ(response.predictions(2).top(0).index(), 3);
    EXPECT_EQ(response.predictions(2).top(0).label(), "c3");
    EXPECT_EQ(response.predictions(2).top(1).label(), "c0");
  }
}

TEST_F(PredictorServiceTest, PredictsSamplesOfADatasetWithTheirLabels) {
  models_.Publish("m");
  registry_.Add("data", "train", {3, 3}, {0, 0});
  registry_.Add("data", "test", {0, 1, 2, 3}, {0, 2, 2, 3});
  Start();
  v1::PredictRequest request = Request("m", {});
  v1::DatasetImages& samples = *request.mutable_images()->mutable_dataset();
  samples.set_name("data");
  samples.set_first(1);
  samples.set_count(2);
  samples.set_sha256("sha of data");
  v1::PredictResponse response;
  const grpc::Status status = Predict(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.predictions_size(), 2);
  EXPECT_EQ(response.predictions(0).top(0).index(), 1);
  EXPECT_EQ(response.predictions(1).top(0).index(), 2);
  EXPECT_THAT(response.labels(), ElementsAreArray({2, 2}));
}

TEST_F(PredictorServiceTest, SaysWhichOfADatasetsSamplesItCannotPredict) {
  models_.Publish("m");
  registry_.Add("data", "test", {0, 1, 2, 3}, {0, 2, 2, 3});
  registry_.Add("wide", "test", {0}, {0}, 2, 4);
  PredictLimits limits;
  limits.max_images = 3;
  Start(limits);
  const auto expect = [&](const char* name, const char* split, int64_t first, int64_t count,
                          grpc::StatusCode code, const std::string& says) {
    v1::PredictRequest request = Request("m", {});
    v1::DatasetImages& samples = *request.mutable_images()->mutable_dataset();
    samples.set_name(name);
    samples.set_split(split);
    samples.set_first(first);
    samples.set_count(count);
    if (code == grpc::ABORTED) samples.set_sha256("another");
    const grpc::Status status = Predict(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(says));
  };
  const int64_t kMost = std::numeric_limits<int64_t>::max();
  expect("none", "", 0, 1, grpc::NOT_FOUND, "none");
  expect("../x", "", 0, 1, grpc::INVALID_ARGUMENT, "images.dataset.name");
  expect("data", "trian", 0, 1, grpc::NOT_FOUND, "\"data\" has \"test\"; got \"trian\"");
  expect("data", "", 2, 3, grpc::INVALID_ARGUMENT, "\"data/test\" has 4, numbered from 0");
  expect("data", "", 4, 1, grpc::INVALID_ARGUMENT, "from number 4 on");
  expect("data", "", -1, 1, grpc::INVALID_ARGUMENT, "from number -1 on");
  expect("data", "", kMost, 1, grpc::INVALID_ARGUMENT, "from number 9223372036854775807 on");
  for (const int64_t count : {int64_t{0}, int64_t{-1}, int64_t{4}, kMost}) {
    expect("data", "", 0, count, grpc::INVALID_ARGUMENT, "images.dataset.count: got ");
  }
  expect("wide", "", 0, 1, grpc::INVALID_ARGUMENT, "has images of 2x4x1");
  expect("data", "", 0, 1, grpc::ABORTED, "images.dataset.sha256");
}

// A small request, but not for a small answer.
TEST_F(PredictorServiceTest, SamplesOfADatasetCountAmongThoseThatWaitForAModel) {
  models_.Publish("m");
  registry_.Add("data", "test", std::vector<int>(1000, 1), std::vector<int32_t>(1000, 1));
  PredictLimits limits;
  limits.max_waiting_images = 1500;
  Start(limits);
  absl::Notification loading, go_on;
  models_.on_compile = [&] {
    if (!loading.HasBeenNotified()) loading.Notify();
    go_on.WaitForNotification();
  };
  v1::PredictRequest request = Request("m", {});
  request.mutable_images()->mutable_dataset()->set_name("data");
  request.mutable_images()->mutable_dataset()->set_count(1000);
  grpc::Status first;
  std::thread waits([&] { first = Predict(request); });
  loading.WaitForNotification();
  EXPECT_EQ(Predict(request).error_code(), grpc::RESOURCE_EXHAUSTED);
  go_on.Notify();
  waits.join();
  EXPECT_TRUE(first.ok()) << first.error_message();
}

TEST_F(PredictorServiceTest, SaysWhatItComputedIn) {
  v1::TrainRequest trained;
  trained.set_serving_precision(v1::PRECISION_BF16);
  models_.Publish("m", trained);
  Start();
  for (const auto& [named, meant] :
       {std::pair{v1::PRECISION_UNSPECIFIED, v1::PRECISION_BF16},
        std::pair{v1::PRECISION_INT8, v1::PRECISION_INT8},
        std::pair{v1::PRECISION_F32, v1::PRECISION_F32},
        std::pair{v1::PRECISION_UNSPECIFIED, v1::PRECISION_BF16}}) {  // in memory by now
    v1::PredictRequest request = Request("m", {2});
    request.set_precision(named);
    v1::PredictResponse response;
    const grpc::Status status = Predict(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.precision(), meant);
    EXPECT_EQ(response.predictions(0).top(0).index(), 2);
  }
}

TEST_F(PredictorServiceTest, RefusesAPrecisionThatIsNotThere) {
  v1::TrainRequest trained;
  trained.set_serving_precision(v1::PRECISION_BF16);
  models_.Publish("m", trained);
  models_.precisions = {v1::PRECISION_F32};
  Start();
  v1::PredictRequest request = Request("m", {0});
  const auto expect = [&](grpc::StatusCode code, const std::string& says) {
    const grpc::Status status = Predict(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(says));
  };
  expect(grpc::FAILED_PRECONDITION, "is served at bf16, which this CPU lacks");
  request.set_precision(v1::PRECISION_INT8);
  expect(grpc::FAILED_PRECONDITION, "precision: the CPU lacks it");
  for (const int word : {9, -1}) {
    request.set_precision(static_cast<v1::Precision>(word));
    expect(grpc::INVALID_ARGUMENT, "precision: got " + std::to_string(word));
  }
  request.set_precision(v1::PRECISION_F32);
  EXPECT_TRUE(Predict(request).ok());
}

TEST_F(PredictorServiceTest, GivesEachErrorItsCode) {
  models_.Publish("m");
  models_.Publish("torn");
  models_.fs.Bytes("/state/models/torn/1/model.onnx")[10] ^= 1;
  Start();
  const auto expect = [&](const v1::PredictRequest& request, grpc::StatusCode code,
                          const std::string& says) {
    const grpc::Status status = Predict(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(says));
  };
  expect(Request("unknown", {0}), grpc::NOT_FOUND, "\"unknown\"");
  expect(Request("torn", {0}), grpc::DATA_LOSS, "model.onnx");
  for (const std::string& name : {std::string("a/b"), std::string(".."), std::string("a\0b", 3),
                                  std::string(300, 'x'), std::string()}) {
    expect(Request(name, {0}), grpc::INVALID_ARGUMENT, "model.name");
  }
  v1::PredictRequest request = Request("m", {0});
  request.mutable_model()->set_version(-1);
  expect(request, grpc::INVALID_ARGUMENT, "model.version");
  request.mutable_model()->set_version(7);
  expect(request, grpc::NOT_FOUND, "no version 7");
  request = Request("m", {0});
  request.set_top_k(5);
  expect(request, grpc::INVALID_ARGUMENT, "top_k");
  request = Request("m", {0});
  request.mutable_images()->mutable_uint8()->set_height(3);
  expect(request, grpc::INVALID_ARGUMENT,
         "images of 3x3x1 (height x width x channels); this model takes 2x3x1");
  request.clear_images();
  expect(request, grpc::INVALID_ARGUMENT, "images");
  // And it lives on.
  EXPECT_TRUE(Predict(Request("m", {0})).ok());
}

TEST_F(PredictorServiceTest, AnswersForOneModelWhileAnotherIsLoading) {
  models_.Publish("fast");
  models_.Publish("slow");
  Start();
  ASSERT_TRUE(Predict(Request("fast", {0})).ok());
  absl::Notification loading, go;
  models_.on_compile = [&] {
    loading.Notify();
    go.WaitForNotification();
  };
  std::thread slow([&] { EXPECT_TRUE(Predict(Request("slow", {0})).ok()); });
  loading.WaitForNotification();
  EXPECT_TRUE(Predict(Request("fast", {1})).ok());
  go.Notify();
  slow.join();
}

TEST_F(PredictorServiceTest, TellsACallerWhoseDeadlinePassedAndStopsWorkingForIt) {
  std::atomic<int> infers{0};
  models_.on_infer = [&](absl::Span<const ImagePixels>) {
    ++infers;
    return absl::OkStatus();
  };
  models_.until_cancelled = true;
  executor_ = NewThreadedExecutor(1);
  models_.Publish("m");
  Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::PredictResponse response;
  const v1::PredictRequest request = Request("m", std::vector<int>(100, 1));
  EXPECT_EQ(stub_->Predict(&context, request, &response).error_code(), grpc::DEADLINE_EXCEEDED);
  server_->Shutdown();  // returns when the server is through with the call, which computes for ever
  EXPECT_LE(infers, 1) << "began another piece for nobody";
}

TEST_F(PredictorServiceTest, RefusesMoreThanMayWaitAndSaysToTryAgain) {
  absl::Notification inside, go;
  models_.on_infer =
      [&, first = std::make_shared<std::atomic<bool>>(true)](absl::Span<const ImagePixels>) {
        if (first->exchange(false)) inside.Notify();
        go.WaitForNotification();
        return absl::OkStatus();
      };
  models_.Publish("m");
  PredictLimits limits;
  limits.max_images = 4;
  limits.max_waiting_images = 4;
  Start(limits);
  std::thread waiting([&] { EXPECT_TRUE(Predict(Request("m", {0, 1, 2})).ok()); });
  inside.WaitForNotification();
  const grpc::Status status = Predict(Request("m", {0, 1}));
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("try again"));
  go.Notify();
  waiting.join();
  EXPECT_TRUE(Predict(Request("m", {0, 1})).ok());
}

TEST_F(PredictorServiceTest, BoundsThoseWhoWaitForAModelAsThoseWhoWaitForAWorker) {
  models_.Publish("cold");
  absl::Notification go;
  models_.on_compile = [&] { go.WaitForNotification(); };
  PredictLimits limits;
  limits.max_images = 4;
  limits.max_waiting_images = 6;
  Start(limits);
  struct Sent {
    v1::PredictRequest request;
    v1::PredictResponse response;
    absl::Status status;
    absl::Notification done;
  };
  std::vector<std::unique_ptr<Sent>> sent;
  const auto send = [&](v1::PredictRequest request) -> Sent& {
    Sent& s = *sent.emplace_back(std::make_unique<Sent>());
    s.request = std::move(request);
    predictor_->Predict(
        s.request, s.response, [] { return absl::OkStatus(); },
        [&s](absl::Status status) {
          s.status = std::move(status);
          s.done.Notify();
        });
    return s;
  };
  send(Request("cold", {0, 1, 2, 3}));
  send(Request("cold", {2}));
  // Says that it has many, but only what is there counts.
  v1::PredictRequest boast = Request("cold", {1});
  boast.mutable_images()->mutable_uint8()->set_count(int64_t{1} << 40);
  EXPECT_TRUE(absl::IsResourceExhausted(send(boast).status));
  send(Request("cold", {3}));
  EXPECT_TRUE(absl::IsResourceExhausted(send(Request("cold", {0})).status));
  go.Notify();
  for (const auto& s : sent) s->done.WaitForNotification();
  for (const int answered : {0, 1, 3}) EXPECT_TRUE(sent[answered]->status.ok());
  EXPECT_EQ(sent[3]->response.predictions(0).top(0).index(), 3);
  EXPECT_TRUE(Predict(Request("cold", {0, 1, 2, 3})).ok());
}

TEST_F(PredictorServiceTest, AnswersWhatItAcceptedWhenTheServerDrains) {
  absl::Notification inside, go;
  models_.on_infer =
      [&, first = std::make_shared<std::atomic<bool>>(true)](absl::Span<const ImagePixels>) {
        if (first->exchange(false)) inside.Notify();
        go.WaitForNotification();
        return absl::OkStatus();
      };
  models_.Publish("m");
  Start();
  std::thread client([&] { EXPECT_TRUE(Predict(Request("m", {0, 1, 2, 3, 0, 1})).ok()); });
  inside.WaitForNotification();
  std::thread drain([&] { server_->Shutdown(); });
  go.Notify();
  drain.join();
  client.join();
  service_.reset();
}

TEST_F(PredictorServiceTest, AStreamAnswersInAnyOrderAndEndsAfterTheLast) {
  absl::Notification go;
  models_.Publish("fast");
  models_.Publish("slow");
  Start();
  ASSERT_TRUE(Predict(Request("fast", {0})).ok());
  models_.on_infer = [&](absl::Span<const ImagePixels>) {
    go.WaitForNotification();
    return absl::OkStatus();
  };
  grpc::ClientContext context;
  const auto stream = stub_->PredictStream(&context);
  uint64_t id = 10;
  v1::PredictStreamRequest request;
  for (const char* const model : {"slow", "unknown", "fast"}) {
    request.set_id(id++);
    *request.mutable_request() = Request(model, {2});
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  std::map<uint64_t, v1::PredictStreamResponse> answers;
  v1::PredictStreamResponse response;
  for (int i = 0; i < 3; ++i) {
    if (i == 2) go.Notify();
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.id() == 10, i == 2) << response.id();
    answers[response.id()] = response;
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers[10].response().predictions(0).top(0).label(), "c2");
  EXPECT_EQ(answers[11].error().code(), grpc::NOT_FOUND);
  EXPECT_EQ(answers[12].response().model().name(), "fast");
}

TEST_F(PredictorServiceTest, AStreamThatIsCancelledOrStoppedLetsTheServerEnd) {
  models_.until_cancelled = true;
  models_.Publish("m");
  Start();
  grpc::ClientContext context, idle_context;
  const auto stream = stub_->PredictStream(&context);
  const auto idle = stub_->PredictStream(&idle_context);
  v1::PredictStreamRequest request;
  *request.mutable_request() = Request("m", {2});
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(stream->Write(request));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  service_->Stop();
  EXPECT_EQ(idle->Finish().error_code(), grpc::UNAVAILABLE);
  server_->Shutdown();
}

// Published, read back, compiled by the engine and asked over the wire.
TEST(PredictorService, AnswersWithTheEnginesOwnBitsWhateverTheBatch) {
  MemoryFileSystem fs;
  auto models = ModelRepository::Open(fs, Clock::Real(), "/state");
  ASSERT_TRUE(models.ok()) << models.status();
  const Graph graph = *Graph::Create(DenseNetwork(2, 3, 1, 4));
  std::vector<float> parameters;
  for (int64_t i = 0; i < graph.parameter_count(); ++i) {
    parameters.push_back(static_cast<float>(i * 7 % 11) * 0.1f - 0.5f);
  }
  v1::ModelCard card;
  card.mutable_model()->set_name("m");
  ASSERT_TRUE((*models)->Publish(graph, parameters, card).ok());
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  PredictQueue queue(*executor);
  Predictor predictor(**models, queue);
  PredictorService service(predictor);
  LoopbackServer server(service);
  auto stub = v1::Predictor::NewStub(server.channel());

  const auto model = CompileInferenceModel(graph, parameters);
  ASSERT_TRUE(model.ok()) << model.status();
  for (int count : {1, 2, 5, 300}) {
    v1::PredictRequest request;
    request.mutable_model()->set_name("m");
    std::vector<int> pixels;
    for (int i = 0; i < count; ++i) pixels.push_back(i * 37 % 256);
    *request.mutable_images() = ImagesOf(pixels);
    request.set_probabilities(true);
    grpc::ClientContext context;
    v1::PredictResponse response;
    const grpc::Status status = stub->Predict(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    for (int i = 0; i < count; ++i) {
      ImageSet image;
      image.count = 1;
      image.height = 2;
      image.width = 3;
      image.channels = 1;
      image.pixels = request.images().uint8().data().data() + i * 6;
      std::vector<float> want(4);
      ASSERT_TRUE(
          (*model)->Infer(image, absl::MakeSpan(want), *executor, [] { return false; }).ok());
      EXPECT_THAT(response.predictions(i).probabilities(), ElementsAreArray(want)) << i;
    }
  }
}

TEST_F(PredictorServiceTest, ServesManyClientsAtOnce) {
  models_.Publish("m");
  models_.Publish("n");
  Start();
  std::vector<std::thread> clients;
  for (int t = 0; t < 8; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        v1::PredictResponse response;
        const int want = (t + i) % 4;
        ASSERT_TRUE(Predict(Request(t % 2 != 0 ? "m" : "n", {0, want, 1}), &response).ok());
        ASSERT_EQ(response.predictions(1).top(0).index(), want);
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace convd
