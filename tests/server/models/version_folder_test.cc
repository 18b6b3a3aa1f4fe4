#include "server/models/version_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "core/onnx/onnx_model.h"
#include "tests/server/models/memory_file_system.h"
#include "tests/server/predict/fake_inference_model.h"

namespace convd {
namespace {

using ::testing::StartsWith;

constexpr char kDir[] = "/m/3";

class VersionFolderTest : public ::testing::Test {
 protected:
  VersionFolderTest() : graph_(*Graph::Create(DenseNetwork(2, 2, 1, 2))) {
    for (int64_t i = 0; i < graph_.parameter_count(); ++i) {
      parameters_.push_back(static_cast<float>(i) * 0.1f - 0.5f);
    }
    onnx_ = *WriteOnnx(graph_, parameters_, {"yes", "no"});
    card_.mutable_model()->set_name("m");
    card_.mutable_model()->set_version(3);
    card_.add_labels("yes");
    card_.add_labels("no");
    *card_.mutable_network() = graph_.network();
    EXPECT_TRUE(fs_.CreateDirectories(kDir).ok());
    EXPECT_TRUE(WriteVersionFolder(fs_, kDir, onnx_, card_).ok());
  }

  absl::StatusOr<CheckedWeights> Read() { return ReadCheckedWeights(fs_, kDir, card_.model()); }

  MemoryFileSystem fs_;
  const Graph graph_;
  std::vector<float> parameters_;
  std::string onnx_;
  v1::ModelCard card_;
};

void ExpectDataLoss(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith("/m/3"));
}

// `damage` is called with each way to damage `bytes`: cut short after each byte, and a bit of each
// byte flipped.
template <typename Damage>
void ForEachDamage(const std::string& bytes, Damage damage) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    SCOPED_TRACE(i);
    damage(bytes.substr(0, i));
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << i % 8));
    damage(flipped);
  }
}

TEST_F(VersionFolderTest, IsRefusedOrTheSameWhicheverByteIsDamaged) {
  for (const std::string file : {"MANIFEST", "model.textproto", "model.onnx"}) {
    SCOPED_TRACE(file);
    std::string& bytes = fs_.Bytes(std::string(kDir) + "/" + file);
    const std::string whole = bytes;
    ForEachDamage(whole, [&](const std::string& damaged) {
      bytes = damaged;
      const auto read = Read();
      if (!read.ok()) return ExpectDataLoss(read.status());
      // Of the hashes' files none may differ; of the MANIFEST's own bytes some mean nothing.
      EXPECT_EQ(file, "MANIFEST");
      EXPECT_EQ(read->parameters, parameters_);
    });
    bytes = whole;
    ASSERT_TRUE(Read().ok());
  }
}

TEST_F(VersionFolderTest, StopsReadingBetweenTheBlocksOfAFileAndBetweenFiles) {
  ASSERT_TRUE(WriteVersionFolder(fs_, kDir, std::string(size_t{9} << 20, 'x'), card_).ok());
  int reads = 0, most = 0;
  fs_.OnOperation([&](std::string_view operation, const std::string& path) {
    if (operation == "read" && path != std::string(kDir) + "/MANIFEST") ++reads;
  });
  const auto stopped = [&] { return reads == most; };
  for (; most < 4; ++most) {  // the card's, and three blocks of 4 MiB at most
    reads = 0;
    const auto read = ReadCheckedWeights(fs_, kDir, card_.model(), stopped);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kCancelled) << read.status();
    EXPECT_EQ(reads, most);
  }
  ExpectDataLoss(Read().status());  // of rubbish
}

TEST_F(VersionFolderTest, AFileThatIsCutWhileItIsReadIsDamaged) {
  std::string& onnx = fs_.Bytes("/m/3/model.onnx");
  fs_.OnOperation([&](std::string_view operation, const std::string& path) {
    if (operation == "read" && path == "/m/3/model.onnx") onnx.pop_back();
  });
  ExpectDataLoss(Read().status());
}

// The MANIFEST is as hostile as the rest: its hash may be that of the damaged file.
TEST_F(VersionFolderTest, HoldsFiniteWeightsWhateverTheHashVouchesFor) {
  int refused = 0, taken = 0;
  ForEachDamage(onnx_, [&](const std::string& damaged) {
    ASSERT_TRUE(WriteVersionFolder(fs_, kDir, damaged, card_).ok());
    const auto read = Read();
    if (!read.ok()) {
      ++refused;
      return ExpectDataLoss(read.status());
    }
    ++taken;
    ASSERT_EQ(read->parameters.size(), parameters_.size());
    for (const float value : read->parameters) EXPECT_TRUE(std::isfinite(value));
  });
  EXPECT_GT(refused, static_cast<int>(onnx_.size()));
  EXPECT_GT(taken, 0);  // a bit of a weight
}

}  // namespace
}  // namespace convd
