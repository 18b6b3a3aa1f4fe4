// Whatever comes in, the server answers with a sentence that names what is wrong, writes nothing
// half, and lives on.

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

std::string Count(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

class BadInputTest : public FashionServerTest {
 protected:
  // The call failed with one of `codes`, its message says `words`, and the server is well.
  void ExpectRefused(const std::string& what, const absl::Status& status,
                     const std::vector<absl::StatusCode>& codes, const std::string& words) {
    SCOPED_TRACE(what);
    EXPECT_THAT(codes, ::testing::Contains(status.code())) << status;
    const std::string message(status.message());
    EXPECT_THAT(message, HasSubstr(words));
    EXPECT_LE(message.size(), 4096u);
    const auto health = client_->CheckHealth();
    ASSERT_STATUS_OK(health);
    EXPECT_EQ(*health, Health::kServing);
  }

  size_t EntriesUnder(const std::string& path) {
    std::error_code none;
    size_t count = 0;
    for (std::filesystem::recursive_directory_iterator entry(path, none), end;
         !none && entry != end; entry.increment(none)) {
      ++count;
    }
    return count;
  }
};

TEST_F(BadInputTest, TrainRequests) {
  using Change = std::function<void(v1::TrainRequest&)>;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const struct {
    const char* what;
    Change change;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {"no model", [](auto& r) { r.clear_model(); }, kInvalid, "model"},
      {"a model with a folder", [](auto& r) { r.set_model("a/b"); }, kInvalid, "model"},
      {"a model of dots", [](auto& r) { r.set_model(".."); }, kInvalid, "model"},
      {"a model with NUL", [](auto& r) { r.set_model(std::string("a\0b", 3)); }, kInvalid, "model"},
      {"a long model", [](auto& r) { r.set_model(std::string(300, 'a')); }, kInvalid, "model"},
      {"an unknown preset", [](auto& r) { r.set_preset("resnet-9000"); }, kNotFound, "resnet-9000"},
      {"no architecture", [](auto& r) { r.clear_architecture(); }, kInvalid, "preset"},
      {"an empty network", [](auto& r) { r.mutable_network(); }, kInvalid, "network"},
      {"an unknown dataset", [](auto& r) { r.mutable_dataset()->set_name("nope"); }, kNotFound,
       "nope"},
      {"an unknown split", [](auto& r) { r.mutable_dataset()->set_split("nope"); }, kNotFound,
       "nope"},
      {"a dataset with a folder", [](auto& r) { r.mutable_dataset()->set_name("../fashion"); },
       kInvalid, "dataset"},
      {"batch 0", [](auto& r) { r.set_batch_size(0); }, kInvalid, "batch_size"},
      {"batch -1", [](auto& r) { r.set_batch_size(-1); }, kInvalid, "batch_size"},
      {"no epochs", [](auto& r) { r.set_epochs(0); }, kInvalid, "epochs"},
      {"a negative learning rate",
       [](auto& r) { r.mutable_optimizer()->mutable_adam()->set_learning_rate(-0.1); }, kInvalid,
       "learning_rate"},
      {"a learning rate that is no number",
       [nan](auto& r) { r.mutable_optimizer()->mutable_adam()->set_learning_rate(nan); }, kInvalid,
       "learning_rate"},
      {"an endless learning rate",
       [](auto& r) {
         r.mutable_optimizer()->mutable_sgd()->set_learning_rate(
             std::numeric_limits<double>::infinity());
       },
       kInvalid, "learning_rate"},
      {"a momentum of 1", [](auto& r) { r.mutable_optimizer()->mutable_sgd()->set_momentum(1.5); },
       kInvalid, "momentum"},
      {"a tail of everything", [](auto& r) { r.mutable_validation()->set_tail(2000); }, kInvalid,
       "tail"},
      {"a negative tail", [](auto& r) { r.mutable_validation()->set_tail(-1); }, kInvalid, "tail"},
      {"a split of 1", [](auto& r) { r.mutable_validation()->set_split(1); }, kInvalid, "split"},
      {"a split that is no number", [nan](auto& r) { r.mutable_validation()->set_split(nan); },
       kInvalid, "split"},
      {"samples moved by a negative distance",
       [](auto& r) { r.mutable_augmentation()->set_shift(-1); }, kInvalid, "augmentation.shift"},
      {"samples moved all the way out", [](auto& r) { r.mutable_augmentation()->set_shift(28); },
       kInvalid, "augmentation.shift"},
      {"samples moved far away",
       [](auto& r) { r.mutable_augmentation()->set_shift(std::numeric_limits<int32_t>::max()); },
       kInvalid, "augmentation.shift"},
      {"a network of another shape", [](auto& r) { r.set_preset("classic-cifar10"); }, kInvalid,
       "32"},
  };
  for (const auto& c : cases) {
    v1::TrainRequest request = SmallTraining("fashion", 1);
    c.change(request);
    ExpectRefused(c.what, client_->Train(request).status(), {c.code}, c.words);
  }
  const auto jobs = client_->ListJobs();
  ASSERT_STATUS_OK(jobs);
  EXPECT_TRUE(jobs->empty()) << "refused requests leave no jobs behind";
}

TEST_F(BadInputTest, ANetworkThatCannotBeIsRefusedBeforeTheJobIsQueuedAndNamesTheLayer) {
  v1::TrainRequest request = SmallTraining("fashion", 1);
  v1::Network& network = *request.mutable_network();
  network.set_name("mine");
  network.mutable_input()->set_height(28);
  network.mutable_input()->set_width(28);
  network.mutable_input()->set_channels(1);
  v1::Layer& layer = *network.add_layers();
  layer.set_name("too_big");
  layer.mutable_conv()->set_filters(8);
  layer.mutable_conv()->add_kernel(29);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(10);
  ExpectRefused("a kernel larger than its image", client_->Train(request).status(), {kInvalid},
                "too_big");
  layer.mutable_conv()->set_kernel(0, 3);
  layer.mutable_conv()->set_filters(2'000'000'000);
  ExpectRefused("more parameters than memory", client_->Train(request).status(),
                {kInvalid, absl::StatusCode::kResourceExhausted}, "too_big");
  layer.mutable_conv()->set_filters(8);
  network.mutable_layers(2)->mutable_dense()->set_units(9);
  ExpectRefused("fewer outputs than classes", client_->Train(request).status(), {kInvalid}, "9");
}

TEST_F(BadInputTest, Files) {
  const std::string images = IdxImages(data_.test);
  const std::string labels = IdxLabels(data_.test);
  std::string eleven = labels;
  eleven.back() = 11;
  LabelledPixels fewer = data_.test;
  fewer.labels.pop_back();
  const struct {
    const char* what;
    std::string images;
    std::string labels;
    const char* words;
  } cases[] = {
      {"truncated images", images.substr(0, images.size() - 1), labels, "images"},
      {"a header alone", images.substr(0, 16), labels, "images"},
      {"half a header", images.substr(0, 7), labels, "images"},
      {"empty images", "", labels, "images"},
      {"empty labels", images, "", "labels"},
      {"a web page", "<!DOCTYPE html><html><body>404 Not Found</body></html>", labels, "images"},
      {"gzip magic and rubbish", "\x1f\x8b\x08 rubbish, rubbish", labels, "images"},
      {"a wrong magic", "\xff\xff\x08\x03" + images.substr(4), labels, "images"},
      {"labels as images", labels, labels, "images"},
      {"images as labels", images, images, "labels"},
      {"fewer labels than images", images, IdxLabels(fewer), "499"},
      {"a label beyond the classes", images, eleven, "11"},
      {"a header that promises 2^64 bytes",
       Count(0x803) + Count(0x7fffffff) + Count(0x7fffffff) + Count(0x7fffffff), labels, "images"},
      {"images without pixels", Count(0x803) + Count(500) + Count(0) + Count(0), labels, "images"},
  };
  for (const auto& c : cases) {
    WriteFile(data_dir() + "/bad-images", c.images);
    WriteFile(data_dir() + "/bad-labels", c.labels);
    v1::RegisterDatasetRequest request;
    request.set_name("bad");
    request.set_path(data_dir());
    v1::SplitFiles& split = *request.add_files();
    split.set_split("train");
    split.add_images("bad-images");
    split.add_labels("bad-labels");
    for (int i = 0; i < 10; ++i) request.add_labels("class " + std::to_string(i));
    const size_t before = EntriesUnder(state());
    ExpectRefused(c.what, client_->RegisterDataset(request).status(),
                  {kInvalid, absl::StatusCode::kDataLoss}, c.words);
    EXPECT_EQ(EntriesUnder(state()), before) << c.what << ": something half written was left";
    EXPECT_EQ(client_->GetDataset("bad").status().code(), kNotFound) << c.what;
  }
}

TEST_F(BadInputTest, CifarAndNpzFiles) {
  const struct {
    const char* what;
    std::string data;
    std::vector<absl::StatusCode> codes;
  } cases[] = {
      {"CIFAR records that aren't whole",
       std::string(3073 * 2 + 100, '\1'),
       {kInvalid, absl::StatusCode::kDataLoss}},
      {"an archive cut short",
       std::string("PK\x03\x04", 4) + std::string(26, '\0'),
       {kInvalid, absl::StatusCode::kDataLoss}},
      {"an archive without members",
       std::string("PK\x05\x06", 4) + std::string(18, '\0'),
       {kNotFound}},
  };
  for (const auto& c : cases) {
    WriteFile(data_dir() + "/bad.bin", c.data);
    v1::RegisterDatasetRequest request;
    request.set_name("bad");
    request.set_path(data_dir());
    v1::SplitFiles& split = *request.add_files();
    split.set_split("train");
    split.add_images("bad.bin");
    ExpectRefused(c.what, client_->RegisterDataset(request).status(), c.codes, "bad.bin");
  }
}

TEST_F(BadInputTest, DatasetRequests) {
  v1::RegisterDatasetRequest request;
  request.set_path(data_dir());
  for (const std::string& name :
       {std::string(""), std::string("a/b"), std::string(".."), std::string("a\0b", 3),
        std::string(300, 'a'), std::string("-x"), std::string("naïve")}) {
    request.set_name(name);
    ExpectRefused("name " + name, client_->RegisterDataset(request).status(), {kInvalid}, "name");
    v1::UploadHeader header;
    header.set_name(name);
    ExpectRefused("upload of name " + name, client_->UploadDataset(header, {}).status(), {kInvalid},
                  "name");
  }
  request.set_name("outside");
  const TempFolder elsewhere;
  WriteIdxFiles(data_, elsewhere.path());
  std::filesystem::create_directory_symlink(elsewhere.path(), data_dir() + "/link");
  for (const std::string& path : {elsewhere.path(), data_dir() + "/link",
                                  data_dir() + "/../../" + elsewhere.path(), std::string("/etc")}) {
    request.set_path(path);
    ExpectRefused(path, client_->RegisterDataset(request).status(),
                  {absl::StatusCode::kPermissionDenied, kNotFound, kInvalid}, "");
    EXPECT_EQ(client_->GetDataset("outside").status().code(), kNotFound) << path;
  }
  request.set_path(data_dir() + "/none");
  ExpectRefused("a folder that isn't there", client_->RegisterDataset(request).status(),
                {kNotFound}, "none");

  // The same name for other data.
  request.set_name("fashion");
  request.set_path(data_dir());
  request.add_labels("only one class");
  ExpectRefused("too few class names", client_->RegisterDataset(request).status(),
                {kInvalid, absl::StatusCode::kAlreadyExists}, "");
  request.clear_labels();
  for (int i = 0; i < 10; ++i) request.add_labels("other " + std::to_string(i));
  ExpectRefused("another dataset of that name", client_->RegisterDataset(request).status(),
                {absl::StatusCode::kAlreadyExists}, "fashion");
  ExpectRefused("no such dataset", client_->DeleteDataset("none"), {kNotFound}, "none");
}

TEST_F(BadInputTest, UploadsWithFilesThatClimb) {
  const std::string path = data_dir() + "/t10k-images-idx3-ubyte";
  for (const std::string& name : {std::string("../x"), std::string("/etc/x"), std::string(""),
                                  std::string("a\0b", 3), std::string(300, 'a')}) {
    v1::UploadHeader header;
    header.set_name("climber");
    const size_t before = EntriesUnder(state());
    ExpectRefused("file " + name, client_->UploadDataset(header, {{name, path}}).status(),
                  {kInvalid}, "file");
    EXPECT_EQ(EntriesUnder(state()), before) << name;
  }
}

TEST_F(BadInputTest, PredictAndEvaluateRequests) {
  TrainToTheEnd(SmallTraining("fashion", 1));
  using Change = std::function<void(v1::PredictRequest&)>;
  const struct {
    const char* what;
    Change change;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {"no model", [](auto& r) { r.clear_model(); }, kInvalid, "model"},
      {"an unknown model", [](auto& r) { r.mutable_model()->set_name("nope"); }, kNotFound, "nope"},
      {"an unknown version", [](auto& r) { r.mutable_model()->set_version(7); }, kNotFound, "7"},
      {"a version below 0", [](auto& r) { r.mutable_model()->set_version(-1); }, kInvalid,
       "version"},
      {"a model that climbs", [](auto& r) { r.mutable_model()->set_name("../fashion"); }, kInvalid,
       "model"},
      {"no images", [](auto& r) { r.clear_images(); }, kInvalid, "images"},
      {"none of them", [](auto& r) { r.mutable_images()->mutable_uint8()->set_count(0); }, kInvalid,
       "count"},
      {"more than there are", [](auto& r) { r.mutable_images()->mutable_uint8()->set_count(2); },
       kInvalid, "data"},
      {"2^62 of them",
       [](auto& r) { r.mutable_images()->mutable_uint8()->set_count(int64_t{1} << 62); }, kInvalid,
       "count"},
      {"a wrong height", [](auto& r) { r.mutable_images()->mutable_uint8()->set_height(27); },
       kInvalid, "28x28x1"},
      {"a negative width", [](auto& r) { r.mutable_images()->mutable_uint8()->set_width(-28); },
       kInvalid, "28x28x1"},
      {"three channels", [](auto& r) { r.mutable_images()->mutable_uint8()->set_channels(3); },
       kInvalid, "28x28x1"},
      {"f32 that isn't finite",
       [](auto& r) {
         v1::RawImages raw = r.images().uint8();
         std::vector<float> pixels(784, std::nanf(""));
         raw.set_data(std::string(reinterpret_cast<const char*>(pixels.data()), 784 * 4));
         *r.mutable_images()->mutable_float32() = raw;
       },
       kInvalid, "float32"},
      {"a file that is no image",
       [](auto& r) { r.mutable_images()->mutable_encoded()->add_files("<html></html>"); }, kInvalid,
       "PNG"},
      {"an empty file", [](auto& r) { r.mutable_images()->mutable_encoded()->add_files(""); },
       kInvalid, "0"},
      {"a PNG that is only a beginning",
       [](auto& r) {
         r.mutable_images()->mutable_encoded()->add_files(std::string("\x89PNG\r\n\x1a\n", 8));
       },
       kInvalid, "PNG"},
      {"more classes than there are", [](auto& r) { r.set_top_k(11); }, kInvalid, "top_k"},
      {"top -1", [](auto& r) { r.set_top_k(-1); }, kInvalid, "top_k"},
  };
  for (const auto& c : cases) {
    v1::PredictRequest request;
    request.mutable_model()->set_name("fashion");
    *request.mutable_images() = data_.test.Raw(0, 1);
    c.change(request);
    ExpectRefused(c.what, client_->Predict(request).status(), {c.code}, c.words);
  }

  v1::EvaluateRequest request;
  request.mutable_model()->set_name("fashion");
  ExpectRefused("no data", client_->Evaluate(request).status(), {kInvalid}, "dataset");
  request.mutable_dataset()->set_name("nope");
  ExpectRefused("unknown data", client_->Evaluate(request).status(), {kNotFound}, "nope");
  *request.mutable_images()->mutable_images() = data_.test.Raw(0, 2);
  request.mutable_images()->add_labels(1);
  ExpectRefused("fewer labels than images", client_->Evaluate(request).status(), {kInvalid},
                "labels");
  request.mutable_images()->add_labels(10);
  ExpectRefused("a label beyond the classes", client_->Evaluate(request).status(), {kInvalid},
                "labels");
}

TEST_F(BadInputTest, JobAndModelRequests) {
  for (const std::string& id : {std::string(""), std::string("nope"), std::string("../x"),
                                std::string("a\0b", 3), std::string(300, 'a')}) {
    ExpectRefused("job " + id, client_->GetJob(id).status(), {kNotFound, kInvalid}, "");
    ExpectRefused("cancel " + id, client_->CancelJob(id).status(), {kNotFound, kInvalid}, "");
    ExpectRefused("watch " + id, client_->Watch(id, [](const v1::JobEvent&) {}).status(),
                  {kNotFound, kInvalid}, "");
    v1::ModelVersion model;
    model.set_name(id);
    ExpectRefused("model " + id, client_->GetModel(model).status(), {kNotFound, kInvalid}, "");
  }
}

}  // namespace
}  // namespace convd
