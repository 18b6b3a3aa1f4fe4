#include "server/jobs/resolve.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "core/dnn/plan.h"
#include "core/nn/presets.h"
#include "tests/server/jobs/fake_datasets.h"
#include "tests/server/jobs/fake_training.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

v1::TrainRequest Request(const std::string& text) {
  v1::TrainRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

class ResolveTest : public ::testing::Test {
 protected:
  ResolveTest() {
    datasets_.Put("digits", {SplitOf("train", 60, 28, 28, 10), SplitOf("test", 20, 28, 28, 10)},
                  10);
    datasets_.Put("one", {SplitOf("all", 10, 28, 28, 10)}, 10);
    datasets_.Put("test-only", {SplitOf("test", 10, 28, 28, 10)}, 10);
    datasets_.Put("split", {SplitOf("a", 5, 28, 28, 10), SplitOf("b", 5, 28, 28, 10)}, 10);
    datasets_.Put("big", {SplitOf("train", 6, 32, 32, 10)}, 10);
    datasets_.Put("few-classes", {SplitOf("train", 6, 28, 28, 3)}, 3);
    datasets_.Put("beyond", {SplitOf("train", 11, 28, 28, 11)}, 10);
    datasets_.Put("empty", {SplitOf("train", 0, 28, 28, 10)}, 10);
    datasets_.Put("f32", {SplitOf("train", 6, 28, 28, 10, ElementType::kFloat32)}, 10);
  }

  absl::StatusOr<ResolvedJob> Resolve(const std::string& rest) {
    return ResolveJob(Request("model: 'm' preset: 'keras-mnist' " + rest), datasets_);
  }
  void ExpectError(const std::string& rest, absl::StatusCode code,
                   const std::vector<std::string>& parts) {
    ExpectError(Request("model: 'm' preset: 'keras-mnist' " + rest), code, parts);
  }
  void ExpectError(const v1::TrainRequest& request, absl::StatusCode code,
                   const std::vector<std::string>& parts) {
    const auto job = ResolveJob(request, datasets_);
    ASSERT_FALSE(job.ok()) << request.ShortDebugString();
    EXPECT_EQ(job.status().code(), code) << job.status();
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(job.status().message()), HasSubstr(part));
    }
  }

  FakeDatasets datasets_;
};

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

TEST_F(ResolveTest, EveryDefaultIsFilledInAndThePresetStaysAName) {
  const auto job = Resolve("dataset { name: 'digits' }");
  ASSERT_TRUE(job.ok()) << job.status();
  const v1::TrainRequest& request = job->request;
  EXPECT_EQ(request.preset(), "keras-mnist");
  EXPECT_EQ(request.dataset().split(), "train");
  EXPECT_EQ(request.validation().dataset().name(), "digits");
  EXPECT_EQ(request.validation().dataset().split(), "test");
  EXPECT_EQ(request.optimizer().adam().learning_rate(), 0.001);
  EXPECT_EQ(request.batch_size(), 32);
  EXPECT_EQ(request.epochs(), 1);
  EXPECT_TRUE(request.has_seed());
  EXPECT_TRUE(request.shuffle());
  EXPECT_EQ(request.precision(), v1::PRECISION_F32);
  EXPECT_TRUE(request.has_augmentation());
  EXPECT_EQ(job->data.train.count, 60);
  EXPECT_EQ(job->data.validation.count, 20);
  EXPECT_EQ(job->data.labels.size(), 10u);
  EXPECT_EQ(job->data_sha256, "sha of digits");
  EXPECT_THAT(job->training_pixels.mean(), ElementsAre(7));
  EXPECT_EQ(job->graph.parameter_count(), 34826);
  EXPECT_THAT(job->summary, HasSubstr("34,826"));
  EXPECT_THAT(job->warnings, IsEmpty());
}

TEST_F(ResolveTest, APixelsRecordIsOfItsSplitAlone) {
  // What a dataset's record says is of "a", the first.
  const auto of_a = Resolve("dataset { name: 'split' split: 'a' } validation { none: true }");
  ASSERT_TRUE(of_a.ok()) << of_a.status();
  EXPECT_THAT(of_a->training_pixels.mean(), ElementsAre(7));
  const auto of_b = Resolve("dataset { name: 'split' split: 'b' } validation { none: true }");
  ASSERT_TRUE(of_b.ok()) << of_b.status();
  EXPECT_THAT(of_b->training_pixels.mean(), IsEmpty());
}

