#include "bench/measurement.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/fma_rate.h"
#include "core/data/idx.h"
#include "core/dnn/engine_info.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"

namespace convd {

void PrintMeasurement(const Measurement& m, bool json) {
  const double rate = m.images / m.seconds;
  const double flops = rate * static_cast<double>(m.flop_per_image);
  const std::string instruction_set = InstructionSet();
  const double peak = MeasureFmaRate(WidthOf(instruction_set), m.threads);
  if (json) {
    const nlohmann::ordered_json object = {{"program", "convd"},
                                           {"version", CONVD_VERSION},
                                           {"mode", m.mode},
                                           {"network", m.network},
                                           {"threads", m.threads},
                                           {"batch", m.batch},
                                           {"instruction_set", instruction_set},
                                           {"images", m.images},
                                           {"seconds", m.seconds},
                                           {"images_per_second", rate},
                                           {"gflops", flops / 1e9},
                                           {"peak_gflops", peak / 1e9},
                                           {"peak_share", flops / peak},
                                           {"onednn", OneDnnVersion()}};
    std::cout << object.dump() << std::endl;
    return;
  }
  std::cout << absl::StrCat(m.mode, " ", m.network, ", batch ", m.batch, ", threads ", m.threads,
                            ": ", std::llround(rate), " images/s (", m.images, " in ", m.seconds,
                            " s), ", flops / 1e9, " GFLOP/s, ", 100 * flops / peak,
                            "% of the measured ", peak / 1e9, " (", instruction_set, ", oneDNN ",
                            OneDnnVersion(), ")")
            << std::endl;
}

absl::StatusOr<Graph> OpenNetwork(const std::string& preset_or_path) {
  if (auto preset = Preset(preset_or_path); preset.ok()) return Graph::Create(*preset);
  absl::StatusOr<std::string> text = FileSystem::Posix().Read(preset_or_path, kMaxNetworkText);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("network: got \"", preset_or_path,
                                            "\", neither a file nor a preset; presets are ",
                                            absl::StrJoin(PresetNames(), ", ")));
  }
  CONVD_RETURN_IF_ERROR(text.status());
  CONVD_ASSIGN_OR_RETURN(const v1::Network network, ParseNetwork(*text, preset_or_path));
  return Graph::Create(network);
}

ImageSet SyntheticImages(const Graph& graph, int64_t count) {
  struct Memory {
    std::vector<uint8_t> pixels;
    std::vector<int32_t> labels;
  };
  auto memory = std::make_shared<Memory>();
  std::mt19937 generator(1);
  memory->pixels.resize(count * graph.input().elements());
  for (uint8_t& pixel : memory->pixels) pixel = static_cast<uint8_t>(generator());
  memory->labels.resize(count);
  for (int32_t& label : memory->labels) {
    label = static_cast<int32_t>(generator() % graph.classes());
  }
  ImageSet images;
  images.count = count;
  images.height = graph.input().height;
  images.width = graph.input().width;
  images.channels = graph.input().channels;
  images.pixels = memory->pixels.data();
  images.labels = memory->labels;
  images.owner = memory;
  return images;
}

absl::StatusOr<ImageSet> ReadIdxFiles(const std::string& images, const std::string& labels,
                                      int64_t count) {
  constexpr int64_t kLargest = int64_t{1} << 30;
  CONVD_ASSIGN_OR_RETURN(const std::string pixels, FileSystem::Posix().Read(images, kLargest));
  CONVD_ASSIGN_OR_RETURN(const std::string classes, FileSystem::Posix().Read(labels, kLargest));
  CONVD_ASSIGN_OR_RETURN(const ImageSet all, ReadIdx(pixels, images, classes, labels));
  return all.Slice(0, std::min(count, all.count));
}

}  // namespace convd
