#include "server/inference/infer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace convd {
namespace {

using inference::ModelInferRequest;
using ::testing::StartsWith;

constexpr Shape kShape{2, 3, 1};
constexpr int kClasses = 4;
constexpr int64_t kMaxImages = 5;

absl::StatusOr<InferTask> Read(const ModelInferRequest& request) {
  return ReadInferRequest(request, kShape, kClasses, kMaxImages);
}

// `images` blank ones without contents.
ModelInferRequest Request(const std::string& datatype, int64_t images) {
  ModelInferRequest request;
  request.set_model_name("m");
  auto& input = *request.add_inputs();
  input.set_name("images");
  input.set_datatype(datatype);
  for (const int64_t size : {images, int64_t{2}, int64_t{3}, int64_t{1}}) input.add_shape(size);
  return request;
}

// Two images of the values 0 to 11, raw.
ModelInferRequest RawBytes() {
  ModelInferRequest request = Request("UINT8", 2);
  request.add_raw_input_contents(std::string("\0\1\2\3\4\5\6\7\10\11\12\13", 12));
  return request;
}

// The same as numbers.
ModelInferRequest TypedBytes() {
  ModelInferRequest request = Request("UINT8", 2);
  for (int i = 0; i < 12; ++i) request.mutable_inputs(0)->mutable_contents()->add_uint_contents(i);
  return request;
}

ModelInferRequest TypedFloats() {
  ModelInferRequest request = Request("FP32", 1);
  for (const float v : {0.0f, 1.5f, -2.25f, 255.0f, 1e30f, 0.1f}) {
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(v);
  }
  return request;
}

TEST(ReadInferRequestTest, CountsTheMemoryThatThePixelsAreHeldIn) {
  const ModelInferRequest raw = RawBytes(), typed = TypedBytes(), floats = TypedFloats();
  EXPECT_EQ(Read(raw)->held_bytes, 12);
  // Four bytes a value as it came, one as a pixel.
  EXPECT_GE(Read(typed)->held_bytes, 12 * 5);
  EXPECT_GE(Read(floats)->held_bytes, 6 * 4);
}

TEST(ReadInferRequestTest, LeavesRawBytesWhereTheyAre) {
  const ModelInferRequest request = RawBytes();
  const absl::StatusOr<InferTask> task = Read(request);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->type, ElementType::kUint8);
  EXPECT_EQ(task->count, 2);
  EXPECT_EQ(task->bytes.data(), request.raw_input_contents(0).data());
  EXPECT_EQ(task->bytes.size(), 12u);
  EXPECT_TRUE(task->raw);
  EXPECT_EQ(task->classification, 0);
}

TEST(ReadInferRequestTest, NarrowsTypedBytes) {
  const ModelInferRequest request = TypedBytes();
  const absl::StatusOr<InferTask> task = Read(request);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->count, 2);
  EXPECT_EQ(task->bytes, RawBytes().raw_input_contents(0));
  EXPECT_FALSE(task->raw);
}

TEST(ReadInferRequestTest, TakesFloatsRawAndTyped) {
  // 1.5 and -2.25 of IEEE 754 in little-endian order.
  const std::string expected("\x00\x00\xC0\x3F\x00\x00\x10\xC0", 8);
  const ModelInferRequest typed = TypedFloats();
  absl::StatusOr<InferTask> task = Read(typed);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->type, ElementType::kFloat32);
  EXPECT_EQ(task->bytes.size(), 24u);
  EXPECT_EQ(task->bytes.substr(4, 8), expected);

  ModelInferRequest raw = Request("FP32", 1);
  raw.add_raw_input_contents(std::string(task->bytes));
  task = Read(raw);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->type, ElementType::kFloat32);
  EXPECT_EQ(task->bytes.substr(4, 8), expected);
}

TEST(ReadInferRequestTest, TakesWhatMlServersClientsSayOfATensor) {
  ModelInferRequest request = RawBytes();
  auto& type = (*request.mutable_inputs(0)->mutable_parameters())["content_type"];
  type.set_string_param("np");
  EXPECT_TRUE(Read(request).ok());
  type.set_string_param("base64");
  EXPECT_EQ(Read(request).status().message(),
            "inputs[0].parameters[\"content_type\"]: got \"base64\"; want \"np\" or none");
}

TEST(ReadInferRequestTest, AClassificationIsOfAsManyClassesAsThereAre) {
  for (const auto& [wanted, given] : {std::pair<int64_t, int>{1, 1}, {4, 4}, {1 << 30, 4}}) {
    ModelInferRequest request = RawBytes();
    auto& output = *request.add_outputs();
    output.set_name("probabilities");
    (*output.mutable_parameters())["classification"].set_int64_param(wanted);
    const absl::StatusOr<InferTask> task = Read(request);
    ASSERT_TRUE(task.ok()) << task.status();
    EXPECT_EQ(task->classification, given);
  }
}