TEST_F(ResolveTest, AResolvedRequestResolvesToItself) {
  const auto once = Resolve("dataset { name: 'digits' } validation { split: 0.25 }");
  ASSERT_TRUE(once.ok()) << once.status();
  const auto twice = ResolveJob(once->request, datasets_);
  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_EQ(once->request.SerializeAsString(), twice->request.SerializeAsString());
}

TEST_F(ResolveTest, ANetworkOfTheUsersOwnIsKeptWhole) {
  const auto job =
      ResolveJob(Request("model: 'm' dataset { name: 'digits' } network { name: 'own' "
                         "input { height: 28 width: 28 channels: 1 } layers { flatten {} } "
                         "layers { dense { units: 10 } } }"),
                 datasets_);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->request.network().layers(1).name(), "dense");
  EXPECT_TRUE(job->request.network().preprocessing().has_scale());
  EXPECT_EQ(job->graph.parameter_count(), 7850);
}

TEST_F(ResolveTest, FieldsThatNobodyKnowsAreNotKept) {
  v1::TrainRequest request = Request("model: 'm' preset: 'keras-mnist' dataset { name: 'digits' }");
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(
      1000, std::string(1 << 20, 'x'));
  request.mutable_dataset()
      ->GetReflection()
      ->MutableUnknownFields(request.mutable_dataset())
      ->AddVarint(1000, 7);
  const auto job = ResolveJob(request, datasets_);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_LT(job->request.ByteSizeLong(), 1000u);
}

struct Validation {
  std::string text;
  int64_t train;
  int64_t validation;
};

TEST_F(ResolveTest, ValidationSamplesComeFromWhereTheRequestSays) {
  const Validation cases[] = {
      {"dataset { name: 'digits' } validation { none: true }", 60, 0},
      {"dataset { name: 'digits' } validation { dataset { split: 'test' } }", 60, 20},
      {"dataset { name: 'digits' } validation { dataset { name: 'one' } }", 60, 10},
      {"dataset { name: 'digits' } validation { tail: 59 }", 1, 59},
      // Keras: int(60 * (1 - 0.1)) = 54 are trained on.
      {"dataset { name: 'digits' } validation { split: 0.1 }", 54, 6},
      {"dataset { name: 'digits' } validation { split: 0.001 }", 59, 1},
      {"dataset { name: 'one' }", 10, 0},
      {"dataset { name: 'test-only' }", 10, 0},
      {"dataset { name: 'digits' split: 'test' }", 20, 0},
  };
  for (const Validation& c : cases) {
    const auto job = Resolve(c.text);
    ASSERT_TRUE(job.ok()) << c.text << ": " << job.status();
    EXPECT_EQ(job->data.train.count, c.train) << c.text;
    EXPECT_EQ(job->data.validation.count, c.validation) << c.text;
    EXPECT_NE(job->request.validation().source_case(), v1::Validation::SOURCE_NOT_SET);
  }
}

TEST_F(ResolveTest, ATailIsTheLastSamplesOfTheFile) {
  const auto job = Resolve("dataset { name: 'digits' } validation { tail: 7 }");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->data.train.labels.size(), 53u);
  EXPECT_EQ(job->data.validation.labels[0], 53 % 10);
  EXPECT_EQ(job->data.validation.pixels, job->data.train.image(53));
}

TEST_F(ResolveTest, NamesThatAreNoneAreRefusedByField) {
  for (const std::string& name : {std::string(), std::string("a/b"), std::string(".."),
                                  std::string("a\0b", 3), std::string(300, 'a')}) {
    v1::TrainRequest request =
        Request("model: 'm' preset: 'keras-mnist' dataset { name: 'digits' }");
    v1::TrainRequest model = request;
    model.set_model(name);
    ExpectError(model, kInvalid, {"model: got"});
    v1::TrainRequest dataset = request;
    dataset.mutable_dataset()->set_name(name);
    ExpectError(dataset, kInvalid, {"dataset.name: got"});
    if (name.empty()) continue;
    v1::TrainRequest split = request;
    split.mutable_dataset()->set_split(name);
    ExpectError(split, kInvalid, {"dataset.split: got"});
    v1::TrainRequest validation = request;
    validation.mutable_validation()->mutable_dataset()->set_name(name);
    ExpectError(validation, kInvalid, {"validation.dataset.name: got"});
    v1::TrainRequest validation_split = request;
    validation_split.mutable_validation()->mutable_dataset()->set_split(name);
    ExpectError(validation_split, kInvalid, {"validation.dataset.split: got"});
  }
}

