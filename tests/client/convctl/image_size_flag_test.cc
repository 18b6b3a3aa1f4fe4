#include "client/convctl/image_size_flag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convd {
namespace {

TEST(ImageSizeFlagTest, TakesHeightAndWidthAndPerhapsChannels) {
  for (const auto& [text, channels] :
       {std::pair{"28x32", 0}, std::pair{"28x32x1", 1}, std::pair{"28x32x3", 3}}) {
    const auto size = ParseImageSize(text);
    ASSERT_TRUE(size.has_value()) << text;
    EXPECT_EQ(size->height(), 28);
    EXPECT_EQ(size->width(), 32);
    EXPECT_EQ(size->channels(), channels);
  }
}

TEST(ImageSizeFlagTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", "28", "28x", "x28", "0x28", "28x-1", "28x+1", "28 x 28", "28x28x2",
                           "28x28x0", "28x28x1x1", "28X28", "99999999999x1", "axb"}) {
    EXPECT_FALSE(ParseImageSize(text).has_value()) << text;
  }
  CLI::App app;
  v1::ImageSize size;
  AddImageSizeFlag(app, size);
  try {
    app.parse("--image-size 28");
    ADD_FAILURE() << "it was taken";
  } catch (const CLI::ParseError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("got \"28\"; want HEIGHTxWIDTH"));
  }
  app.parse("--image-size 4x6x3");
  EXPECT_EQ(size.channels(), 3);
}

}  // namespace
}  // namespace convd