struct Refusal {
  std::function<void(ModelInferRequest&)> change;
  std::string message;
};

void ExpectRefusals(const std::function<ModelInferRequest()>& request,
                    const std::vector<Refusal>& refusals) {
  ASSERT_TRUE(Read(request()).ok()) << Read(request()).status();
  for (const Refusal& refusal : refusals) {
    ModelInferRequest changed = request();
    refusal.change(changed);
    const absl::Status status = Read(changed).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.message;
    EXPECT_EQ(status.message(), refusal.message);
  }
}

std::function<void(ModelInferRequest&)> Shaped(std::vector<int64_t> shape) {
  return [shape](ModelInferRequest& r) {
    r.mutable_inputs(0)->mutable_shape()->Assign(shape.begin(), shape.end());
  };
}

TEST(ReadInferRequestTest, RefusesOtherTensors) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const std::string want = "; this model takes [N, 2, 3, 1] (images, height, width, channels)";
  const std::string count = " images; want 1 to 5 in one request";
  ExpectRefusals(RawBytes, {{[](auto& r) { r.clear_inputs(); },
                             "inputs: got 0 tensors; this model takes one, \"images\""},
                            {[](auto& r) { *r.add_inputs() = r.inputs(0); },
                             "inputs: got 2 tensors; this model takes one, \"images\""},
                            {[](auto& r) { r.mutable_inputs(0)->set_name("input\n1"); },
                             "inputs[0].name: got \"input\\n1\"; this model takes \"images\""},
                            {[](auto& r) { r.mutable_inputs(0)->set_name(std::string(100, 'x')); },
                             "inputs[0].name: got \"" + std::string(80, 'x') +
                                 "\"... (100 bytes); this model takes \"images\""},
                            {[](auto& r) { r.mutable_inputs(0)->set_datatype("FP16"); },
                             "inputs[0].datatype: got \"FP16\"; this model takes UINT8 or FP32"},
                            {[](auto& r) { r.mutable_inputs(0)->set_datatype("BYTES"); },
                             "inputs[0].datatype: got \"BYTES\"; this model takes UINT8 or FP32"},
                            {[](auto& r) { r.mutable_inputs(0)->clear_datatype(); },
                             "inputs[0].datatype: got \"\"; this model takes UINT8 or FP32"},
                            {Shaped({}), "inputs[0].shape: got []" + want},
                            {Shaped({2, 2, 3}), "inputs[0].shape: got [2, 2, 3]" + want},
                            {Shaped({2, 3, 2, 1}), "inputs[0].shape: got [2, 3, 2, 1]" + want},
                            {Shaped({2, 2, -3, 1}), "inputs[0].shape: got [2, 2, -3, 1]" + want},
                            {Shaped({1, 2, 3, 4, 5, 6, 7, 8, 9}),
                             "inputs[0].shape: got [1, 2, 3, 4, 5, 6, 7, 8, ... (9 sizes)]" + want},
                            {Shaped({0, 2, 3, 1}), "inputs[0].shape[0]: got 0" + count},
                            {Shaped({-1, 2, 3, 1}), "inputs[0].shape[0]: got -1" + count},
                            {Shaped({6, 2, 3, 1}), "inputs[0].shape[0]: got 6" + count},
                            {Shaped({kHuge, 2, 3, 1}),
                             "inputs[0].shape[0]: got 9223372036854775807" + count}});
}

TEST(ReadInferRequestTest, RefusesParametersThatItDoesNotKnow) {
  ExpectRefusals(
      RawBytes,
      {{[](auto& r) {
          (*r.mutable_parameters())["timeout"].set_int64_param(1);
          (*r.mutable_parameters())["priority"].set_int64_param(1);
        },
        "parameters: got \"priority\", which this server doesn't know; want none"},
       {[](auto& r) { (*r.mutable_parameters())[""].set_bool_param(true); },
        "parameters: got \"\", which this server doesn't know; want none"},
       {[](auto& r) {
          (*r.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param(
              "x");
        },
        "inputs[0].parameters: got \"shared_memory_region\", which this server doesn't know; want "
        "\"content_type\" or none"}});
}

TEST(ReadInferRequestTest, RefusesRawContentsThatDoNotFit) {
  ExpectRefusals(RawBytes,
                 {{[](auto& r) { r.mutable_raw_input_contents(0)->pop_back(); },
                   "raw_input_contents[0]: got 11 bytes; UINT8 [2, 2, 3, 1] takes 12"},
                  {[](auto& r) { r.mutable_inputs(0)->set_datatype("FP32"); },
                   "raw_input_contents[0]: got 12 bytes; FP32 [2, 2, 3, 1] takes 48"},
                  {[](auto& r) { r.add_raw_input_contents(""); },
                   "raw_input_contents: got 2 tensors; want one for each of inputs, 1"},
                  {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_uint_contents(1); },
                   "inputs[0].contents: got them beside raw_input_contents; want one of the two"},
                  {[](auto& r) { r.mutable_inputs(0)->mutable_contents(); },
                   "inputs[0].contents: got them beside raw_input_contents; want one of the two"}});
}