TEST_F(ResolveTest, WhatIsNotThereIsNotFound) {
  ExpectError(Request("model: 'm' preset: 'no-such' dataset { name: 'digits' }"), kNotFound,
              {"preset", "no-such", "keras-mnist"});
  ExpectError("dataset { name: 'nowhere' }", kNotFound, {"dataset.name", "nowhere"});
  ExpectError("dataset { name: 'digits' split: 'dev' }", kNotFound,
              {"dataset.split", "\"train\", \"test\"", "\"dev\""});
  ExpectError("dataset { name: 'split' }", kNotFound, {"dataset.split", "\"a\", \"b\"", "train"});
  ExpectError("dataset { name: 'digits' } validation { dataset { name: 'nowhere' } }", kNotFound,
              {"validation.dataset.name", "nowhere"});
  ExpectError("dataset { name: 'digits' } validation { dataset { name: 'split' } }", kNotFound,
              {"validation.dataset.split", "test"});
}

TEST_F(ResolveTest, ErrorsNameTheirFieldOnce) {
  const auto message = [&](const std::string& text) {
    return std::string(ResolveJob(Request("model: 'm' " + text), datasets_).status().message());
  };
  EXPECT_THAT(message("preset: 'zz'"), StartsWith("preset: got \"zz\""));
  EXPECT_THAT(message("preset: 'keras-mnist' dataset { name: 'zz' }"),
              StartsWith("dataset.name: there is none named \"zz\""));
  EXPECT_THAT(message("network { input { height: 1 width: 1 channels: 1 } }"),
              StartsWith("network: layers: got 0"));
  EXPECT_THAT(message("network { input { height: 1 width: 1 channels: 1 } layers {} }"),
              StartsWith("network.layers[0]"));
  EXPECT_THAT(message("network { input { height: 1 width: 1 channels: 1 } "
                      "layers { name: 'd' dense {} } }"),
              StartsWith("network: layer \"d\": "));
}

// 0 is the engine's choice, which another version may make otherwise: it is stored as made.
TEST_F(ResolveTest, TheMicroBatchIsChosenAtSubmission) {
  const auto graph = Graph::Create(*Preset("keras-mnist"));
  ASSERT_TRUE(graph.ok());
  const auto chosen = [&](const std::string& rest) {
    const auto job = Resolve("dataset { name: 'digits' } " + rest);
    return job.ok() ? job->request.micro_batch() : -1;
  };
  EXPECT_EQ(chosen("batch_size: 48"), MicroBatchImages(*graph, 48));
  EXPECT_EQ(chosen("batch_size: 1000"), MicroBatchImages(*graph, 60));  // there are no more
  EXPECT_EQ(chosen("batch_size: 1000 validation { tail: 50 }"), MicroBatchImages(*graph, 10));
  EXPECT_EQ(chosen("batch_size: 48 micro_batch: 5"), 5);
}

// Keras-mnist's: 16 images keep a training's workspace in a cache.
TEST_F(ResolveTest, AMicroBatchThatPredictionsWouldWaitForIsTakenAsTheLargest) {
  const auto largest = Resolve("dataset { name: 'digits' } batch_size: 48 micro_batch: 16");
  ASSERT_TRUE(largest.ok()) << largest.status();
  EXPECT_EQ(largest->request.micro_batch(), 16);
  EXPECT_THAT(largest->warnings, IsEmpty());
  const auto larger = Resolve("dataset { name: 'digits' } batch_size: 48 micro_batch: 17");
  ASSERT_TRUE(larger.ok()) << larger.status();
  EXPECT_EQ(larger->request.micro_batch(), 16);
  EXPECT_THAT(larger->warnings,
              ElementsAre(AllOf(StartsWith("micro_batch: 17 "), HasSubstr("at most 16 "))));
}

TEST_F(ResolveTest, AnArchitectureIsNeededAndCheckedFirst) {
  ExpectError(Request("model: 'm' dataset { name: 'digits' }"), kInvalid,
              {"preset", "network", "keras-mnist"});
  ExpectError(Request("model: 'm' dataset { name: 'digits' } network { name: 'own' }"), kInvalid,
              {"network: "});
}

TEST_F(ResolveTest, DataThatDoesNotFitTheNetworkIsRefusedWithBothFigures) {
  ExpectError("dataset { name: 'big' }", kInvalid, {"dataset", "32x32x1", "28x28x1"});
  ExpectError("dataset { name: 'few-classes' }", kInvalid, {"dataset", "3 classes", "10 outputs"});
  ExpectError("dataset { name: 'beyond' }", kInvalid, {"dataset", "image 10 is 10", "0 to 9"});
  ExpectError("dataset { name: 'empty' }", kInvalid, {"dataset", "no images"});
  ExpectError("dataset { name: 'digits' } validation { dataset { name: 'big' split: 'train' } }",
              kInvalid, {"validation.dataset", "32x32x1"});
}

