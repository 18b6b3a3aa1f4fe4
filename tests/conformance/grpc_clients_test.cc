// Clients that others make of the protocol files, by gRPC for Node.js and for Python, get the
// answers of a real convd that our own client gets. The scripts say what is asked.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

constexpr int kImages = 20;
const std::string kFolder = CONVD_SOURCE_DIR "/tests/conformance";
const std::string kProtocols = CONVD_SOURCE_DIR "/proto";

class GrpcClientsTest : public FashionServerTest {
 protected:
  // Skips the test, or fails it, where what the client takes isn't installed.
  static bool Installed(bool there, const std::string& what) {
    if (there) return true;
    EXPECT_EQ(getenv("CONVD_REQUIRE_CONFORMANCE"), nullptr) << what;
    return false;
  }
  static std::string Run(const std::vector<std::string>& arguments) {
    const Finished finished = RunProgram(arguments);
    EXPECT_EQ(finished.code, 0) << arguments[0] << ":\n" << finished.out << finished.err;
    return finished.out;
  }

  // Trains "digits" and runs the client with what our own client is told.
  void ExpectSameAnswers(std::vector<std::string> client) {
    TrainToTheEnd(SmallTraining("digits", 1));
    v1::PredictRequest request;
    request.mutable_model()->set_name("digits");
    *request.mutable_images() = data_.test.Raw(0, kImages);
    request.set_probabilities(true);
    const auto response = client_->Predict(request);
    ASSERT_STATUS_OK(response);
    std::string probabilities;
    for (const v1::Prediction& prediction : response->predictions()) {
      probabilities.append(reinterpret_cast<const char*>(prediction.probabilities().data()),
                           prediction.probabilities_size() * sizeof(float));
    }
    const auto dataset = client_->GetDataset("fashion");
    ASSERT_STATUS_OK(dataset);
    std::string labels;
    for (const std::string& label : dataset->labels()) labels += label + "\n";
    WriteFile(folder_ / "pixels", request.images().uint8().data());
    WriteFile(folder_ / "labels", labels);
    WriteFile(folder_ / "probabilities", probabilities);
    for (const char* name : {"pixels", "labels", "probabilities"}) {
      client.push_back(folder_ / name);
    }
    EXPECT_NE(Run(client).find(std::to_string(kImages) + " images"), std::string::npos);
  }
};

TEST_F(GrpcClientsTest, OfNodeJs) {
  const std::string missing =
      "tests/conformance/node_modules lacks gRPC: run npm ci --ignore-scripts there";
  if (!Installed(std::filesystem::exists(kFolder + "/node_modules/@grpc/grpc-js"), missing)) {
    GTEST_SKIP() << missing;
  }
  ExpectSameAnswers(
      {"/usr/bin/env", "node", kFolder + "/grpc_client.mjs", server_->address(), kProtocols});
}

TEST_F(GrpcClientsTest, OfPython) {
  const std::string missing = "Debian's python3-grpcio or python3-protobuf is missing";
  const bool there =
      RunProgram({"/usr/bin/python3", "-c", "import grpc, google.protobuf"}).code == 0;
  if (!Installed(there, missing)) GTEST_SKIP() << missing;
  const std::string stubs = folder_ / "stubs";
  std::filesystem::create_directories(stubs);
  Run({"/usr/bin/env", "protoc", "-I", kProtocols, "--python_out=" + stubs,
       "--grpc_python_out=" + stubs, "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
       "inference/open_inference_grpc.proto", "convd/v1/predictor.proto", "convd/v1/images.proto",
       "convd/v1/model.proto", "convd/v1/network.proto"});
  ExpectSameAnswers({"/usr/bin/python3", kFolder + "/grpc_client.py", stubs, server_->address()});
}

}  // namespace
}  // namespace convd
