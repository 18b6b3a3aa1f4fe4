#include "client/convctl/explanation_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::CallExplanation Call(const std::string& layer, const std::string& pass,
                         const std::string& kernel, int64_t flop) {
  v1::CallExplanation call;
  call.set_layer(layer);
  call.set_pass(pass);
  call.set_kernel(kernel);
  call.set_layout("nhwc");
  call.set_flop(flop);
  call.set_bytes(1536);
  call.set_seconds(0.00025);
  call.set_peak_share(0.5);
  call.set_planned(true);
  return call;
}

v1::Explanation Small() {
  v1::Explanation explanation;
  explanation.set_network("keras-mnist");
  explanation.set_batch_size(1000);
  explanation.set_instruction_set("avx2");
  explanation.set_onednn_version("2.6.3");
  explanation.set_peak_gflops(100);
  v1::PlanExplanation& train = *explanation.mutable_train();
  train.set_images(16);
  train.set_precision(v1::PRECISION_BF16);
  train.set_most_workers(63);
  *train.add_calls() = Call("input", "gather", "own:x86-64-v3", 0);
  *train.add_calls() = Call("conv2d", "forward", "jit:avx2", 12'500'000);
  train.set_flop(12'500'000);
  train.set_seconds(0.0005);
  train.set_images_per_second(32000);
  train.set_peak_share(0.25);
  train.set_runs(57);
  *explanation.mutable_predict() = train;
  explanation.mutable_predict()->set_images(4);
  explanation.mutable_predict()->set_precision(v1::PRECISION_INT8);
  explanation.mutable_predict()->set_most_workers(250);
  return explanation;
}

TEST(ExplanationTextTest, ALineACallThenTheTotals) {
  const std::string text = ExplanationText("m@1", Small());
  EXPECT_THAT(text,
              HasSubstr("m@1: keras-mnist, avx2, oneDNN 2.6.3, FMA peak of a core 100.0 GFLOP/s\n"
                        "\n"
                        "TRAIN in bf16, images a run: 16\n"
                        "\n"
                        "LAYER   PASS     KERNEL         LAYOUT  MFLOP  KIB     µs  OF PEAK\n"
                        "input   gather   own:x86-64-v3  nhwc        -  1.5  250.0        -\n"
                        "conv2d  forward  jit:avx2       nhwc    12.50  1.5  250.0    50.0%\n"
                        "total                                   12.50  3.0  500.0    25.0%\n"
                        "\n"
                        "A core: 32,000 images/s, 25.0 GFLOP/s. Times are medians of 57 runs.\n"
                        "Most workers that a job with batches of 1,000 can use: 63\n"
                        "\n"
                        "PREDICT in int8, images a run: 4\n"));
  EXPECT_THAT(text, HasSubstr("\nMost workers that 1,000 images can use: 250\n"));
  EXPECT_THAT(text, Not(HasSubstr("!")));
}

TEST(ExplanationTextTest, MarksKernelsThatAreNotPlanned) {
  v1::Explanation explanation = Small();
  explanation.mutable_predict()->mutable_calls(1)->set_kernel("ref:any");
  explanation.mutable_predict()->mutable_calls(1)->set_planned(false);
  const std::string text = ExplanationText("m@1", explanation);
  EXPECT_THAT(text, HasSubstr("  ref:any !  "));
  EXPECT_THAT(text, HasSubstr("\n! not the planned kernel"));
}

TEST(ExplanationTextTest, ShowsWhateverAServerSays) {
  v1::Explanation explanation = Small();
  explanation.set_network("a\x1b[2Jb");
  explanation.set_peak_gflops(std::numeric_limits<double>::quiet_NaN());
  explanation.mutable_train()->mutable_calls(0)->set_layer("x\ny");
  explanation.mutable_train()->mutable_calls(0)->set_flop(std::numeric_limits<int64_t>::min());
  explanation.mutable_train()->mutable_calls(0)->set_bytes(std::numeric_limits<int64_t>::max());
  explanation.mutable_train()->mutable_calls(1)->set_bytes(std::numeric_limits<int64_t>::max());
  explanation.mutable_train()->set_images_per_second(-1);
  const std::string text = ExplanationText("m\x1b@1", explanation);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("x\\x0ay"));
  EXPECT_FALSE(ExplanationText("", v1::Explanation()).empty());
}

}  // namespace
}  // namespace convd
