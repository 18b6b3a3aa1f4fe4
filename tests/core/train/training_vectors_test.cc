#include "tests/core/train/training_vectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/nn/initial_parameters.h"
#include "tests/core/nn/reference_forward.h"

// PyTorch's runs against the forward pass written down in C++: two references that agree, so that
// where the engine differs from the vectors it is the engine.

namespace convd {
namespace {

class TrainingVectorsTest : public ::testing::TestWithParam<const char*> {
 protected:
  TrainingVectorsTest() : vectors_(ReadTrainingVectors(GetParam())) {}

  std::vector<double> Pixels(int64_t sample) const {
    const ImageSet& images = vectors_.images;
    std::vector<double> pixels(images.image_elements());
    for (size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = images.type == ElementType::kUint8
                      ? reinterpret_cast<const uint8_t*>(images.image(sample))[i]
                      : reinterpret_cast<const float*>(images.image(sample))[i];
    }
    return pixels;
  }

  void ExpectProbabilities(const std::vector<float>& parameters, const std::string& array) const {
    const std::vector<double>& want = vectors_.array(array);
    const int classes = vectors_.graph.classes();
    for (int64_t s = 0; s < std::min<int64_t>(vectors_.images.count, 33); ++s) {
      const std::vector<double> got = ReferenceProbabilities(vectors_.graph, parameters, Pixels(s));
      for (int c = 0; c < classes; ++c) {
        ASSERT_NEAR(got[c], want[s * classes + c], 1e-6) << "sample " << s;
      }
    }
  }

  // Mean loss of the first step's samples, dropout on.
  double FirstLoss(const std::vector<double>& parameters) const {
    const Graph& graph = vectors_.graph;
    const auto batch = std::min(vectors_.request.batch_size(), vectors_.images.count);
    double sum = 0;
    for (int64_t i = 0; i < batch; ++i) {
      const auto sample = static_cast<uint32_t>(vectors_.array("order").at(i));
      auto dropout = [&](int layer, int64_t element) {
        const float rate = graph.layers()[layer].rate;
        return DropoutKeeps(vectors_.request.seed(), layer, 1, sample, rate, element)
                   ? 1 / (1 - double{rate})
                   : 0.0;
      };
      const std::vector<double> scores =
          ReferenceActivations(graph, parameters, Pixels(sample), dropout).back();
      const int label = vectors_.images.labels[sample];
      sum += graph.layers().back().activation == v1::ACTIVATION_SOFTMAX
                 ? -std::log(scores[label])
                 : ReferenceCrossEntropy(scores, label);
    }
    return sum / static_cast<double>(batch);
  }

  const TrainingVectors vectors_;
};

TEST_P(TrainingVectorsTest, HaveTheReferencesProbabilitiesBeforeAndAfterTraining) {
  ExpectProbabilities(InitialParameters(vectors_.graph, vectors_.request.seed()), "probabilities");
  const std::vector<double>& trained = vectors_.array("final");
  ExpectProbabilities(std::vector<float>(trained.begin(), trained.end()), "final_probabilities");
}

TEST_P(TrainingVectorsTest, HaveTheReferencesFirstLoss) {
  const std::vector<float> initial = InitialParameters(vectors_.graph, vectors_.request.seed());
  EXPECT_NEAR(FirstLoss({initial.begin(), initial.end()}), vectors_.array("losses").at(0), 1e-6);
}

TEST_P(TrainingVectorsTest, HaveTheReferencesFirstGradient) {
  const std::vector<float> initial = InitialParameters(vectors_.graph, vectors_.request.seed());
  const std::vector<double>& gradient = vectors_.array("gradient");
  ASSERT_EQ(gradient.size(), initial.size());
  for (const Parameter& parameter : vectors_.graph.parameters()) {
    // Biases start at zero, where a patch of black pixels sits on the kink of a ReLU.
    if (parameter.fan_in == 0 && vectors_.images.type == ElementType::kUint8) continue;
    double largest = 0;
    for (int64_t e = 0; e < parameter.elements; ++e) {
      largest = std::max(largest, std::abs(gradient[parameter.offset + e]));
    }
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t at = parameter.offset + i * (parameter.elements - 1) / 3;
      std::vector<double> moved(initial.begin(), initial.end());
      const double step = 1e-6;
      moved[at] = initial[at] + step;
      const double above = FirstLoss(moved);
      moved[at] = initial[at] - step;
      EXPECT_NEAR((above - FirstLoss(moved)) / (2 * step), gradient[at], 1e-5 * largest)
          << parameter.name << ", element " << at - parameter.offset;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, TrainingVectorsTest,
                         ::testing::Values("keras_mnist", "lenet5", "layer_kinds", "sgd",
                                           "sgd_momentum", "sgd_nesterov"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace convd
