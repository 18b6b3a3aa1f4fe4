#include "server/inference/json_response.h"

#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

inference::ModelInferResponse Response(const std::string& datatype, const std::string& raw) {
  inference::ModelInferResponse response;
  response.set_model_name("m");
  response.set_model_version("3");
  response.set_id("a\"b");
  auto& output = *response.add_outputs();
  output.set_name("probabilities");
  output.set_datatype(datatype);
  output.add_shape(1);
  output.add_shape(2);
  response.add_raw_output_contents(raw);
  return response;
}

// 0.1 and 0.0625 of IEEE 754 in little-endian order.
const std::string kFloats("\xCD\xCC\xCC\x3D\x00\x00\x80\x3D", 8);

TEST(JsonResponseTest, WritesNumbersWithTheFewestDigits) {
  const JsonInferResponse written = WriteJsonInferResponse(Response("FP32", kFloats), false);
  EXPECT_EQ(
      written.body,
      R"({"model_name":"m","model_version":"3","id":"a\"b","outputs":[{"name":"probabilities",)"
      R"("datatype":"FP32","shape":[1,2],"data":[0.1,0.0625]}]})");
  EXPECT_FALSE(written.json_bytes.has_value());
}

TEST(JsonResponseTest, WritesTexts) {
  const std::string raw("\x02\0\0\0\"x\x03\0\0\0y\xFFz", 13);
  inference::ModelInferResponse response = Response("BYTES", raw);
  response.clear_id();
  EXPECT_EQ(WriteJsonInferResponse(response, false).body,
            R"({"model_name":"m","model_version":"3","outputs":[{"name":"probabilities",)"
            R"("datatype":"BYTES","shape":[1,2],"data":["\"x","y)"
            "\xEF\xBF\xBD"
            R"(z"]}]})");
}

TEST(JsonResponseTest, PutsBinaryDataAfterTheJson) {
  const JsonInferResponse written = WriteJsonInferResponse(Response("FP32", kFloats), true);
  const std::string json =
      R"({"model_name":"m","model_version":"3","id":"a\"b","outputs":[{"name":"probabilities",)"
      R"("datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]})";
  EXPECT_EQ(written.json_bytes, json.size());
  EXPECT_EQ(written.body, json + kFloats);
}

TEST(JsonResponseTest, TellsOfServerModelsAndRepository) {
  inference::ServerMetadataResponse server;
  server.set_name("convd");
  server.set_version("1.2.3");
  server.add_extensions("classification");
  EXPECT_EQ(JsonOf(server),
            R"({"name":"convd","version":"1.2.3","extensions":["classification"]})");
  inference::ModelMetadataResponse model;
  model.set_name("m");
  model.add_versions("1");
  model.set_platform("p");
  auto& input = *model.add_inputs();
  input.set_name("images");
  input.set_datatype("UINT8");
  input.add_shape(-1);
  EXPECT_EQ(JsonOf(model), R"({"name":"m","versions":["1"],"platform":"p","inputs":[{"name":)"
                           R"("images","datatype":"UINT8","shape":[-1]}],"outputs":[]})");
  inference::RepositoryIndexResponse index;
  EXPECT_EQ(JsonOf(index), "[]");
  auto& entry = *index.add_models();
  entry.set_name("m");
  entry.set_version("1");
  entry.set_state("READY");
  EXPECT_EQ(JsonOf(index), R"([{"name":"m","version":"1","state":"READY","reason":""}])");
}

}  // namespace
}  // namespace convd
