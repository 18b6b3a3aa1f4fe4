#include "core/random/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "core/nn/initial_parameters.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

// Random123's published vectors (kat_vectors, philox4x32 10).
TEST(Philox4x32, GivesThePublishedAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  const uint32_t ones = 0xffffffff;
  EXPECT_THAT(Philox4x32({ones, ones, ones, ones}, {ones, ones}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(
      Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomBlock, PutsEachFieldInItsWordOfTheCounter) {
  RandomStream stream;
  stream.seed = 0x0123456789abcdef;
  stream.purpose = RandomPurpose::kDropout;
  stream.index = 0xabcdef;
  stream.epoch = 0x11223344;
  stream.sample = 0x55667788;
  EXPECT_EQ(RandomBlock(stream, 0x99aabbcc),
            Philox4x32({0x99aabbcc, 0x55667788, 0x11223344, 0x03abcdef}, {0x89abcdef, 0x01234567}));
}

// The values below are those of tests/core/train/counter_random.py.
TEST(ShuffledOrder, MatchesNumpy) {
  EXPECT_THAT(ShuffledOrder(0, 1, 8), ElementsAre(0, 1, 2, 4, 6, 3, 5, 7));
  EXPECT_THAT(ShuffledOrder(0, 2, 8), ElementsAre(7, 2, 0, 3, 6, 4, 1, 5));
  EXPECT_THAT(ShuffledOrder(0xfedcba9876543210, 1, 5), ElementsAre(1, 2, 3, 0, 4));
}

TEST(ShuffledOrder, TakesEverySampleOnce) {
  for (uint32_t count : {0u, 1u, 2u, 3u, 1000u}) {
    std::vector<uint32_t> order = ShuffledOrder(5, 1, count);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), count);
    for (uint32_t i = 0; i < count; ++i) EXPECT_EQ(order[i], i);
  }
}

TEST(ShuffledOrder, FollowsTheTrainingVectors) {
  for (const char* run : {"keras_mnist", "layer_kinds", "sgd"}) {
    SCOPED_TRACE(run);
    const TrainingVectors v = ReadTrainingVectors(run);
    const std::vector<double>& want = v.array("order");
    std::vector<double> got;
    for (int64_t epoch = 1; epoch <= v.request.epochs(); ++epoch) {
      for (uint32_t sample : ShuffledOrder(v.request.seed(), static_cast<uint32_t>(epoch),
                                           static_cast<uint32_t>(v.images.count))) {
        got.push_back(sample);
      }
    }
    EXPECT_THAT(got, ElementsAreArray(want));
  }
}

TEST(GlorotUniform, MatchesNumpyToTheBit) {
  std::vector<float> got(6);
  GlorotUniform(7, 2, 288, 576, 6, got.data());
  EXPECT_THAT(got, ElementsAre(-0.0545441806f, -0.0187841747f, 0.00789537001f, -0.011132489f,
                               -0.024875164f, 0.0702791736f));
  GlorotUniform(0xfedcba9876543210, 0, 9, 288, 6, got.data());
  EXPECT_THAT(got, ElementsAre(0.125369772f, -0.139612064f, 0.0281286966f, 0.0112738609f,
                               -0.0222990401f, -0.101369813f));
}

TEST(GlorotUniform, WritesNoElementBeyondItsCount) {
  std::array<float, 8> got;
  got.fill(99);
  GlorotUniform(7, 2, 288, 576, 5, got.data());
  EXPECT_NE(got[4], 99);
  EXPECT_EQ(got[5], 99);
  GlorotUniform(7, 2, 288, 576, 0, got.data() + 6);
  EXPECT_EQ(got[6], 99);
}

TEST(GlorotUniform, GivesTheTrainingVectorsInitialWeights) {
  for (const char* run : {"keras_mnist", "layer_kinds", "sgd"}) {
    SCOPED_TRACE(run);
    const TrainingVectors v = ReadTrainingVectors(run);
    const std::vector<float> initial = InitialParameters(v.graph, v.request.seed());
    EXPECT_EQ(crc32(0, reinterpret_cast<const Bytef*>(initial.data()),
                    static_cast<uInt>(initial.size() * sizeof(float))),
              static_cast<uLong>(v.array("initial_crc32").at(0)));
  }
}

TEST(DropoutThreshold, IsTheRatesShareOfTheWordsRoundedDown) {
  EXPECT_EQ(DropoutThreshold(0), 0u);
  EXPECT_EQ(DropoutThreshold(0.5f), 0x80000000u);
  EXPECT_EQ(DropoutThreshold(0.25f), 0x40000000u);
  EXPECT_EQ(DropoutThreshold(0.1f), 0x199999a0u);  // of the float nearest to 0.1
  EXPECT_EQ(DropoutThreshold(0.99999994f), 0xffffff00u);
  EXPECT_EQ(DropoutThreshold(1e-12f), 0u);
}

TEST(Dropout, DrawsTheTrainingVectorsMasks) {
  for (const char* run : {"keras_mnist", "layer_kinds"}) {
    const TrainingVectors v = ReadTrainingVectors(run);
    const std::vector<double>& order = v.array("order");
    int layers = 0;
    for (size_t l = 0; l < v.graph.layers().size(); ++l) {
      const GraphLayer& layer = v.graph.layers()[l];
      if (layer.kind != LayerKind::kDropout) continue;
      ++layers;
      const std::vector<double>& packed = v.array("dropout_" + std::to_string(l));
      const int64_t elements = layer.in.elements(), row = (elements + 7) / 8;
      ASSERT_EQ(packed.size(), order.size() * row);
      int64_t wrong = 0;
      for (size_t taken = 0; taken < order.size(); ++taken) {
        const auto epoch = static_cast<uint32_t>(taken / v.images.count + 1);
        for (int64_t e = 0; e < elements; ++e) {
          const bool want = static_cast<int>(packed[taken * row + e / 8]) >> (7 - e % 8) & 1;
          wrong += want != DropoutKeeps(v.request.seed(), static_cast<uint32_t>(l), epoch,
                                        static_cast<uint32_t>(order[taken]), layer.rate, e);
        }
      }
      EXPECT_EQ(wrong, 0) << run << ", layer " << l << ", of " << order.size() * elements;
    }
    EXPECT_GT(layers, 0);
  }
}

}  // namespace
}  // namespace convd
