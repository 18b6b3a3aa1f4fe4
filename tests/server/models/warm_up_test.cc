#include "server/models/warm_up.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/graph.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

TEST(WarmUp, MakesAModelThatAnswers) {
  const Graph graph = *Graph::Create(*Preset("keras-mnist"));
  const std::vector<float> weights(graph.parameter_count());
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  const auto model = CompileAndWarmUp(*executor, graph, weights, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->graph().name(), "keras-mnist");
  EXPECT_FALSE(CompileAndWarmUp(*executor, graph, {}, {}).ok());
}

}  // namespace
}  // namespace convd
