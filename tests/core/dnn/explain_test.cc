#include "core/dnn/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/dnn/engine_info.h"
#include "core/dnn/fma_rate.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::StartsWith;

Graph PresetGraph(const std::string& name) { return *Graph::Create(*Preset(name)); }
// keras-mnist's calls on smaller images, for what is explained many times.
Graph SmallGraph() {
  v1::Network network = *Preset("keras-mnist");
  network.mutable_input()->set_height(12);
  network.mutable_input()->set_width(12);
  return *Graph::Create(network);
}

// Goes on by `step` each time that it is asked, and by what a test adds.
class SteppingClock : public Clock {
 public:
  explicit SteppingClock(absl::Duration step) : step_(step) {}
  absl::Time Now() const override { return absl::UnixEpoch(); }
  absl::Duration Monotonic() const override {
    if (readings_until_stall_ > 0 && --readings_until_stall_ == 0) now_ += absl::Seconds(10);
    return now_ += step_;
  }
  void Advance(absl::Duration time) const { now_ += time; }
  // Goes on by ten seconds more when it is asked for the `readings`th time from now.
  void StallAfter(int readings) { readings_until_stall_ = readings; }

 private:
  const absl::Duration step_;
  mutable int readings_until_stall_ = 0;
  mutable absl::Duration now_;
};

bool GoOn() { return true; }

TEST(Explain, CountsFlopAndBytesOfKerasMnist) {
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {.batch_size = 1000}, Clock::Real(), GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  const int64_t conv2d = 2 * 26 * 26 * 32 * 9 * 1, conv2d_1 = 2 * 11 * 11 * 64 * 9 * 32,
                dense = 2 * 1600 * 10;
  const v1::PlanExplanation &train = explanation->train(), &predict = explanation->predict();
  EXPECT_EQ(explanation->batch_size(), 1000);
  EXPECT_EQ(train.images(), 16);
  EXPECT_EQ(train.most_workers(), 63);
  EXPECT_EQ(train.calls_size(), 11);
  EXPECT_EQ(train.flop(), 16 * (2 * conv2d + 3 * conv2d_1 + 3 * dense));
  EXPECT_EQ(train.calls(2).layer(), "conv2d_1+max_pooling2d_1");
  EXPECT_EQ(train.calls(2).pass(), "forward");
  EXPECT_EQ(train.calls(2).flop(), 16 * conv2d_1);
  EXPECT_EQ(train.calls(2).bytes(),
            16 * (4 * (13 * 13 * 32 + 5 * 5 * 64) + 5 * 5 * 64) + 4 * (36 * 32 * 64 + 64));
  EXPECT_THAT(train.calls(2).layout(), StartsWith("nhwc, weights "));
  EXPECT_EQ(predict.images(), 16);
  EXPECT_EQ(predict.most_workers(), 250);  // tasks of four
  EXPECT_EQ(predict.calls_size(), 5);
  EXPECT_EQ(predict.flop(), predict.images() * (conv2d + conv2d_1 + dense));
}

// Both have the layer's name; the second is as fast as a copy, whatever the first is.
TEST(Explain, KeepsALayersActivationApartFromItsConvolution) {
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("lenet5"), {.batch_size = 128}, Clock::Real(), GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  const v1::PlanExplanation& predict = explanation->predict();
  const int64_t outputs = 10 * 10 * 16, taps = 5 * 5 * 6;
  int conv2d_1 = 0;
  while (conv2d_1 + 1 < predict.calls_size() && predict.calls(conv2d_1).layer() != "conv2d_1") {
    ++conv2d_1;
  }
  const v1::CallExplanation &convolution = predict.calls(conv2d_1),
                            &tanh = predict.calls(conv2d_1 + 1);
  EXPECT_EQ(convolution.pass(), "forward");
  EXPECT_EQ(convolution.flop(), predict.images() * 2 * outputs * taps);
  EXPECT_EQ(tanh.layer(), "conv2d_1");
  EXPECT_EQ(tanh.pass(), "forward_activation");
  EXPECT_EQ(tanh.flop(), 0);
  EXPECT_EQ(tanh.bytes(), predict.images() * 2 * 4 * outputs);
}

TEST(Explain, RefusesAnAugmentationThatTrainingWouldRefuse) {
  v1::Augmentation augmentation;
  augmentation.set_shift(28);
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {.augmentation = augmentation}, Clock::Real(), GoOn);
  EXPECT_EQ(explanation.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(explanation.status().message()),
              HasSubstr("augmentation.shift: got 28; want 0 to 27"));
}

