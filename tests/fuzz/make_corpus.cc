// make_corpus FOLDER: writes the seeds that are no copies of the tests' samples, into the folders
// of the fuzzers that take them. For when a format changes.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "core/onnx/onnx_model.h"
#include "core/train/checkpoint.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/models/manifest.h"
#include "server/models/version_folder.h"
#include "tests/fuzz/fuzzed_networks.h"

namespace convd {
namespace {

void Write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  if (!(std::ofstream(path, std::ios::binary) << bytes)) {
    std::cerr << path << ": can't be written\n";
    std::exit(1);
  }
}

std::string CardText(const Graph& graph) {
  v1::ModelCard card;
  card.mutable_model()->set_name("m");
  card.mutable_model()->set_version(3);
  *card.mutable_network() = graph.network();
  for (const char* label : {"cat", "dog"}) card.add_labels(label);
  card.add_history()->set_epoch(1);
  return card.DebugString();
}

// After one of three epochs, and two batches of the second.
v1::TrainerState State(bool within_epoch) {
  v1::TrainerState state =
      StateOfRun(FuzzedGraph(), FuzzedRequest(), kFuzzedTrainSamples, kFuzzedValidationSamples);
  v1::EpochRecord& record = *state.add_history();
  record.set_epoch(1);
  record.set_loss(0.7);
  record.set_val_loss(0.6);
  record.set_val_accuracy(0.5);
  state.set_steps(within_epoch ? 5 : 3);
  if (within_epoch) {
    state.set_seen(6);
    state.set_loss_sum(4);
    state.set_correct(3);
  }
  state.mutable_validation()->set_samples(kFuzzedValidationSamples);
  state.mutable_best_validation()->set_samples(kFuzzedValidationSamples);
  return state;
}

// Two images of 2 x 3 x 1.
inference::ModelInferRequest InferRequest(const char* datatype) {
  inference::ModelInferRequest request;
  request.set_model_name("m");
  request.set_model_version("stable");
  request.set_id("7");
  auto& input = *request.add_inputs();
  input.set_name("images");
  input.set_datatype(datatype);
  for (const int64_t size : {2, 2, 3, 1}) input.add_shape(size);
  return request;
}

void WriteInferRequests(const std::filesystem::path& folder) {
  inference::ModelInferRequest raw = InferRequest("UINT8");
  raw.add_raw_input_contents("abcdefghijkl");
  Write(folder / "raw_uint8", raw.SerializeAsString());
  inference::ModelInferRequest numbers = InferRequest("UINT8");
  inference::ModelInferRequest floats = InferRequest("FP32");
  for (int i = 0; i < 12; ++i) {
    numbers.mutable_inputs(0)->mutable_contents()->add_uint_contents(20 * i);
    floats.mutable_inputs(0)->mutable_contents()->add_fp32_contents(20.5f * static_cast<float>(i));
  }
  (*numbers.mutable_inputs(0)->mutable_parameters())["content_type"].set_string_param("np");
  Write(folder / "uint8", numbers.SerializeAsString());
  auto& output = *floats.add_outputs();
  output.set_name("probabilities");
  (*output.mutable_parameters())["classification"].set_int64_param(3);
  Write(folder / "float_classes", floats.SerializeAsString());
}

// The target, and the body.
void WriteRestBodies(const std::filesystem::path& folder) {
  Write(folder / "uint8",
        "/3?top_k=2&probabilities=true\n"
        R"({"images": {"uint8": {"count": "2", "height": 2, "width": 3, "channels": 1, )"
        R"("data": "AAECAwQFBgcICQoL"}}, "topK": 1, "precision": "PRECISION_BF16"})");
  Write(folder / "float32",
        "/1?precision=f32&label=stable\n"
        R"({"images": {"float32": {"count": 1, "height": 2, "width": 3, "channels": 1, )"
        R"("data": "AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/"}}, "probabilities": true})");
  Write(folder / "encoded",
        "/2?invert=1&top_k=%33\n"
        R"({"images": {"encoded": {"files": ["iVBORw0KGgo=", "/9j/"]}}})");
  // A grey image of 1 x 1.
  Write(folder / "png", std::string("/1?invert=true\n") +
                            std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"
                                        ":~\x9bU\0\0\0\nIDATx\x9c\x63\x60\0\0\0\2\0\1H\xaf\xa4\x71"
                                        "\0\0\0\0IEND\xae\x42\x60\x82",
                                        67));
}

void WriteAll(const std::filesystem::path& corpus) {
  WriteInferRequests(corpus / "oip_infer");
  WriteRestBodies(corpus / "rest_body");
  const Graph& graph = FuzzedGraph();
  std::vector<float> parameters;
  for (int64_t i = 0; i < graph.parameter_count(); ++i) {
    parameters.push_back(static_cast<float>(i) / 16);
  }
  const std::string onnx = *WriteOnnx(graph, parameters, {"cat", "dog"});
  Write(corpus / "onnx" / "small.onnx", onnx);

  const std::string card = CardText(graph);
  Write(corpus / "version_folder" / "small", card + '\0' + onnx);
  Write(corpus / "manifest" / "small", Manifest{DescribeFile(onnx), DescribeFile(card)}.Text());

  const std::string run =
      StateOfRun(graph, FuzzedRequest(), kFuzzedTrainSamples, kFuzzedValidationSamples)
          .SerializeAsString();
  for (const bool within_epoch : {false, true}) {
    const v1::TrainerState state = State(within_epoch);
    std::string saved;
    const auto append = [&](std::string_view piece) {
      saved += piece;
      return absl::OkStatus();
    };
    bool written = WriteTrainerState(state, append).ok();
    // Weights, momentum, and the best epoch's weights.
    for (int i = 0; i < 3; ++i) written = WriteArray(parameters, append).ok() && written;
    if (!written || !SavedTrainer::Read(saved,
                                        StateOfRun(graph, FuzzedRequest(), kFuzzedTrainSamples,
                                                   kFuzzedValidationSamples),
                                        graph)
                         .ok()) {
      std::cerr << "the checkpoint can't be read\n";
      std::exit(1);
    }
    const std::string name = within_epoch ? "within_epoch" : "after_epoch";
    Write(corpus / "checkpoint" / (name + ".saved"), saved);
    // What checkpoint_fuzz takes for the fields after the run's.
    Write(corpus / "checkpoint" / (name + ".state"), state.SerializeAsString().substr(run.size()));
  }
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_corpus FOLDER\n";
    return 2;
  }
  convd::WriteAll(argv[1]);
}
