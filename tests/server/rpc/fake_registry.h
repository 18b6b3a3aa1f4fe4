#ifndef CONVD_TESTS_SERVER_RPC_FAKE_REGISTRY_H_
#define CONVD_TESTS_SERVER_RPC_FAKE_REGISTRY_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/datasets/registry.h"

namespace convd {

// Datasets in memory.
class FakeRegistry : public DatasetRegistry {
 public:
  absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(const v1::UploadHeader&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::Dataset> Get(const std::string& name) override {
    if (datasets.count(name) == 0) return absl::NotFoundError("no dataset \"" + name + "\"");
    v1::Dataset dataset;
    dataset.set_name(name);
    dataset.set_sha256("sha of " + name);
    return dataset;
  }
  std::vector<v1::Dataset> List() override { return {}; }
  absl::Status Delete(const std::string&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) override {
    if (datasets.count(name) == 0) return absl::NotFoundError("no dataset \"" + name + "\"");
    return datasets[name];
  }

  // Images of height x width x 1 whose last pixel is their class, with `labels`.
  void Add(const std::string& name, const std::string& split, const std::vector<int>& classes,
           const std::vector<int32_t>& labels, int height = 2, int width = 3) {
    struct Arrays {
      std::vector<uint8_t> pixels;
      std::vector<int32_t> labels;
    };
    auto arrays = std::make_shared<Arrays>();
    for (int c : classes) {
      arrays->pixels.resize(arrays->pixels.size() + height * width - 1);
      arrays->pixels.push_back(static_cast<uint8_t>(c));
    }
    arrays->labels = labels;
    DatasetSplit added;
    added.name = split;
    added.images.count = static_cast<int64_t>(classes.size());
    added.images.height = height;
    added.images.width = width;
    added.images.channels = 1;
    added.images.pixels = arrays->pixels.data();
    added.images.labels = arrays->labels;
    added.images.owner = arrays;
    std::shared_ptr<Dataset>& dataset = datasets[name];
    if (dataset == nullptr) dataset = std::make_shared<Dataset>();
    dataset->splits.push_back(std::move(added));
  }

  std::map<std::string, std::shared_ptr<Dataset>> datasets;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_RPC_FAKE_REGISTRY_H_