TEST_F(ResolveTest, AValidationSetMustLeaveSomethingToTrainOn) {
  for (const char* tail : {"0", "-1", "60", "9223372036854775807"}) {
    ExpectError(std::string("dataset { name: 'digits' } validation { tail: ") + tail + " }",
                kInvalid, {"validation.tail", tail, "60"});
  }
  for (const char* split : {"0", "1", "-0.5", "nan", "inf", "1e300"}) {
    ExpectError(std::string("dataset { name: 'digits' } validation { split: ") + split + " }",
                kInvalid, {"validation.split"});
  }
  // So little that nothing would be left of it, so much that nothing else would.
  ExpectError("dataset { name: 'digits' } validation { split: 1e-20 }", kInvalid,
              {"validation.split"});
  ExpectError("dataset { name: 'digits' } validation { split: 0.99 }", kInvalid,
              {"validation.split", "60"});
  ExpectError("dataset { name: 'digits' } validation { none: false }", kInvalid,
              {"validation.none"});
}

TEST_F(ResolveTest, TrainingFiguresAreCheckedToo) {
  ExpectError("dataset { name: 'digits' } batch_size: 0", kInvalid, {"batch_size"});
  ExpectError("dataset { name: 'digits' } optimizer { adam { learning_rate: nan } }", kInvalid,
              {"learning_rate"});
  ExpectError("dataset { name: 'digits' } request_id: '" + std::string(129, 'r') + "'", kInvalid,
              {"request_id", "129"});
}

TEST_F(ResolveTest, SamplesMayBeMovedByLessThanTheirSize) {
  const auto job =
      Resolve("dataset { name: 'digits' } augmentation { horizontal_flip: true shift: 27 }");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(job->request.augmentation().horizontal_flip());
  EXPECT_EQ(job->request.augmentation().shift(), 27);
  ExpectError("dataset { name: 'digits' } augmentation { shift: 28 }", kInvalid,
              {"augmentation.shift: got 28; want 0 to 27 pixels for images of 28x28"});
  for (const char* shift : {"-1", "65", "2147483647", "-2147483648"}) {
    ExpectError(std::string("dataset { name: 'digits' } augmentation { shift: ") + shift + " }",
                kInvalid, {std::string("augmentation.shift: got ") + shift + "; want 0 to 64"});
  }
}

TEST_F(ResolveTest, WarnsOfWhatIsLikelyAMistake) {
  const auto same = Resolve("dataset { name: 'digits' } validation { dataset { split: 'train' } }");
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_THAT(same->warnings, ElementsAre(HasSubstr("trains on")));
  const auto large = Resolve("dataset { name: 'digits' } batch_size: 61");
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_THAT(large->warnings, ElementsAre(HasSubstr("one step")));
  const auto scaled = Resolve("dataset { name: 'f32' } batch_size: 1");
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  EXPECT_THAT(scaled->warnings, ElementsAre(HasSubstr("f32")));
}

TEST_F(ResolveTest, ATailOfADatasetIsForEvaluations) {
  ExpectError("dataset { name: 'digits' tail: 5 }", kInvalid,
              {"dataset.tail: got 5", "validation.tail"});
  ExpectError("dataset { name: 'digits' } validation { dataset { split: 'test' tail: 5 } }",
              kInvalid, {"validation.dataset.tail: got 5"});
}

// What a network that holds much and computes little is told: 250 MB of activations and gradients
// an image, so much for each worker.
TEST_F(ResolveTest, AnInitialModelHasTheSameNetworkAndGetsItsNumber) {
  RecordingRepository models;
  v1::ModelCard card;
  for (const char* preset : {"lenet5", "keras-mnist"}) {
    card.mutable_model()->set_name("m");
    *card.mutable_network() = Graph::Create(*Preset(preset))->network();
    card.mutable_network()->set_name("called otherwise");
    ASSERT_TRUE(models.Publish(*Graph::Create(*Preset(preset)), {}, card).ok());
  }
  const auto resolve = [&](const std::string& version) {
    return ResolveJob(Request("model: 'm' preset: 'keras-mnist' dataset { name: 'digits' } "
                              "initial_model { " +
                              version + " }"),
                      datasets_, {}, &models);
  };
  const auto newest = resolve("name: 'm'");
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->request.initial_model().version(), 2);
  const absl::Status other = resolve("name: 'm' version: 1").status();
  EXPECT_EQ(other.code(), kInvalid);
  EXPECT_THAT(std::string(other.message()),
              StartsWith("initial_model: \"m\" version 1 has another"));
  const absl::Status unknown = resolve("name: 'n'").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.message()), StartsWith("initial_model: "));
}

