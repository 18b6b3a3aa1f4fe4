#include "server/models/onnx_export.h"

#include <string>

#include "core/onnx/onnx_model.h"
#include "onnx/onnx_pb.h"
#include "tests/server/models/repository_fixture.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class OnnxExportTest : public ModelRepositoryTest {
 protected:
  OnnxExportTest() {
    MustPublish("m");
    *request_.mutable_model() = Id("m");
  }
  std::string& Published() { return fs_->Bytes("/state/models/m/1/model.onnx"); }

  v1::ExportOnnxRequest request_;
};

TEST_F(OnnxExportTest, IsTheVersionsFileWhereNothingElseIsSaid) {
  auto onnx = ExportOnnx(request_, *repository_);
  ASSERT_TRUE(onnx.ok()) << onnx.status();
  EXPECT_TRUE(*onnx == Published());
  request_.set_opset(13);
  request_.set_entry(v1::ONNX_ENTRY_UINT8_NHWC);
  onnx = ExportOnnx(request_, *repository_);
  ASSERT_TRUE(onnx.ok()) << onnx.status();
  EXPECT_TRUE(*onnx == Published());
}

TEST_F(OnnxExportTest, HasTheOpsetAndTheEntryThatAreAskedFor) {
  request_.set_opset(17);
  for (const auto& [entry, type, ops] :
       {std::tuple{v1::ONNX_ENTRY_UINT8_NHWC, onnx::TensorProto::UINT8, "Cast Mul Transpose"},
        std::tuple{v1::ONNX_ENTRY_UINT8_NCHW, onnx::TensorProto::UINT8, "Cast Mul"},
        std::tuple{v1::ONNX_ENTRY_FLOAT32_NHWC, onnx::TensorProto::FLOAT, "Mul Transpose"},
        std::tuple{v1::ONNX_ENTRY_FLOAT32_NCHW, onnx::TensorProto::FLOAT, "Mul"}}) {
    request_.set_entry(entry);
    const auto onnx = ExportOnnx(request_, *repository_);
    ASSERT_TRUE(onnx.ok()) << onnx.status();
    onnx::ModelProto model;
    ASSERT_TRUE(model.ParseFromString(*onnx));
    EXPECT_EQ(model.opset_import(0).version(), 17);
    EXPECT_EQ(model.graph().input(0).type().tensor_type().elem_type(), type);
    std::string first;
    for (const onnx::NodeProto& node : model.graph().node()) {
      if (node.op_type() == "Flatten") break;
      first += (first.empty() ? "" : " ") + node.op_type();
    }
    EXPECT_EQ(first, ops);
    EXPECT_EQ(model.metadata_props(0).key(), "labels");
    EXPECT_EQ(*ReadOnnxParameters(*onnx, graph_), parameters_);
  }
}

TEST_F(OnnxExportTest, SaysWhatWouldBeRight) {
  for (int opset : {-1, 1, 12, 18}) {
    request_.set_opset(opset);
    const absl::Status status = ExportOnnx(request_, *repository_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), absl::StrCat("opset: got ", opset, "; want 13 to 17"));
  }
  request_.clear_opset();
  for (int entry : {-1, 5}) {
    request_.set_entry(static_cast<v1::OnnxEntry>(entry));
    const absl::Status status = ExportOnnx(request_, *repository_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("entry: got ", entry, "; want ONNX_ENTRY_UINT8_NHWC (1)")));
  }
  request_.clear_entry();
  *request_.mutable_model() = Id("other");
  EXPECT_EQ(ExportOnnx(request_, *repository_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(OnnxExportTest, ExportsNothingThatIsDamaged) {
  Published()[Published().size() / 2] ^= 1;
  EXPECT_EQ(ExportOnnx(request_, *repository_).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace convd
