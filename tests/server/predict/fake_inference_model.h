#ifndef CONVD_TESTS_SERVER_PREDICT_FAKE_INFERENCE_MODEL_H_
#define CONVD_TESTS_SERVER_PREDICT_FAKE_INFERENCE_MODEL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/dnn/inference_model.h"
#include "server/models/repository.h"

namespace convd {

// Flatten and one dense layer of `classes` on height x width x channels.
inline v1::Network DenseNetwork(int height, int width, int channels, int classes) {
  v1::Network network;
  network.set_name("dense");
  network.mutable_input()->set_height(height);
  network.mutable_input()->set_width(width);
  network.mutable_input()->set_channels(channels);
  network.add_layers()->mutable_flatten();
  v1::Dense* dense = network.add_layers()->mutable_dense();
  dense->set_units(classes);
  dense->set_activation(v1::ACTIVATION_SOFTMAX);
  return network;
}

// A model whose answers can be told by hand: the class of an image is the sum of its elements
// modulo the number of classes; after it come, less and less probable, the classes that follow it
// in a circle. Of c classes they get c, c - 1, ... 1 parts of c (c + 1) / 2.
class FakeInferenceModel : public InferenceModel {
 public:
  explicit FakeInferenceModel(Graph graph, int64_t preferred_images = 4)
      : graph_(std::move(graph)), preferred_images_(preferred_images) {}

  static int ClassOf(const ImagePixels& image, int64_t elements, int classes) {
    double sum = 0;
    for (int64_t e = 0; e < elements; ++e) {
      sum += image.type == ElementType::kUint8
                 ? static_cast<double>(static_cast<const uint8_t*>(image.data)[e])
                 : static_cast<double>(static_cast<const float*>(image.data)[e]);
    }
    return static_cast<int>(static_cast<int64_t>(sum) % classes);
  }
  static float ProbabilityAt(int rank, int classes) {
    return 2.0f * static_cast<float>(classes - rank) / static_cast<float>(classes * (classes + 1));
  }

  const Graph& graph() const override { return graph_; }
  int64_t preferred_images() const override { return preferred_images_; }
  bool quick() const override { return is_quick; }
  absl::Status InferScattered(absl::Span<const ImagePixels> images, absl::Span<float> probabilities,
                              Executor& executor,
                              absl::FunctionRef<bool()> cancelled) const override {
    infer_calls.fetch_add(1);
    if (on_infer) {
      if (absl::Status status = on_infer(images); !status.ok()) return status;
    }
    while (until_cancelled && !cancelled()) executor.Cut();
    const int classes = graph_.classes();
    for (size_t i = 0; i < images.size(); ++i) {
      const int first = ClassOf(images[i], graph_.input().elements(), classes);
      for (int rank = 0; rank < classes; ++rank) {
        probabilities[i * classes + (first + rank) % classes] = ProbabilityAt(rank, classes);
      }
      if (on_probabilities) on_probabilities(probabilities);
      executor.Cut();
      if (cancelled()) return absl::CancelledError("cancelled at a cut");
    }
    return absl::OkStatus();
  }

  mutable std::atomic<int64_t> infer_calls{0};
  // Set before the model is shared.
  std::function<absl::Status(absl::Span<const ImagePixels>)> on_infer;
  std::function<void(absl::Span<float>)> on_probabilities;
  bool until_cancelled = false;  // computes until it is told to stop
  bool is_quick = false;

 private:
  const Graph graph_;
  const int64_t preferred_images_;
};

// The fake with a card of version 3 of "fake" and labels "class 0", "class 1", ...
inline std::shared_ptr<LoadedModel> LoadedFake(std::shared_ptr<FakeInferenceModel> model) {
  auto loaded = std::make_shared<LoadedModel>();
  loaded->card.mutable_model()->set_name("fake");
  loaded->card.mutable_model()->set_version(3);
  *loaded->card.mutable_network() = model->graph().network();
  for (int c = 0; c < model->graph().classes(); ++c) {
    loaded->card.add_labels("class " + std::to_string(c));
  }
  loaded->model = std::move(model);
  return loaded;
}

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_PREDICT_FAKE_INFERENCE_MODEL_H_