TEST(Explain, SaysHowFarFromThePeakItRan) {
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {.batch_size = 128}, Clock::Real(), GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_EQ(explanation->network(), "keras-mnist");
  EXPECT_EQ(explanation->instruction_set(), InstructionSet());
  EXPECT_EQ(explanation->onednn_version(), OneDnnVersion());
  EXPECT_GT(explanation->peak_gflops(), 0);
  for (const v1::PlanExplanation& plan : {explanation->train(), explanation->predict()}) {
    EXPECT_GE(plan.runs(), 1);
    EXPECT_GT(plan.seconds(), 0);
    EXPECT_NEAR(plan.images_per_second(), plan.images() / plan.seconds(), 1e-6 / plan.seconds());
    EXPECT_NEAR(plan.peak_share(),
                plan.flop() / plan.seconds() / (explanation->peak_gflops() * 1e9), 1e-9);
    EXPECT_GT(plan.peak_share(), 0);
    EXPECT_THAT(plan.calls(), Each(Property(&v1::CallExplanation::seconds, Gt(0))));
  }
}

class PresetExplanation : public ::testing::TestWithParam<std::string> {};

// As the CPU is, and as a variant of this test under ONEDNN_MAX_CPU_ISA=AVX2.
TEST_P(PresetExplanation, HasPlannedKernelsOnly) {
  SteppingClock clock(absl::Milliseconds(1));
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph(GetParam()), {.batch_size = 1000}, clock, GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  for (const v1::PlanExplanation& plan : {explanation->train(), explanation->predict()}) {
    for (const v1::CallExplanation& call : plan.calls()) {
      EXPECT_TRUE(call.planned()) << call.ShortDebugString();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PresetExplanation, ::testing::ValuesIn(PresetNames()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// For so large a window oneDNN 2.6 unfolds the image and multiplies matrices.
TEST(Explain, TellsKernelsThatAreNotPlanned) {
  v1::Network network;
  network.set_name("wide");
  network.mutable_input()->set_height(24);
  network.mutable_input()->set_width(24);
  network.mutable_input()->set_channels(3);
  v1::Conv2D& conv = *network.add_layers()->mutable_conv();
  conv.set_filters(8);
  conv.add_kernel(20);
  conv.add_stride(2);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(10);
  SteppingClock clock(absl::Milliseconds(100));
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(*Graph::Create(network), {}, clock, GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  int unplanned = 0;
  for (const v1::CallExplanation& call : explanation->train().calls()) {
    const bool falls_back = call.kernel().find("gemm:") != std::string::npos ||
                            call.kernel().find("ref") != std::string::npos;
    EXPECT_EQ(call.planned(), !falls_back) << call.ShortDebugString();
    unplanned += !call.planned();
  }
  if (OneDnnVersion()[0] == '2') {
    EXPECT_EQ(unplanned, 1);
  }
}

// Each call lies between two readings of the clock.
TEST(Explain, GivesEachCallItsTimeAndEndsAfterAboutASecond) {
  SteppingClock clock(absl::Milliseconds(1));
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {}, clock, GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_THAT(explanation->train().calls(), Each(Property(&v1::CallExplanation::seconds, 0.001)));
  EXPECT_NEAR(explanation->train().seconds(), 0.011, 1e-9);
  EXPECT_NEAR(explanation->train().images_per_second(), explanation->train().images() / 0.011,
              1e-6);
  EXPECT_LT(clock.Monotonic(), absl::Milliseconds(1100));
  EXPECT_NEAR(explanation->peak_gflops(), RunFma(WidthOf(InstructionSet())) / 1e-3 / 1e9, 1e-6);
}

TEST(Explain, RunsEachPlanOnceWhereThatTakesLong) {
  SteppingClock clock(absl::Seconds(10));
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {}, clock, GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_EQ(explanation->train().runs(), 1);
  EXPECT_EQ(explanation->predict().runs(), 1);
  EXPECT_NEAR(explanation->predict().seconds(), 50, 1e-9);
}

// A machine that is shared, or held back to its quota, stands still in the midst of a call, and
// then there is no time left for further runs.
TEST(Explain, GivesNoCallTheTimeOfAStallWhereItRanBesides) {
  const Graph graph = SmallGraph();
  int seen = 0;
  for (int stalled = 1; stalled < 300; stalled += 5) {
    SteppingClock clock(absl::Milliseconds(1));
    int cuts = 0;
    const absl::StatusOr<v1::Explanation> explanation =
        Explain(graph, {.batch_size = 1}, clock, [&] {
          if (++cuts == stalled) clock.StallAfter(2);  // the start of the next call, then its end
          return true;
        });
    ASSERT_TRUE(explanation.ok()) << explanation.status();
    if (explanation->train().runs() != 2) continue;
    ++seen;
    EXPECT_THAT(explanation->train().calls(), Each(Property(&v1::CallExplanation::seconds, 0.001)))
        << stalled;
  }
  EXPECT_GT(seen, 0);
}

TEST(Explain, DoesNotCountWhatRunsAtCuts) {
  SteppingClock clock(absl::ZeroDuration());
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {}, clock, [&] {
        clock.Advance(absl::Milliseconds(3));
        return true;
      });
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_EQ(explanation->train().seconds(), 0);
}

TEST(Explain, EndsAndDividesByNothingWhereTheClockStandsStill) {
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(SmallGraph(), {.batch_size = 1}, SteppingClock(absl::ZeroDuration()), GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_EQ(explanation->train().images(), 1);
  EXPECT_EQ(explanation->train().most_workers(), 1);
  EXPECT_EQ(explanation->peak_gflops(), 0);
  EXPECT_EQ(explanation->train().peak_share(), 0);
  EXPECT_EQ(explanation->train().images_per_second(), 0);
  EXPECT_EQ(explanation->train().calls(3).peak_share(), 0);
}

TEST(Explain, TakesTheMicroBatchThatATrainingWasGiven) {
  SteppingClock clock(absl::Milliseconds(1));
  const absl::StatusOr<v1::Explanation> explanation =
      Explain(PresetGraph("keras-mnist"), {.batch_size = 10, .micro_batch = 4}, clock, GoOn);
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  EXPECT_EQ(explanation->train().images(), 4);
  EXPECT_EQ(explanation->train().most_workers(), 3);
}

TEST(Explain, StopsAtWhicheverCut) {
  const Graph graph = SmallGraph();
  SteppingClock clock(absl::Milliseconds(1));
  int all = 0;
  ASSERT_TRUE(Explain(graph, {.batch_size = 1}, clock, [&] { return ++all > 0; }).ok());
  EXPECT_GT(all, 300);
  for (int stop = 1; stop <= all; stop += 1 + stop / 4) {
    int cuts = 0;
    SteppingClock again(absl::Milliseconds(1));
    const absl::Status status =
        Explain(graph, {.batch_size = 1}, again, [&] { return ++cuts < stop; }).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << stop;
    EXPECT_EQ(cuts, stop);
  }
}

TEST(Explain, RefusesBatchesThatNoTrainingHas) {
  const Graph graph = PresetGraph("keras-mnist");
  for (const int64_t batch :
       {int64_t{-1}, int64_t{0}, kMostExplainedBatch + 1, INT64_MIN, INT64_MAX}) {
    const absl::Status status = Explain(graph, {.batch_size = batch}, Clock::Real(), GoOn).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(StartsWith("batch_size: got "), HasSubstr("1 to 1048576")));
  }
  for (const int64_t micro_batch : {int64_t{-1}, int64_t{33}, INT64_MAX}) {
    const absl::Status status =
        Explain(graph, {.batch_size = 32, .micro_batch = micro_batch}, Clock::Real(), GoOn)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(StartsWith("micro_batch: got "), HasSubstr("0 to 32")));
  }
}

TEST(Explain, RefusesWhatWouldTakeTooMuchMemoryBeforeItTakesAny) {
  const Graph graph = PresetGraph("keras-mnist");
  const absl::Status batch = Explain(graph,
                                     {.batch_size = kMostExplainedBatch,
                                      .micro_batch = kMostExplainedBatch,
                                      .memory_bytes = 100 << 20},
                                     Clock::Real(), GoOn)
                                 .status();
  EXPECT_EQ(batch.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(batch.message()),
              AllOf(StartsWith("batch_size: "), HasSubstr("may take 100 MB")));
  const absl::Status network =
      Explain(graph, {.memory_bytes = 1 << 20}, Clock::Real(), GoOn).status();
  EXPECT_EQ(network.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(network.message()),
              AllOf(StartsWith("network: "), HasSubstr("may take 1 MB")));
  EXPECT_TRUE(
      Explain(graph, {.memory_bytes = 100 << 20}, SteppingClock(absl::Seconds(1)), GoOn).ok());
}

TEST(PlanCalls, AreThoseThatAWorkspaceRuns) {
  const Graph graph = PresetGraph("classic-cifar10");
  const auto calls = PlanCalls(graph, {.training = true, .images = 2});
  ASSERT_TRUE(calls.ok()) << calls.status();
  EXPECT_EQ(calls->front().pass, "gather");
  EXPECT_EQ(PlanCalls(graph, {.training = true, .images = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace convd
