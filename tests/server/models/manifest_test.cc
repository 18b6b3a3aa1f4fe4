#include "server/models/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

using ::testing::HasSubstr;

// From sha256sum(1): of "abc", and of no bytes.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string Good() {
  return std::string(kAbc) + " 3 model.onnx\n" + kEmpty + " 0 model.textproto\n";
}

TEST(Manifest, IsReadAsItWasWritten) {
  const Manifest manifest{DescribeFile("abc"), DescribeFile("")};
  EXPECT_EQ(manifest.Text(), Good());
  const absl::StatusOr<Manifest> read = Manifest::Parse(Good());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->onnx.sha256, kAbc);
  EXPECT_EQ(read->onnx.size, 3);
  EXPECT_EQ(read->card.sha256, kEmpty);
  EXPECT_EQ(read->card.size, 0);
}

TEST(Manifest, IsNotReadWhereItIsAnythingElse) {
  const std::string abc = kAbc;
  const std::string second = std::string(kEmpty) + " 0 model.textproto\n";
  const struct {
    std::string text;
    const char* says;
  } cases[] = {
      {"", "line 1"},
      {"\n", "line 1"},
      {abc + " 3 model.onnx\n", "line 2"},
      {second + abc + " 3 model.onnx\n", "line 1"},
      {Good() + "\n", "line 3"},
      {Good() + abc + " 3 more\n", "line 3"},
      {Good().substr(0, Good().size() - 1), "line 3"},
      {abc + " 3 ../model.onnx\n" + second, "line 1"},
      {abc + " 3  model.onnx\n" + second, "line 1"},
      {abc + " -3 model.onnx\n" + second, "line 1"},
      {abc + " +3 model.onnx\n" + second, "line 1"},
      {abc + " 03 model.onnx\n" + second, "line 1"},
      {abc + " 3x model.onnx\n" + second, "line 1"},
      {abc + " 2147483648 model.onnx\n" + second, "line 1"},
      {abc + " 99999999999999999999 model.onnx\n" + second, "line 1"},
      {abc.substr(1) + " 3 model.onnx\n" + second, "line 1"},
      {"g" + abc.substr(1) + " 3 model.onnx\n" + second, "line 1"},
      {"B" + abc.substr(1) + " 3 model.onnx\n" + second, "line 1"},
      {std::string("\0\0\0", 3), "line 1"},
  };
  for (const auto& c : cases) {
    const absl::Status status = Manifest::Parse(c.text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << c.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.says)) << c.text;
  }
}

TEST(CheckFile, NamesTheFileAndWhatIsWrong) {
  const ManifestEntry entry{kAbc, 3};
  EXPECT_TRUE(CheckFile("/m/model.onnx", DescribeFile("abc"), entry).ok());
  EXPECT_THAT(std::string(CheckFile("/m/model.onnx", DescribeFile("abcd"), entry).message()),
              HasSubstr("/m/model.onnx: has 4 bytes; the MANIFEST says 3"));
  EXPECT_THAT(std::string(CheckFile("/m/model.onnx", DescribeFile("abd"), entry).message()),
              HasSubstr("/m/model.onnx: its SHA-256 is "));
}

}  // namespace
}  // namespace convd
