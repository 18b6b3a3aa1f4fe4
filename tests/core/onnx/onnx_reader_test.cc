#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "core/nn/network_text.h"
#include "core/onnx/onnx_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"
#include "tests/core/nn/random_parameters.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OnnxReaderTest : public ::testing::Test {
 protected:
  OnnxReaderTest() {
    absl::StatusOr<v1::Network> network = ParseNetwork(R"pb(
                                                         input { height: 4 width: 4 channels: 1 }
                                                         layers { conv { filters: 2 kernel: 3 } }
                                                         layers { flatten {} }
                                                         layers { dense { units: 2 } })pb",
                                                       "test");
    absl::StatusOr<Graph> graph = Graph::Create(*network);
    graph_ = std::make_unique<Graph>(*std::move(graph));
    parameters_ = RandomParameters(*graph_, 1);
    absl::StatusOr<std::string> bytes = WriteOnnx(*graph_, parameters_, {"yes", "no"});
    bytes_ = *std::move(bytes);
    EXPECT_TRUE(model_.ParseFromString(bytes_));
  }

  onnx::TensorProto& Initializer(const std::string& name) {
    for (onnx::TensorProto& t : *model_.mutable_graph()->mutable_initializer()) {
      if (t.name() == name) return t;
    }
    ADD_FAILURE() << name;
    return *model_.mutable_graph()->mutable_initializer(0);
  }

  // What reading the changed model says.
  std::string Refusal() {
    absl::StatusOr<std::vector<float>> read =
        ReadOnnxParameters(model_.SerializeAsString(), *graph_);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  }

  std::unique_ptr<Graph> graph_;
  std::vector<float> parameters_;
  std::string bytes_;
  onnx::ModelProto model_;
};

TEST_F(OnnxReaderTest, AMissingInitializer) {
  Initializer("conv2d/bias").set_name("conv2d/biaz");
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("\"conv2d/biaz\""), HasSubstr("no parameter of this name")));
  auto& all = *model_.mutable_graph()->mutable_initializer();
  for (int i = 0; i < all.size(); ++i) {
    if (all[i].name() == "conv2d/biaz") all.DeleteSubrange(i, 1);
  }
  EXPECT_THAT(Refusal(), HasSubstr("\"conv2d/bias\": is missing"));
}

TEST_F(OnnxReaderTest, AnExtraInitializer) {
  *model_.mutable_graph()->add_initializer() = Initializer("dense/bias");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"dense/bias\""), HasSubstr("is there twice")));
  model_.mutable_graph()->mutable_initializer()->rbegin()->set_name(std::string(5000, '\xff'));
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\\377..."), HasSubstr("no parameter of this name")));
  EXPECT_LT(Refusal().size(), 600u);
}

TEST_F(OnnxReaderTest, AnotherShape) {
  onnx::TensorProto& kernel = Initializer("dense/kernel");
  kernel.set_dims(0, 2);
  kernel.set_dims(1, 8);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"dense/kernel\""), HasSubstr("got shape {2, 8}"),
                               HasSubstr("want {8, 2}")));
  kernel.set_dims(0, -8);
  EXPECT_THAT(Refusal(), HasSubstr("got shape {-8, 8}"));
  for (int i = 0; i < 5000; ++i) kernel.add_dims(1);
  EXPECT_LT(Refusal().size(), 600u);
}

TEST_F(OnnxReaderTest, AnotherType) {
  Initializer("dense/kernel").set_data_type(onnx::TensorProto::DOUBLE);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"dense/kernel\""), HasSubstr("got data type 11"),
                               HasSubstr("want FLOAT (1)")));
}

TEST_F(OnnxReaderTest, TooFewOrTooManyValues) {
  std::string& raw = *Initializer("conv2d/kernel").mutable_raw_data();
  raw.resize(raw.size() - 1);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"conv2d/kernel\""), HasSubstr("got 71 bytes"),
                               HasSubstr("want 72")));
  raw.resize(76);
  EXPECT_THAT(Refusal(), HasSubstr("got 76 bytes"));
  raw.clear();
  EXPECT_THAT(Refusal(), HasSubstr("got 0 bytes"));
}

TEST_F(OnnxReaderTest, ValuesElsewhereThanInRawData) {
  onnx::TensorProto& bias = Initializer("conv2d/bias");
  bias.clear_raw_data();
  bias.add_float_data(1);
  bias.add_float_data(2);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"conv2d/bias\""), HasSubstr("field number 4")));
  bias.clear_float_data();
  bias.set_data_location(onnx::TensorProto::EXTERNAL);
  auto& external = *bias.add_external_data();
  external.set_key("location");
  external.set_value("/etc/passwd");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"conv2d/bias\""), HasSubstr("inside this file")));
}

