#ifndef CONVD_TESTS_SERVER_JOBS_FAKE_DATASETS_H_
#define CONVD_TESTS_SERVER_JOBS_FAKE_DATASETS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/datasets/registry.h"

namespace convd {

// Images of one value and labels that count through the classes, kept together.
inline DatasetSplit SplitOf(const std::string& name, int64_t count, int height, int width,
                            int classes, ElementType type = ElementType::kUint8) {
  struct Arrays {
    std::vector<char> pixels;
    std::vector<int32_t> labels;
  };
  auto arrays = std::make_shared<Arrays>();
  ImageSet images;
  images.count = count;
  images.height = height;
  images.width = width;
  images.channels = 1;
  images.type = type;
  arrays->pixels.resize(count * images.image_bytes());
  for (int64_t i = 0; i < count; ++i) arrays->labels.push_back(static_cast<int32_t>(i % classes));
  images.pixels = arrays->pixels.data();
  images.labels = arrays->labels;
  images.owner = arrays;
  return {name, images};
}

// Datasets that a test puts there by hand.
class FakeDatasets final : public DatasetRegistry {
 public:
  void Put(const std::string& name, std::vector<DatasetSplit> splits, int classes) {
    auto dataset = std::make_shared<Dataset>();
    dataset->splits = std::move(splits);
    for (int c = 0; c < classes; ++c) dataset->labels.push_back(absl::StrCat("c", c));
    datasets_[name] = std::move(dataset);
  }

  absl::StatusOr<v1::Dataset> Get(const std::string& name) override {
    if (datasets_.count(name) == 0) {
      return absl::NotFoundError(absl::StrCat("dataset: there is none named \"", name, "\""));
    }
    v1::Dataset dataset;
    dataset.set_name(name);
    dataset.set_sha256("sha of " + name);
    dataset.mutable_pixels()->add_mean(7);
    return dataset;
  }
  absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) override {
    return datasets_.at(name);
  }

  absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest&) override {
    return absl::UnimplementedError("not for these tests");
  }
  absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(const v1::UploadHeader&) override {
    return absl::UnimplementedError("not for these tests");
  }
  std::vector<v1::Dataset> List() override { return {}; }
  absl::Status Delete(const std::string& name) override {
    datasets_.erase(name);
    return absl::OkStatus();
  }

 private:
  std::map<std::string, std::shared_ptr<Dataset>> datasets_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_JOBS_FAKE_DATASETS_H_