class ResolveMemoryTest : public ResolveTest {
 protected:
  std::string Refusal(const std::string& rest, const JobMemory& memory,
                      const std::string& architecture = HoldsMuch(4000)) {
    const auto job =
        ResolveJob(Request("model: 'm' dataset { name: 'digits' } validation { none: true } " +
                           architecture + rest),
                   datasets_, memory);
    if (job.ok()) return "";
    EXPECT_EQ(job.status().code(), kInvalid);
    return std::string(job.status().message());
  }
  static std::string HoldsMuch(int filters) {
    std::string text =
        "network { name: 'much' input { height: 28 width: 28 channels: 1 } "
        "layers { conv { filters: " +
        std::to_string(filters) + " kernel: 1 } } ";
    for (int i = 0; i < 10; ++i) text += "layers { activation { activation: ACTIVATION_ELU } } ";
    return text +
           "layers { max_pool { size: 28 } } layers { flatten {} } "
           "layers { dense { units: 10 } } } ";
  }
};

TEST_F(ResolveMemoryTest, AJobThatFitsIsAccepted) {
  EXPECT_EQ(Refusal("batch_size: 40", {.bytes = int64_t{8} << 30, .workers = 4}), "");
  EXPECT_EQ(Refusal("batch_size: 40", {.bytes = 0, .workers = 4}), "");
  EXPECT_EQ(Refusal("batch_size: 1000", {.bytes = int64_t{64} << 20, .workers = 8},
                    "preset: 'keras-mnist' "),
            "");
}

TEST_F(ResolveMemoryTest, SaysWhatTheJobTakes) {
  const auto takes = [&](const char* rest) {
    const auto job =
        ResolveJob(Request("model: 'm' dataset { name: 'digits' } validation { none: true } " +
                           HoldsMuch(4000) + rest),
                   datasets_, {.bytes = 0, .workers = 4});
    EXPECT_TRUE(job.ok()) << job.status();
    return job->memory_bytes;
  };
  // 20 layers of 28 * 28 * 4000 floats for each worker that an image keeps busy.
  constexpr int64_t kWorkspace = int64_t{20} * 28 * 28 * 4000 * 4;
  EXPECT_GT(takes("batch_size: 1"), kWorkspace);
  EXPECT_LT(takes("batch_size: 1"), 2.1 * kWorkspace);
  EXPECT_GT(takes("batch_size: 4"), 4 * kWorkspace);
}

TEST_F(ResolveMemoryTest, ABatchSizeThatWouldKeepTooManyWorkersBusyIsRefusedWithOneThatFits) {
  const std::string refusal = Refusal("batch_size: 40", {.bytes = 700 << 20, .workers = 4});
  EXPECT_THAT(refusal, StartsWith("batch_size: with 40 images training takes about "));
  // 4 * 20 layers of 28 * 28 * 4000 floats are 957 MiB.
  EXPECT_THAT(refusal, HasSubstr("activations and gradients of 4 workers 958 MB"));
  EXPECT_THAT(refusal, HasSubstr("a job may take 700 MB here; try 2, or a smaller network"));
  EXPECT_EQ(Refusal("batch_size: 2", {.bytes = 700 << 20, .workers = 4}), "");
}

TEST_F(ResolveMemoryTest, AMicroBatchThatIsTooLargeIsRefusedWithTheUsualOne) {
  // 20 layers of 28 * 28 * 200 floats are 12 MiB an image.
  const std::string refusal =
      Refusal("batch_size: 16 micro_batch: 4", {.bytes = 100 << 20, .workers = 4}, HoldsMuch(200));
  EXPECT_THAT(refusal, StartsWith("micro_batch: with 4 images training takes about "));
  EXPECT_THAT(refusal, HasSubstr("100 MB here; try 1, which is what none would mean"));
}

TEST_F(ResolveMemoryTest, ANetworkThatDoesNotFitWithOneImageIsRefusedItself) {
  const std::string refusal = Refusal("batch_size: 40", {.bytes = 100 << 20, .workers = 4});
  EXPECT_THAT(refusal, StartsWith("network: \"much\": training takes about "));
  EXPECT_THAT(refusal, HasSubstr("want fewer or smaller layers: with a batch_size of 1, too"));
  EXPECT_THAT(Refusal("", {.bytes = 1 << 20, .workers = 4}, "preset: 'keras-mnist' "),
              StartsWith("preset: \"keras-mnist\": training takes about "));
}

}  // namespace
}  // namespace convd