TEST_F(OnnxReaderTest, NumbersThatAreNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Initializer("conv2d/kernel")
      .mutable_raw_data()
      ->replace(20, 4, reinterpret_cast<const char*>(&nan), 4);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("\"conv2d/kernel\""), HasSubstr("element 5: got nan")));
}

TEST_F(OnnxReaderTest, AnotherScale) {
  const float scale = 1;
  Initializer("preprocessing/scale").set_raw_data(&scale, sizeof scale);
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("\"preprocessing/scale\""), HasSubstr("got 1; want the "
                                                                    "network's 0.0039")));
}

TEST_F(OnnxReaderTest, ASparseInitializer) {
  model_.mutable_graph()->add_sparse_initializer()->add_dims(1);
  EXPECT_THAT(Refusal(), HasSubstr("sparse initializer"));
}

TEST_F(OnnxReaderTest, NoGraphOrTwo) {
  absl::StatusOr<std::vector<float>> read = ReadOnnxParameters("", *graph_);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("is missing"));
  read = ReadOnnxParameters(bytes_ + bytes_, *graph_);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("got two"));
}

TEST_F(OnnxReaderTest, AnotherOpset) {
  onnx::OperatorSetIdProto& opset = *model_.mutable_opset_import(0);
  for (int64_t version : {int64_t{-1}, int64_t{0}, int64_t{12}, int64_t{18}}) {
    opset.set_version(version);
    EXPECT_THAT(Refusal(), AllOf(HasSubstr("opset_import: got version "), HasSubstr("13 to 17")));
  }
  opset.set_version(17);
  opset.set_domain("ai.onnx");  // ONNX's own by its long name
  model_.add_opset_import()->set_domain("ai.onnx.ml");
  absl::StatusOr<std::vector<float>> read = ReadOnnxParameters(model_.SerializeAsString(), *graph_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, parameters_);
  model_.add_opset_import()->set_version(13);
  EXPECT_THAT(Refusal(), HasSubstr("opset_import: got ONNX's own twice"));
  model_.clear_opset_import();
  EXPECT_THAT(Refusal(), HasSubstr("opset_import: is missing; want one of 13 to 17"));
}

TEST_F(OnnxReaderTest, AFileLargerThanItsNetwork) {
  model_.set_doc_string(std::string(1 << 20, 'x'));
  EXPECT_THAT(Refusal(), HasSubstr("bytes; want at most"));
}

TEST_F(OnnxReaderTest, ADocumentedTensorIsStillTheTensor) {
  Initializer("conv2d/bias").set_doc_string("by hand");
  absl::StatusOr<std::vector<float>> read = ReadOnnxParameters(model_.SerializeAsString(), *graph_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, parameters_);
}

TEST_F(OnnxReaderTest, AnotherNetworksFile) {
  absl::StatusOr<v1::Network> network = ParseNetwork(R"pb(
                                                       input { height: 4 width: 4 channels: 1 }
                                                       layers { flatten {} }
                                                       layers { dense { units: 2 } })pb",
                                                     "test");
  absl::StatusOr<Graph> other = Graph::Create(*network);
  ASSERT_TRUE(other.ok());
  absl::StatusOr<std::vector<float>> read = ReadOnnxParameters(bytes_, *other);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
}

// Every prefix is refused: the graph comes last but for metadata, so the only ones that still hold
// all parameters are cut in the labels.
TEST_F(OnnxReaderTest, EveryTruncationIsRefusedOrHarmless) {
  int harmless = 0;
  for (size_t n = 0; n < bytes_.size(); ++n) {
    // A copy of its own length, so that AddressSanitizer sees a read past the end.
    const std::string cut(bytes_.data(), n);
    absl::StatusOr<std::vector<float>> read = ReadOnnxParameters(cut, *graph_);
    if (read.ok()) {
      ++harmless;
      EXPECT_EQ(*read, parameters_) << n;
    } else {
      EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
  EXPECT_LE(harmless, 3);  // at the seams between the model's last fields
}

TEST_F(OnnxReaderTest, EveryFlippedBitIsRefusedOrGivesFiniteParameters) {
  int refused = 0;
  for (size_t bit = 0; bit < bytes_.size() * 8; ++bit) {
    std::string flipped = bytes_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    absl::StatusOr<std::vector<float>> read = ReadOnnxParameters(flipped, *graph_);
    if (!read.ok()) {
      EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
      ++refused;
      continue;
    }
    ASSERT_EQ(read->size(), parameters_.size());
    int changed = 0;
    for (size_t i = 0; i < read->size(); ++i) {
      EXPECT_TRUE(std::isfinite((*read)[i]));
      changed += (*read)[i] != parameters_[i];
    }
    EXPECT_LE(changed, 1);  // a bit of a value, or of something that is not read
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace convd
