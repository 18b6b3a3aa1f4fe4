#include "server/models/warm_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/graph.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class WarmUpTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const InferenceModel>> Compile(MemoryLedger& memory) {
    return CompileAndWarmUp(*executor_, memory, graph_, weights_, {});
  }

  const Graph graph_ = *Graph::Create(*Preset("keras-mnist"));
  const std::vector<float> weights_ = std::vector<float>(graph_.parameter_count());
  const std::unique_ptr<Executor> executor_ = NewThreadedExecutor(2);
  const int64_t takes_ = EstimateInferenceMemory(graph_, v1::PRECISION_F32, 2);
};

TEST_F(WarmUpTest, AModelHoldsItsMemoryAsLongAsAnybodyHoldsIt) {
  MemoryLedger memory({.jobs = 0, .all = 2 * takes_ - 1});
  auto model = Compile(memory);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::shared_ptr<const InferenceModel> pinned = *model;
  *model = nullptr;
  const auto second = Compile(memory);
  EXPECT_TRUE(absl::IsResourceExhausted(second.status()));
  EXPECT_THAT(second.status().message(), HasSubstr("taken by 1 loaded model"));
}

TEST_F(WarmUpTest, WithTheLastPointerTheMemoryIsGivenBack) {
  MemoryLedger memory({.jobs = 0, .all = takes_});
  for (int i = 0; i < 3; ++i) {
    const auto model = Compile(memory);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->graph().name(), "keras-mnist");
  }
  // What can't be compiled has nothing.
  EXPECT_FALSE(CompileAndWarmUp(*executor_, memory, graph_, {}, {}).ok());
  EXPECT_TRUE(memory.TakeForModel(takes_).ok());
}

}  // namespace
}  // namespace convd
