#include "client/convctl/train_request.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <fstream>
#include <utility>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

TrainFlags Least() {
  TrainFlags flags;
  flags.model = "m";
  flags.preset = "keras-mnist";
  flags.dataset = "d";
  return flags;
}

void ExpectUsageError(const TrainFlags& flags, const std::string& words) {
  const auto request = BuildTrainRequest(flags);
  EXPECT_EQ(ExitCodeFor(request.status()), kExitUsage);
  EXPECT_THAT(std::string(request.status().message()), HasSubstr(words));
}

TEST(TrainRequestTest, LeavesTheDefaultsToTheServer) {
  v1::TrainRequest expected;
  expected.set_model("m");
  expected.set_preset("keras-mnist");
  expected.mutable_dataset()->set_name("d");
  expected.mutable_optimizer()->mutable_adam();
  const auto request = BuildTrainRequest(Least());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*request, expected)) << request->DebugString();
  EXPECT_FALSE(request->has_shuffle());
  EXPECT_FALSE(request->has_early_stopping());
  EXPECT_FALSE(request->has_priority());
}

TEST(TrainRequestTest, CarriesEveryFlag) {
  TrainFlags flags = Least();
  flags.split = "s";
  flags.validation_tail = 10000;
  flags.epochs = 3;
  flags.batch_size = 128;
  flags.optimizer = "sgd";
  flags.learning_rate = 0.1;
  flags.momentum = 0.9;
  flags.nesterov = true;
  flags.seed = 18446744073709551615u;
  flags.no_shuffle = true;
  flags.horizontal_flip = true;
  flags.shift = 4;
  flags.micro_batch = 16;
  flags.precision = v1::PRECISION_BF16;
  flags.serving_precision = v1::PRECISION_INT8;
  flags.patience = 3;
  flags.monitor = "val_accuracy";
  flags.min_delta = 0.001;
  flags.restore_best = true;
  flags.max_runtime = "1h30m0.25s";
  flags.priority = -7;
  flags.allow_different_bits = true;
  flags.initial_model = "fashion@2";
  flags.request_id = "r";
  const auto request = BuildTrainRequest(flags);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->dataset().split(), "s");
  EXPECT_EQ(request->validation().tail(), 10000);
  EXPECT_EQ(request->epochs(), 3);
  EXPECT_EQ(request->batch_size(), 128);
  EXPECT_EQ(request->optimizer().sgd().learning_rate(), 0.1);
  EXPECT_EQ(request->optimizer().sgd().momentum(), 0.9);
  EXPECT_TRUE(request->optimizer().sgd().nesterov());
  EXPECT_EQ(request->seed(), 18446744073709551615u);
  EXPECT_TRUE(request->has_shuffle());
  EXPECT_FALSE(request->shuffle());
  EXPECT_TRUE(request->augmentation().horizontal_flip());
  EXPECT_EQ(request->augmentation().shift(), 4);
  EXPECT_EQ(request->micro_batch(), 16);
  EXPECT_EQ(request->precision(), v1::PRECISION_BF16);
  EXPECT_EQ(request->serving_precision(), v1::PRECISION_INT8);
  EXPECT_EQ(request->early_stopping().patience(), 3);
  EXPECT_EQ(request->early_stopping().monitor(), v1::EarlyStopping::VAL_ACCURACY);
  EXPECT_EQ(request->early_stopping().min_delta(), 0.001);
  EXPECT_TRUE(request->early_stopping().restore_best());
  EXPECT_EQ(request->max_runtime().seconds(), 5400);
  EXPECT_EQ(request->max_runtime().nanos(), 250'000'000);
  EXPECT_EQ(request->priority(), -7);
  EXPECT_TRUE(request->allow_different_bits());
  EXPECT_EQ(request->initial_model().name(), "fashion");
  EXPECT_EQ(request->initial_model().version(), 2);
  EXPECT_EQ(request->request_id(), "r");
}

TEST(TrainRequestTest, WrongValuesAreTheServersToRefuse) {
  TrainFlags flags = Least();
  flags.batch_size = 0;
  flags.learning_rate = -1;
  flags.shift = -1;
  const auto request = BuildTrainRequest(flags);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->has_batch_size());
  EXPECT_EQ(request->optimizer().adam().learning_rate(), -1);
  EXPECT_EQ(request->augmentation().shift(), -1);
}

TEST(TrainRequestTest, ValidationComesFromOnePlace) {
  TrainFlags flags = Least();
  flags.validation = "test";
  EXPECT_EQ(BuildTrainRequest(flags)->validation().dataset().name(), "d");
  EXPECT_EQ(BuildTrainRequest(flags)->validation().dataset().split(), "test");
  flags.validation = "other/test";
  EXPECT_EQ(BuildTrainRequest(flags)->validation().dataset().name(), "other");
  EXPECT_EQ(BuildTrainRequest(flags)->validation().dataset().split(), "test");
  flags.no_validation = true;
  ExpectUsageError(flags, "at most one of --validation");
  flags.validation.reset();
  EXPECT_TRUE(BuildTrainRequest(flags)->validation().none());
  flags.no_validation = false;
  flags.validation_split = 0.1;
  EXPECT_EQ(BuildTrainRequest(flags)->validation().split(), 0.1);
}

