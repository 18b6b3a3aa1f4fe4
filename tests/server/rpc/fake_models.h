#ifndef CONVD_TESTS_SERVER_RPC_FAKE_MODELS_H_
#define CONVD_TESTS_SERVER_RPC_FAKE_MODELS_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "convd/v1/images.pb.h"
#include "core/dnn/precision.h"
#include "core/time/clock.h"
#include "server/models/repository.h"
#include "tests/server/models/memory_file_system.h"
#include "tests/server/predict/fake_inference_model.h"

namespace convd {

// A real repository on a disk in memory, whose models are FakeInferenceModels of 2 x 3 x 1 images
// and four classes, labelled "c0" to "c3".
class FakeModels {
 public:
  static constexpr int kClasses = 4;

  FakeModels() : graph_(*Graph::Create(DenseNetwork(2, 3, 1, kClasses))) {
    auto opened = ModelRepository::Open(
        fs, Clock::Real(), "/state",
        [this](const Graph& graph, absl::Span<const float>,
               const InferenceOptions&) -> absl::StatusOr<std::shared_ptr<const InferenceModel>> {
          if (on_compile) on_compile();
          auto model = std::make_shared<FakeInferenceModel>(graph, /*preferred_images=*/2);
          model->on_infer = on_infer;
          model->until_cancelled = until_cancelled;
          return model;
        },
        [this](std::string_view field, v1::Precision precision) {
          const absl::Status status = CheckPrecision(field, precision);
          if (absl::IsInvalidArgument(status)) return status;
          if (precisions.count(precision) > 0) return absl::OkStatus();
          return absl::FailedPreconditionError(std::string(field) + ": the CPU lacks it");
        });
    EXPECT_TRUE(opened.ok()) << opened.status();
    repository = *std::move(opened);
  }

  void Publish(const std::string& name, const v1::TrainRequest& trained = {}) {
    v1::ModelCard card;
    *card.mutable_request() = trained;
    card.mutable_model()->set_name(name);
    for (int c = 0; c < kClasses; ++c) card.add_labels("c" + std::to_string(c));
    card.add_history()->set_epoch(1);
    card.mutable_quantization()->set_samples(1);
    v1::InputRange& range = *card.mutable_quantization()->add_inputs();
    range.set_layer("dense");
    range.set_high(1);
    card.mutable_validation()->set_accuracy(0.5);
    card.mutable_validation()->add_confusion(1);
    const std::vector<float> parameters(graph_.parameter_count(), 0.5f);
    const auto published = repository->Publish(graph_, parameters, card);
    EXPECT_TRUE(published.ok()) << published.status();
  }

  MemoryFileSystem fs;
  std::unique_ptr<ModelRepository> repository;
  // What the CPU has.
  std::set<v1::Precision> precisions = {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8};
  // Set before a model is loaded.
  std::function<void()> on_compile;
  std::function<absl::Status(absl::Span<const ImagePixels>)> on_infer;
  bool until_cancelled = false;

 private:
  const Graph graph_;
};

// Raw images of the fakes' shape, one a class that is asked for.
inline v1::Images ImagesOf(const std::vector<int>& classes) {
  v1::Images images;
  v1::RawImages& raw = *images.mutable_uint8();
  raw.set_count(static_cast<int64_t>(classes.size()));
  raw.set_height(2);
  raw.set_width(3);
  raw.set_channels(1);
  for (int c : classes) {
    std::string image(6, '\0');
    image[5] = static_cast<char>(c);
    *raw.mutable_data() += image;
  }
  return images;
}

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_RPC_FAKE_MODELS_H_
