#include "client/convctl/oip_request.h"

#include <gmock/gmock.h>

#include <cstring>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

inference::ModelMetadataResponse Metadata(const std::string& datatype,
                                          const std::vector<int64_t>& shape) {
  inference::ModelMetadataResponse metadata;
  auto& input = *metadata.add_inputs();
  input.set_name("images");
  input.set_datatype(datatype);
  input.mutable_shape()->Add(shape.begin(), shape.end());
  return metadata;
}

v1::Images TwoByThree(const std::string& pixels) {
  v1::Images images;
  v1::RawImages& raw = *images.mutable_uint8();
  raw.set_count(static_cast<int64_t>(pixels.size()) / 6);
  raw.set_height(2);
  raw.set_width(3);
  raw.set_channels(1);
  raw.set_data(pixels);
  return images;
}

v1::ModelVersion Model(int64_t version, const std::string& label = "") {
  v1::ModelVersion model;
  model.set_name("digits");
  if (version > 0) model.set_version(version);
  if (!label.empty()) model.set_label(label);
  return model;
}

TEST(OipRequestTest, BytesAreSentRawInTheShapeThatTheModelHas) {
  const auto input = OipInputOf(Metadata("UINT8", {-1, 6}));
  ASSERT_TRUE(input.ok()) << input.status();
  const auto request = OipRequest(Model(3), *input, TwoByThree("abcdefghijkl"));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->model_name(), "digits");
  EXPECT_EQ(request->model_version(), "3");
  EXPECT_EQ(request->inputs(0).name(), "images");
  EXPECT_EQ(request->inputs(0).datatype(), "UINT8");
  EXPECT_THAT(request->inputs(0).shape(), ElementsAre(2, 6));
  EXPECT_THAT(request->raw_input_contents(), ElementsAre("abcdefghijkl"));
}

TEST(OipRequestTest, AModelOfFloatsGetsThePixelsValues) {
  const auto input = OipInputOf(Metadata("FP32", {-1, 1, 2, 3}));
  ASSERT_TRUE(input.ok()) << input.status();
  const auto request =
      OipRequest(Model(0), *input, TwoByThree(std::string("\0\1\x7f\x80\xfe\xff", 6)));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->model_version(), "");
  EXPECT_THAT(request->inputs(0).shape(), ElementsAre(1, 1, 2, 3));
  float values[6];
  ASSERT_EQ(request->raw_input_contents(0).size(), sizeof values);
  std::memcpy(values, request->raw_input_contents(0).data(), sizeof values);
  EXPECT_THAT(values, ElementsAre(0, 1, 127, 128, 254, 255));
}

TEST(OipRequestTest, ALabelIsAVersion) { EXPECT_EQ(OipVersion(Model(0, "stable")), "stable"); }

TEST(OipRequestTest, WhatTheModelDoesNotTakeIsRefused) {
  const auto input = OipInputOf(Metadata("UINT8", {-1, 28, 28, 1}));
  ASSERT_TRUE(input.ok());
  const absl::Status wrong = OipRequest(Model(0), *input, TwoByThree("abcdef")).status();
  EXPECT_EQ(ExitCodeFor(wrong), kExitUsage);
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("2x3x1: the model takes [N, 28, 28, 1]"));
  v1::Images png;
  png.mutable_encoded()->add_files("png");
  EXPECT_EQ(ExitCodeFor(OipRequest(Model(0), *input, png).status()), kExitUsage);
}

TEST(OipRequestTest, ModelsOfOtherInputsAreNamed) {
  for (const auto& [metadata, words] :
       std::vector<std::pair<inference::ModelMetadataResponse, std::string>>{
           {Metadata("INT64", {-1, 6}), "INT64"},
           {Metadata("UINT8", {-1, -1, -1, 3}), "[-1, -1, -1, 3]"},
           {Metadata("UINT8", {-1, int64_t{1} << 40, int64_t{1} << 40}), "1099511627776"},
           {Metadata("UINT8", {6}), "1 dimensions"},
           {Metadata("UINT8", {}), "0 dimensions"},
           {{}, "0 inputs"}}) {
    const absl::Status status = OipInputOf(metadata).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
}

}  // namespace
}  // namespace convd