TEST(TrainRequestTest, PatienceAloneTurnsEarlyStoppingOn) {
  TrainFlags flags = Least();
  flags.patience = 0;
  const auto request = BuildTrainRequest(flags);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->early_stopping().has_patience());
  EXPECT_EQ(request->early_stopping().patience(), 0);
  EXPECT_EQ(request->early_stopping().monitor(), v1::EarlyStopping::MONITOR_UNSPECIFIED);
  EXPECT_FALSE(request->early_stopping().has_min_delta());
  EXPECT_FALSE(request->early_stopping().has_restore_best());
  for (const auto& [name, monitor] : {std::pair{"val_loss", v1::EarlyStopping::VAL_LOSS},
                                      std::pair{"loss", v1::EarlyStopping::LOSS},
                                      std::pair{"accuracy", v1::EarlyStopping::ACCURACY}}) {
    flags.monitor = name;
    EXPECT_EQ(BuildTrainRequest(flags)->early_stopping().monitor(), monitor) << name;
  }
  for (const char* name : {"", "VAL_LOSS", "monitor_unspecified", "valloss"}) {
    flags.monitor = name;
    ExpectUsageError(flags, std::string("--monitor: got \"") + name +
                                "\"; want one of val_loss, val_accuracy, loss, accuracy");
  }
}

TEST(TrainRequestTest, WhatGoesWithEarlyStoppingTakesPatience) {
  TrainFlags flags = Least();
  flags.monitor = "loss";
  ExpectUsageError(flags, "go with --patience N");
  flags = Least();
  flags.min_delta = 0;
  ExpectUsageError(flags, "go with --patience N");
  flags = Least();
  flags.restore_best = true;
  ExpectUsageError(flags, "go with --patience N");
}

TEST(TrainRequestTest, TheLongestRuntimeIsATimeWithItsUnit) {
  TrainFlags flags = Least();
  const std::pair<const char*, int64_t> cases[] = {
      {"90s", 90}, {"30m", 1800}, {"2h", 7200}, {"1.5h", 5400}, {"-1s", -1}};
  for (const auto& [text, seconds] : cases) {
    flags.max_runtime = text;
    EXPECT_EQ(BuildTrainRequest(flags)->max_runtime().seconds(), seconds) << text;
  }
  flags.max_runtime = "0";  // the server's to refuse
  EXPECT_TRUE(BuildTrainRequest(flags)->has_max_runtime());
  for (const char* text : {"", "90", "2 hours", "1d", "inf", "-inf", "9999999999999999999h"}) {
    flags.max_runtime = text;
    ExpectUsageError(flags, std::string("--max-runtime: got \"") + text +
                                "\"; want a time with its unit, as 90s, 30m or 1h30m");
  }
}

TEST(TrainRequestTest, TheInitialModelIsItsNewestVersionOrTheOneNamed) {
  TrainFlags flags = Least();
  flags.initial_model = "fashion";
  EXPECT_EQ(BuildTrainRequest(flags)->initial_model().name(), "fashion");
  EXPECT_EQ(BuildTrainRequest(flags)->initial_model().version(), 0);
  flags.initial_model = "fashion@-x";
  ExpectUsageError(flags, "--initial-model: model \"fashion@-x\"");
  flags.initial_model = "";
  ExpectUsageError(flags, "--initial-model: model \"\" has no name");
}

TEST(TrainRequestTest, FlagsThatContradictEachOtherAreUsageErrors) {
  TrainFlags flags = Least();
  flags.network_file = "n.textproto";
  ExpectUsageError(flags, "--preset and --network");
  flags.preset.clear();
  flags.network_file.clear();
  ExpectUsageError(flags, "--preset and --network");
  flags = Least();
  flags.momentum = 0.9;
  ExpectUsageError(flags, "--optimizer sgd");
  flags = Least();
  flags.optimizer = "rmsprop";
  ExpectUsageError(flags, "rmsprop");
}

TEST(TrainRequestTest, ANetworkIsReadFromItsFile) {
  const std::string path = ::testing::TempDir() + "/train_request_test.textproto";
  std::ofstream(path) << "name: 'n' input { height: 28 width: 28 channels: 1 }\n"
                         "layers { conv { filters: 32 kernel: 3 activation: ACTIVATION_RELU } }\n";
  TrainFlags flags = Least();
  flags.preset.clear();
  flags.network_file = path;
  const auto request = BuildTrainRequest(flags);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->network().layers(0).conv().filters(), 32);
}

TEST(TrainRequestTest, ABrokenNetworkIsNamedWithLineAndColumn) {
  const auto network = ParseNetwork("name: 'n'\nlayers { konv { } }\n", "net.textproto");
  EXPECT_EQ(ExitCodeFor(network.status()), kExitUsage);
  EXPECT_THAT(std::string(network.status().message()), HasSubstr("net.textproto:2:"));
  EXPECT_THAT(std::string(network.status().message()), HasSubstr("konv"));
}

TEST(TrainRequestTest, AMissingNetworkFileIsAUsageError) {
  TrainFlags flags = Least();
  flags.preset.clear();
  flags.network_file = "/nowhere/net.textproto";
  ExpectUsageError(flags, "/nowhere/net.textproto");
}

}  // namespace
}  // namespace convd
