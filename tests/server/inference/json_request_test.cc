#include "server/inference/json_request.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "server/inference/infer_request.h"

namespace convd {
namespace {

constexpr Shape kShape{1, 2, 1};

// What `data` comes out as, for "[IN]" in `json`, and as a request that a model takes.
std::string Pixels(const std::string& datatype, const std::string& data, int images) {
  const std::string json = absl::StrReplaceAll(
      R"({"inputs": [{"data": DATA, "name": "images", "shape": [N, 1, 2, 1], "datatype": "TYPE"}]})",
      {{"DATA", data}, {"N", std::to_string(images)}, {"TYPE", datatype}});
  const absl::StatusOr<JsonInferRequest> read = ReadJsonInferRequest(json, std::nullopt);
  if (!read.ok()) return std::string(read.status().message());
  const auto task = ReadInferRequest(read->request, kShape, 4, 10);
  if (!task.ok()) return std::string(task.status().message());
  EXPECT_TRUE(task->raw);
  return std::string(task->bytes);
}

TEST(JsonRequestTest, ReadsNumbersFlatOrNested) {
  const std::string bytes("\0\xFF\x07\x2A", 4);
  EXPECT_EQ(Pixels("UINT8", "[0, 255, 7, 42]", 2), bytes);
  EXPECT_EQ(Pixels("UINT8", "[[[[0], [255]]], [[[7], [42]]]]", 2), bytes);
  // 1.5 and -2.25 of IEEE 754 in little-endian order.
  EXPECT_EQ(Pixels("FP32", "[1.5, -2.25]", 1), std::string("\x00\x00\xC0\x3F\x00\x00\x10\xC0", 8));
  EXPECT_EQ(Pixels("FP32", "[3, -0.0]", 1), std::string("\x00\x00\x40\x40\x00\x00\x00\x80", 8));
}

TEST(JsonRequestTest, RefusesNumbersThatDoNotFit) {
  const std::string whole = ": want a whole number of 0 to 255, as of UINT8";
  EXPECT_EQ(Pixels("UINT8", "[0, 256]", 1), "inputs[0].data[1]" + whole);
  EXPECT_EQ(Pixels("UINT8", "[-1, 0]", 1), "inputs[0].data[0]" + whole);
  EXPECT_EQ(Pixels("UINT8", "[0, 1.0]", 1), "inputs[0].data[1]" + whole);
  EXPECT_EQ(Pixels("UINT8", "[1, 2, 3]", 1),
            "raw_input_contents[0]: got 3 bytes; UINT8 [1, 1, 2, 1] takes 2");
  EXPECT_EQ(Pixels("FP32", "[0, 1e39]", 1), "inputs[0].data: got 1e+39; no FP32 is as large");
  for (const char* data : {"[true]", "[null]", "[\"1\"]", "[{}]", "1", "\"abc\"", "{}"}) {
    EXPECT_EQ(Pixels("UINT8", data, 1), "inputs[0].data: want an array of numbers") << data;
  }
  EXPECT_EQ(Pixels("BYTES", "[1, 2]", 1),
            "inputs[0].datatype: got \"BYTES\"; this model takes UINT8 or FP32");
}

TEST(JsonRequestTest, ReadsAllElse) {
  const auto read = ReadJsonInferRequest(
      R"({"id": "7", "model_name": "m", "model_version": "2",
          "parameters": {"a": true, "b": -3, "c": 1.5, "d": "x", "e": 18446744073709551615},
          "inputs": [{"name": "images", "shape": [1], "datatype": "UINT8", "data": [],
                      "parameters": {"content_type": "np"}}],
          "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]})",
      std::nullopt);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->binary_output);
  const inference::ModelInferRequest& request = read->request;
  EXPECT_EQ(request.id(), "7");
  EXPECT_EQ(request.model_name(), "m");
  EXPECT_EQ(request.model_version(), "2");
  EXPECT_TRUE(request.parameters().at("a").bool_param());
  EXPECT_EQ(request.parameters().at("b").int64_param(), -3);
  EXPECT_EQ(request.parameters().at("c").double_param(), 1.5);
  EXPECT_EQ(request.parameters().at("d").string_param(), "x");
  EXPECT_EQ(request.parameters().at("e").uint64_param(), UINT64_MAX);
  EXPECT_EQ(request.inputs(0).parameters().at("content_type").string_param(), "np");
  EXPECT_EQ(request.outputs(0).name(), "probabilities");
  EXPECT_EQ(request.outputs(0).parameters().at("classification").int64_param(), 2);
}

// Triton's example (docs/protocol/extension_binary_data.md) with our tensor.
TEST(JsonRequestTest, TakesBinaryDataAfterTheJson) {
  const std::string json = R"({"model_name": "m", "inputs": [{"name": "images", "datatype": "UINT8",
      "shape": [2, 1, 2, 1], "parameters": {"binary_data_size": 4}}],
      "outputs": [{"name": "probabilities", "parameters": {"binary_data": true}}]})";
  const auto read = ReadJsonInferRequest(json + std::string("\0{]\xFF", 4), json.size());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->binary_output);
  EXPECT_EQ(read->request.raw_input_contents(0), std::string("\0{]\xFF", 4));
  EXPECT_TRUE(ReadInferRequest(read->request, kShape, 4, 10).ok());
  for (const auto& [length, says] : std::vector<std::pair<size_t, std::string>>{
           {3, "inputs[0].parameters[\"binary_data_size\"]: got 4; 3 bytes are left of the body"},
           {5, "body: got 1 bytes after the last input's"}}) {
    EXPECT_EQ(ReadJsonInferRequest(json + std::string(length, 'x'), json.size()).status().message(),
              says);
  }
}

