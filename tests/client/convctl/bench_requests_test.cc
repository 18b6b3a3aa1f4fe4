#include "client/convctl/bench_requests.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

std::string WriteTemporary(const std::string& name, const std::string& bytes) {
  const std::string path = ::testing::TempDir() + "/bench_requests_" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(BenchRequestsTest, RandomPixelsHaveTheShapeAndComeFromTheSeed) {
  const auto requests = RandomRequests(4, 3, 2, 5, 1);
  ASSERT_TRUE(requests.ok());
  ASSERT_EQ(requests->size(), 64u);
  const v1::RawImages& raw = (*requests)[0].uint8();
  EXPECT_EQ(raw.count(), 5);
  EXPECT_EQ(raw.height(), 4);
  EXPECT_EQ(raw.width(), 3);
  EXPECT_EQ(raw.channels(), 2);
  EXPECT_EQ(raw.data().size(), 5u * 4 * 3 * 2);
  EXPECT_NE(raw.data(), (*requests)[1].uint8().data());
  EXPECT_EQ(raw.data(), (*RandomRequests(4, 3, 2, 5, 1))[0].uint8().data());
  EXPECT_NE(raw.data(), (*RandomRequests(4, 3, 2, 5, 2))[0].uint8().data());
}

TEST(BenchRequestsTest, LargeRequestsAreFewAndTooLargeOnesRefused) {
  EXPECT_EQ(RandomRequests(1024, 1024, 1, 16, 1)->size(), 4u);
  const absl::Status status = RandomRequests(1024, 1024, 1, 257, 1).status();
  EXPECT_EQ(ExitCodeFor(status), kExitUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 256"));
}

TEST(BenchRequestsTest, AShapeThatCannotBeIsRefused) {
  EXPECT_EQ(ExitCodeFor(RandomRequests(0, 28, 1, 1, 1).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(RandomRequests(1 << 30, 1 << 30, 3, 1, 1).status()), kExitUsage);
}

TEST(BenchRequestsTest, AFileOfImagesIsSentInTurnAndFromTheFrontAgain) {
  // IDX: three images of 1x2.
  const std::string path = WriteTemporary(
      "idx", std::string("\0\0\x08\x03\0\0\0\x03\0\0\0\x01\0\0\0\x02", 16) + "abcdef");
  const auto requests = RequestsOfFiles({path}, 2);
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_EQ((*requests)[0].uint8().data(), "abcd");
  EXPECT_EQ((*requests)[1].uint8().data(), "efab");
  EXPECT_EQ((*requests)[0].uint8().count(), 2);
  EXPECT_EQ((*requests)[0].uint8().width(), 2);
}

TEST(BenchRequestsTest, ImageFilesAreSentAsTheyAre) {
  const std::string png = "\x89PNG\r\n\x1a\n and more", other = png + " still";
  const auto requests =
      RequestsOfFiles({WriteTemporary("1.png", png), WriteTemporary("2.png", other)}, 3);
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_THAT((*requests)[0].encoded().files(), ::testing::ElementsAre(png, other, png));
}

TEST(BenchRequestsTest, FilesThatDoNotBelongTogetherAreRefused) {
  const std::string png = WriteTemporary("3.png", "\x89PNG\r\n\x1a\n"),
                    text = WriteTemporary("text", "no image");
  EXPECT_EQ(ExitCodeFor(RequestsOfFiles({png, text}, 1).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(RequestsOfFiles({text, png}, 1).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(RequestsOfFiles({text}, 1).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(RequestsOfFiles({"/no/such/file"}, 1).status()), kExitUsage);
}

}  // namespace
}  // namespace convd