TEST(ReadInferRequestTest, RefusesTypedContentsThatDoNotFit) {
  ExpectRefusals(
      TypedBytes,
      {{[](auto& r) { r.mutable_inputs(0)->clear_contents(); },
        "inputs[0].contents.uint_contents: got 0 values; UINT8 [2, 2, 3, 1] takes 12"},
       {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_uint_contents(1); },
        "inputs[0].contents.uint_contents: got 13 values; UINT8 [2, 2, 3, 1] takes 12"},
       {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->set_uint_contents(7, 256); },
        "inputs[0].contents.uint_contents[7]: got 256; a UINT8 is 0 to 255"},
       {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_int_contents(1); },
        "inputs[0].contents.int_contents: got 1 values; UINT8 travels in uint_contents"},
       {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_bytes_contents("x"); },
        "inputs[0].contents.bytes_contents: got 1 values; UINT8 travels in uint_contents"}});
  ExpectRefusals(
      TypedFloats,
      {{[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(0); },
        "inputs[0].contents.fp32_contents: got 7 values; FP32 [1, 2, 3, 1] takes 6"},
       {[](auto& r) { r.mutable_inputs(0)->mutable_contents()->add_fp64_contents(0); },
        "inputs[0].contents.fp64_contents: got 1 values; FP32 travels in fp32_contents"}});
}

TEST(ReadInferRequestTest, RefusesOtherOutputs) {
  const auto with_output = [] {
    ModelInferRequest request = RawBytes();
    request.add_outputs()->set_name("probabilities");
    return request;
  };
  const auto classification = [](auto set) {
    return [set](ModelInferRequest& r) {
      set((*r.mutable_outputs(0)->mutable_parameters())["classification"]);
    };
  };
  const std::string field = "outputs[0].parameters[\"classification\"]: ";
  ExpectRefusals(
      with_output,
      {{[](auto& r) { r.add_outputs()->set_name("logits"); },
        "outputs[1].name: got \"logits\"; this model has \"probabilities\""},
       {[](auto& r) { *r.add_outputs() = r.outputs(0); },
        "outputs: got \"probabilities\" 2 times; want it once"},
       {[](auto& r) {
          (*r.mutable_outputs(0)->mutable_parameters())["binary_data"].set_bool_param(true);
        },
        "outputs[0].parameters: got \"binary_data\", which this server doesn't know; want "
        "\"classification\" or none"},
       {classification([](auto& p) { p.set_string_param("2"); }),
        field + "want int64_param, a number of classes"},
       {classification([](auto& p) { p.set_int64_param(0); }),
        field + "got 0; want a number of classes from 1 on"},
       {classification([](auto& p) { p.set_int64_param(-3); }),
        field + "got -3; want a number of classes from 1 on"}});
}

TEST(ReadNamedVersionTest, IsANumberALabelOrNothing) {
  const auto read = [](const std::string& version) {
    return ReadNamedVersion("name", "digits", "version", version);
  };
  EXPECT_EQ(read("")->version(), 0);
  EXPECT_EQ(read("")->label(), "");
  EXPECT_EQ(read("")->name(), "digits");
  EXPECT_EQ(read("12")->version(), 12);
  EXPECT_EQ(read("stable")->label(), "stable");
  EXPECT_EQ(read("2nd")->label(), "2nd");
  for (const std::string wrong : {"0", "007", "9223372036854775808"}) {
    EXPECT_THAT(std::string(read(wrong).status().message()),
                StartsWith("version: got \"" + wrong + "\"; want a version's number from 1 on"));
  }
  for (const std::string wrong : {"-1", " 1", "a/b"}) {
    EXPECT_EQ(read(wrong).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(read(wrong).status().message()), StartsWith("version: got \"" + wrong));
  }
  EXPECT_THAT(std::string(ReadNamedVersion("model_name", "../x", "version", "").status().message()),
              StartsWith("model_name: got \"../x\""));
}

}  // namespace
}  // namespace convd
