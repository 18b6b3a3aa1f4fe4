#include "tests/simulation/small_jobs.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/exec/executor.h"
#include "core/train/trainer.h"
#include "server/jobs/resolve.h"
#include "tests/server/jobs/fake_datasets.h"

namespace convd {
namespace {

DatasetSplit Noise(const std::string& name, int64_t count) {
  struct Arrays {
    std::vector<char> pixels;
    std::vector<int32_t> labels;
  };
  auto arrays = std::make_shared<Arrays>();
  ImageSet images;
  images.count = count;
  images.height = 4;
  images.width = 4;
  images.channels = 1;
  std::mt19937 random(static_cast<uint32_t>(count));
  for (int64_t i = 0; i < count * 16; ++i) arrays->pixels.push_back(static_cast<char>(random()));
  for (int64_t i = 0; i < count; ++i) arrays->labels.push_back(static_cast<int32_t>(random() % 2));
  images.pixels = arrays->pixels.data();
  images.labels = arrays->labels;
  images.owner = arrays;
  return {name, images};
}

class Ignoring final : public TrainingObserver {
 public:
  void OnProgress(const TrainingProgress&) override {}
  void OnEpoch(const v1::EpochRecord&) override {}
  bool Cancelled() const override { return false; }
};

}  // namespace

v1::TrainRequest SmallJob(int kind) {
  v1::TrainRequest request;
  request.set_model(absl::StrCat("m", kind));
  v1::Network& network = *request.mutable_network();
  network.set_name("small");
  network.mutable_input()->set_height(4);
  network.mutable_input()->set_width(4);
  network.mutable_input()->set_channels(1);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(3);
  if (kind == 1) network.add_layers()->mutable_dropout()->set_rate(0.3f);
  network.add_layers()->mutable_dense()->set_units(2);
  request.mutable_dataset()->set_name("noise");
  request.set_epochs(3);
  request.set_batch_size(4);
  request.set_seed(static_cast<uint64_t>(kind));
  if (kind != 3) request.mutable_validation()->set_none(true);
  if (kind == 2) {
    request.mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
    request.mutable_augmentation()->set_horizontal_flip(true);
    request.mutable_augmentation()->set_shift(1);
  }
  return request;
}

DatasetRegistry& SmallDatasets() {
  static FakeDatasets* const datasets = [] {
    auto* made = new FakeDatasets;
    made->Put("noise", {Noise("train", 14), Noise("test", 5)}, 2);
    return made;
  }();
  return *datasets;
}

const std::vector<float>& UnbrokenWeights(int kind) {
  static std::array<std::vector<float>, kSmallJobKinds> weights;
  if (weights[kind].empty()) {
    ResolvedJob job = *ResolveJob(SmallJob(kind), SmallDatasets());
    const auto executor = NewHandCrankedExecutor();
    const auto trainer =
        *Trainer::Create(job.graph, job.request, job.data, *executor, Clock::Real());
    Ignoring nobody;
    EXPECT_TRUE(trainer->Run(nobody).ok());
    weights[kind] = trainer->parameters();
  }
  return weights[kind];
}

}  // namespace convd