TEST(JsonRequestTest, AnOutputsWordOnBinaryGoesBeforeTheRequests) {
  for (const auto& [all, one, binary] :
       std::vector<std::tuple<std::string, std::string, bool>>{{"", "", false},
                                                               {"true", "", true},
                                                               {"false", "", false},
                                                               {"true", "false", false},
                                                               {"false", "true", true}}) {
    std::string json = R"({"inputs": [], "parameters": {)";
    if (!all.empty()) json += "\"binary_data_output\": " + all;
    json += R"(}, "outputs": [{"name": "probabilities", "parameters": {)";
    if (!one.empty()) json += "\"binary_data\": " + one;
    const auto read = ReadJsonInferRequest(json + "}}]}", std::nullopt);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->binary_output, binary) << all << " " << one;
    EXPECT_EQ(read->request.parameters_size(), 0);
    EXPECT_EQ(read->request.outputs(0).parameters_size(), 0);
  }
}

TEST(JsonRequestTest, RefusesWhatIsNoRequest) {
  const auto refused = [](const std::string& body, std::optional<size_t> json_bytes) {
    const absl::Status status = ReadJsonInferRequest(body, json_bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << body;
    return std::string(status.message());
  };
  const auto refused_input = [&](const std::string& input) {
    return refused("{\"inputs\": [" + input + "]}", std::nullopt);
  };
  const std::string too_deep = "body: got more than 8 objects and arrays in another";
  const std::string many = "body: got more than 4096 values beside the inputs'";
  std::string zeros = "0";
  for (int i = 0; i < 5000; ++i) zeros += ",0";

  EXPECT_EQ(refused("", std::nullopt), "body: not JSON from byte 1 on");
  EXPECT_EQ(refused("{\"id\": \"\xFF\"}", std::nullopt), "body: not JSON from byte 9 on");
  EXPECT_EQ(refused("{\"inputs\": []} x", std::nullopt), "body: not JSON from byte 16 on");
  EXPECT_EQ(refused("[]", std::nullopt), "body: want an object");
  EXPECT_EQ(refused("{}", std::nullopt), "inputs: want an array");
  EXPECT_EQ(refused("{\"id\": 1}", std::nullopt), "id: want a string");
  EXPECT_EQ(refused("{\"id\": \"1\", \"id\": \"2\"}", std::nullopt), "\"id\": got it twice");
  EXPECT_EQ(refused("{\"output\": []}", std::nullopt),
            "body: got \"output\", which this server doesn't know");
  EXPECT_EQ(refused("{\"parameters\": {\"a\": []}, \"inputs\": []}", std::nullopt),
            "parameters[\"a\"]: want a boolean, a number or a string");
  EXPECT_EQ(refused("{\"parameters\": {\"binary_data_output\": 1}, \"inputs\": []}", std::nullopt),
            "parameters[\"binary_data_output\"]: want true or false");
  EXPECT_EQ(refused("{\"parameters\": " + std::string(9, '['), std::nullopt), too_deep);
  EXPECT_EQ(refused("{\"parameters\": [" + zeros, std::nullopt), many);
  EXPECT_EQ(refused("{}", 3), "Inference-Header-Content-Length: got 3; the body has 2 bytes");
  EXPECT_EQ(
      refused("ab", 0),
      "Inference-Header-Content-Length: want the size of a JSON header, which has to be there");

  EXPECT_EQ(refused_input("1"), "inputs[0]: want an object");
  EXPECT_EQ(refused_input("{\"data\": [1]}"), "inputs[0].shape: want an array");
  EXPECT_EQ(refused_input("{\"shape\": [1.5]}"), "inputs[0].shape: want whole numbers");
  EXPECT_EQ(refused_input("{\"shape\": [9223372036854775808]}"),
            "inputs[0].shape: want numbers of 64 bits");
  EXPECT_EQ(refused_input("{\"shape\": [1]}"), "inputs[0].data: want the pixels");
  EXPECT_EQ(refused_input("{\"shape\": [1], \"data\": [1], \"data\": [1]}"),
            "\"data\": got it twice");
  EXPECT_EQ(refused_input("{\"data\": " + std::string(9, '[')), too_deep);
  const std::string size = "inputs[0].parameters[\"binary_data_size\"]: ";
  EXPECT_EQ(refused_input("{\"shape\": [], \"parameters\": {\"binary_data_size\": -1}}"),
            size + "want a number of bytes");
  EXPECT_EQ(
      refused_input("{\"shape\": [], \"data\": [], \"parameters\": {\"binary_data_size\": 0}}"),
      size + "got it beside data; want one of the two");
}

}  // namespace
}  // namespace convd
