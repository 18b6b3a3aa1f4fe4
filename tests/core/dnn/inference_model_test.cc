#include "core/dnn/inference_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/dnn/plan.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

// What the model's plans allocate where each of `workers` has a workspace of each size.
int64_t Allocated(const Graph& graph, int workers) {
  int64_t workspaces = 0, packed = 0;
  for (const int64_t images : PredictionSizes(graph)) {
    const auto plan = Plan::Compile(graph, {.training = false, .images = images});
    EXPECT_TRUE(plan.ok()) << plan.status();
    const std::vector<float> weights((*plan)->packed_size());
    const auto workspace = (*plan)->NewWorkspace(weights.data(), nullptr, [] { return true; });
    EXPECT_TRUE(workspace.ok()) << workspace.status();
    workspaces += workers * (*workspace)->bytes();
    packed = std::max<int64_t>(packed, 4 * static_cast<int64_t>(weights.size()));
  }
  return workspaces + packed;
}

void ExpectFromAboveAndNear(const Graph& graph) {
  const std::vector<float> zeros(graph.parameter_count());
  const auto model = CompileInferenceModel(graph, zeros);
  ASSERT_TRUE(model.ok()) << model.status();
  for (const int workers : {1, 4}) {
    // Where it is quick, as many callers answer beside them.
    const int64_t allocated = Allocated(graph, workers * ((*model)->quick() ? 2 : 1));
    const int64_t estimated = EstimateInferenceMemory(graph, v1::PRECISION_F32, workers);
    EXPECT_GE(estimated, allocated) << graph.name() << ", " << workers << " workers";
    // Scratchpads are guessed from above, for each workspace.
    EXPECT_LE(estimated, 3 * allocated + workers * (int64_t{1} << 20))
        << graph.name() << ", " << workers << " workers";
  }
}

TEST(InferenceMemory, OfPresetsIsFromAboveAndNearWhatIsAllocated) {
  for (const std::string& name : PresetNames())
    ExpectFromAboveAndNear(*Graph::Create(*Preset(name)));
}

TEST(InferenceMemory, OfMuchWeightIsThatOfTwoCopies) {
  const auto network = ParseNetwork(
      "name: 'wide' input { height: 28 width: 28 channels: 1 } layers { flatten {} } "
      "layers { dense { units: 20000 } } layers { dense { units: 10 } }",
      "wide");
  ASSERT_TRUE(network.ok()) << network.status();
  const Graph graph = *Graph::Create(*network);
  ExpectFromAboveAndNear(graph);
  const int64_t weights = 4 * graph.parameter_count();
  EXPECT_GE(EstimateInferenceMemory(graph, v1::PRECISION_F32, 1), 2 * weights);
  EXPECT_LE(EstimateInferenceMemory(graph, v1::PRECISION_F32, 1), 2 * weights + (16 << 20));
}

TEST(InferenceMemory, NeverOverflows) {
  std::string layers;
  for (int i = 0; i < 900; ++i) layers += "layers { activation { activation: ACTIVATION_ELU } } ";
  const auto network =
      ParseNetwork("name: 'n' input { height: 16000 width: 16000 channels: 1 } " + layers +
                       "layers { max_pool { size: 16000 } } layers { flatten {} } "
                       "layers { dense { units: 2 } }",
                   "n");
  ASSERT_TRUE(network.ok()) << network.status();
  const int64_t bytes =
      EstimateInferenceMemory(*Graph::Create(*network), v1::PRECISION_F32, 1 << 30);
  EXPECT_GT(bytes, int64_t{1} << 60);
  EXPECT_LE(bytes, int64_t{1} << 62);
}

}  // namespace
}  // namespace convd
