#include "tests/core/train/training_vectors.h"

#include <google/protobuf/text_format.h>
#include <zip.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/npy.h"
#include "core/random/random.h"

namespace convd {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << what << std::endl;
  std::abort();
}

std::map<std::string, std::vector<double>> ReadArrays(const std::string& path) {
  int error = 0;
  const std::unique_ptr<zip_t, void (*)(zip_t*)> archive(zip_open(path.c_str(), ZIP_RDONLY, &error),
                                                         zip_discard);
  if (archive == nullptr) Fail(path + ": zip error " + std::to_string(error));
  std::map<std::string, std::vector<double>> arrays;
  for (zip_int64_t i = 0; i < zip_get_num_entries(archive.get(), 0); ++i) {
    zip_stat_t entry;
    if (zip_stat_index(archive.get(), i, 0, &entry) != 0) Fail(path + ": bad entry");
    std::string bytes(entry.size, '\0');
    const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
        zip_fopen_index(archive.get(), i, 0), zip_fclose);
    if (file == nullptr || zip_fread(file.get(), bytes.data(), bytes.size()) !=
                               static_cast<zip_int64_t>(bytes.size())) {
      Fail(path + ": cannot read " + entry.name);
    }
    std::string name = entry.name;
    name.resize(name.size() - std::string_view(".npy").size());
    const absl::StatusOr<NpyHeader> header = ParseNpyHeader(bytes, path + ", " + name);
    if (!header.ok()) Fail(header.status().ToString());
    std::vector<double>& array = arrays[name];
    for (int64_t e = 0; e < header->elements; ++e) {
      array.push_back(NpyElement(*header, bytes.data() + header->data_offset, e));
    }
  }
  return arrays;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!(text << file.rdbuf())) Fail(path + ": cannot read");
  return text.str();
}

// What an ImageSet points to.
struct Memory {
  std::vector<uint8_t> bytes;
  std::vector<float> floats;
  std::vector<int32_t> labels;
};

ImageSet AsImages(const std::vector<double>& pixels, const std::vector<double>& labels,
                  Shape shape) {
  auto memory = std::make_shared<Memory>();
  // make_vectors.py has uint8 pixels or normally distributed ones.
  const bool bytes = std::all_of(pixels.begin(), pixels.end(),
                                 [](double p) { return p >= 0 && p <= 255 && p == std::floor(p); });
  memory->labels.assign(labels.begin(), labels.end());
  ImageSet images;
  if (bytes) {
    memory->bytes.assign(pixels.begin(), pixels.end());
    images.pixels = memory->bytes.data();
  } else {
    memory->floats.assign(pixels.begin(), pixels.end());
    images.pixels = memory->floats.data();
    images.type = ElementType::kFloat32;
  }
  images.count = static_cast<int64_t>(labels.size());
  images.height = shape.height;
  images.width = shape.width;
  images.channels = shape.channels;
  images.labels = memory->labels;
  images.owner = memory;
  if (images.count * images.image_elements() != static_cast<int64_t>(pixels.size())) {
    Fail("images and labels don't fit the network");
  }
  return images;
}

}  // namespace

const std::vector<double>& TrainingVectors::array(const std::string& name) const {
  const auto found = arrays.find(name);
  if (found == arrays.end()) Fail("no array " + name);
  return found->second;
}

TrainingVectors ReadTrainingVectors(const std::string& run) {
  const std::string base = std::string(CONVD_SOURCE_DIR "/tests/core/train/vectors/") + run;
  v1::TrainRequest request;
  if (!google::protobuf::TextFormat::ParseFromString(ReadText(base + ".textproto"), &request)) {
    Fail(base + ".textproto: not a TrainRequest");
  }
  if (const absl::Status status = ResolveTraining(request); !status.ok()) Fail(status.ToString());
  absl::StatusOr<Graph> graph = Graph::Create(request.network());
  if (!graph.ok()) Fail(graph.status().ToString());
  TrainingVectors vectors{std::move(request), *std::move(graph), {}, ReadArrays(base + ".npz")};
  vectors.images =
      AsImages(vectors.array("images"), vectors.array("labels"), vectors.graph.input());
  return vectors;
}

bool DropoutKeeps(uint64_t seed, uint32_t layer, uint32_t epoch, uint32_t sample, float rate,
                  int64_t element) {
  const RandomStream stream{seed, RandomPurpose::kDropout, layer, epoch, sample};
  return RandomBlock(stream, static_cast<uint32_t>(element / 4))[element % 4] >=
         DropoutThreshold(rate);
}

TrainingData AsTrainingData(const ImageSet& images, int classes) {
  TrainingData data;
  data.train = images;
  for (int i = 0; i < classes; ++i) data.labels.push_back(std::to_string(i));
  return data;
}

}  // namespace convd
