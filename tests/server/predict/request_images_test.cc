#include "server/predict/request_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/predict/hex_bytes.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Shape kShape{2, 3, 2};  // 12 elements an image
constexpr int64_t kMaxImages = 5;

absl::Status AlwaysWanted() { return absl::OkStatus(); }

v1::Images Uint8Images(int64_t count, int height, int width, int channels, size_t bytes) {
  v1::Images images;
  v1::RawImages& raw = *images.mutable_uint8();
  raw.set_count(count);
  raw.set_height(height);
  raw.set_width(width);
  raw.set_channels(channels);
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(i);
  raw.set_data(data);
  return images;
}

v1::Images FloatImages(int64_t count, const std::vector<float>& values) {
  v1::Images images;
  v1::RawImages& raw = *images.mutable_float32();
  raw.set_count(count);
  raw.set_height(kShape.height);
  raw.set_width(kShape.width);
  raw.set_channels(kShape.channels);
  raw.set_data(values.data(), values.size() * sizeof(float));
  return images;
}

TEST(RequestImages, PointsIntoTheRequestsOwnBytes) {
  const v1::Images request = Uint8Images(2, 2, 3, 2, 24);
  const absl::StatusOr<RequestImages> images = RequestImages::Create(request, kShape, kMaxImages);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count(), 2);
  EXPECT_EQ(images->bytes(2), 24);
  const absl::StatusOr<ImageSet> second = images->Read(1, 1, AlwaysWanted);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->count, 1);
  EXPECT_EQ(second->height, 2);
  EXPECT_EQ(second->width, 3);
  EXPECT_EQ(second->channels, 2);
  EXPECT_EQ(second->type, ElementType::kUint8);
  EXPECT_EQ(second->pixels, request.uint8().data().data() + 12);
}

TEST(RequestImages, KeepsTheOwnerAlive) {
  auto request = std::make_shared<v1::Images>(Uint8Images(1, 2, 3, 2, 12));
  const std::weak_ptr<v1::Images> watch = request;
  ImageSet read;
  {
    const absl::StatusOr<RequestImages> images =
        RequestImages::Create(*request, kShape, kMaxImages, {}, request);
    ASSERT_TRUE(images.ok());
    request.reset();
    read = *images->Read(0, 1, AlwaysWanted);
  }
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(static_cast<const uint8_t*>(read.pixels)[11], 11);
  read = {};
  EXPECT_TRUE(watch.expired());
}

TEST(RequestImages, ReadsFloats) {
  std::vector<float> values(24);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 2;
  const v1::Images request = FloatImages(2, values);
  const absl::StatusOr<RequestImages> images = RequestImages::Create(request, kShape, kMaxImages);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->bytes(1), 48);
  const absl::StatusOr<ImageSet> second = images->Read(1, 1, AlwaysWanted);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->type, ElementType::kFloat32);
  EXPECT_EQ(static_cast<const float*>(second->pixels)[11], 11.5f);
}

// Made with Python's Pillow; each 2 high and 3 wide.
constexpr char kGreyPng[] =  // 0, 50, 100, 150, 200, 255
    "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c6000000104944415478da63"
    "643032629876e23f00068702c305b5bc230000000049454e44ae426082";
constexpr char kRgbPng[] =  // 10 i, 10 i + 1, 10 i + 2
    "89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d000000174944415478da63"
    "646064e2e2e2e2e2e26291939383b000075000db7f59773c0000000049454e44ae426082";
constexpr char kGreyJpeg[] =  // 77 everywhere
    "ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202"
    "02020504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a"
    "0affc0000b080002000301011100ffc40014000100000000000000000000000000000008ffc4001410010000"
    "0000000000000000000000000000ffda0008010100003f0019bfffd9";

std::vector<int> Pixels(const ImageSet& images) {
  const uint8_t* pixels = static_cast<const uint8_t*>(images.pixels);
  return std::vector<int>(pixels, pixels + images.count * images.image_elements());
}

TEST(RequestImages, DecodesTheFilesThatAreAskedFor) {
  v1::Images request;
  request.mutable_encoded()->add_files("never looked at here");
  request.mutable_encoded()->add_files(HexBytes(kGreyJpeg));
  request.mutable_encoded()->add_files(HexBytes(kGreyPng));
  const absl::StatusOr<RequestImages> images =
      RequestImages::Create(request, Shape{2, 3, 1}, kMaxImages);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count(), 3);
  EXPECT_EQ(images->bytes(3), 18);
  const absl::StatusOr<ImageSet> read = images->Read(1, 2, AlwaysWanted);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->type, ElementType::kUint8);
  EXPECT_THAT(Pixels(*read), ElementsAre(77, 77, 77, 77, 77, 77, 0, 50, 100, 150, 200, 255));

  const absl::Status first = images->Read(0, 1, AlwaysWanted).status();
  EXPECT_EQ(first.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(first.message()), HasSubstr("images.encoded.files[0]"));
}

TEST(RequestImages, MakesFilesFitTheModel) {
  v1::Images request;
  request.mutable_encoded()->add_files(HexBytes(kRgbPng));
  const auto pixels = [&](Shape shape) {
    const absl::StatusOr<RequestImages> images = RequestImages::Create(request, shape, kMaxImages);
    EXPECT_EQ(images->bytes(1), shape.elements());
    return Pixels(*images->Read(0, 1, AlwaysWanted));
  };
  EXPECT_THAT(pixels({2, 3, 3}),
              ElementsAre(0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52));
  // 0.299 R + 0.587 G + 0.114 B is R + 0.8.
  EXPECT_THAT(pixels({2, 3, 1}), ElementsAre(1, 11, 21, 31, 41, 51));
  // Their mean, for the weights are symmetric.
  EXPECT_THAT(pixels({1, 1, 3}), ElementsAre(25, 26, 27));
}

TEST(RequestImages, InvertsFilesWhereTheRequestSaysSo) {
  v1::Images request;
  request.mutable_encoded()->add_files(HexBytes(kGreyPng));
  request.mutable_encoded()->set_invert(true);
  const auto images = RequestImages::Create(request, Shape{2, 3, 1}, kMaxImages);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_THAT(Pixels(*images->Read(0, 1, AlwaysWanted)), ElementsAre(255, 205, 155, 105, 55, 0));
}

TEST(RequestImages, RefusesFilesWhereTheModelTakesOtherChannelsThanTheyCanHave) {
  v1::Images request;
  request.mutable_encoded()->add_files(HexBytes(kRgbPng));
  const absl::Status status =
      RequestImages::Create(request, kShape, kMaxImages)->Read(0, 1, AlwaysWanted).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("images.encoded.files[0]: "), HasSubstr("the model takes 2")));
}

TEST(RequestImages, StopsDecodingWhenNobodyWaits) {
  v1::Images request;
  for (int i = 0; i < 2; ++i) request.mutable_encoded()->add_files(HexBytes(kGreyPng));
  request.mutable_encoded()->add_files("never looked at");
  const auto images = RequestImages::Create(request, Shape{2, 3, 1}, kMaxImages);
  int asked = 0;
  const absl::Status status = images
                                  ->Read(0, 3,
                                         [&]() -> absl::Status {
                                           if (++asked < 3) return absl::OkStatus();
                                           return absl::CancelledError("gone");
                                         })
                                  .status();
  EXPECT_EQ(status, absl::CancelledError("gone"));
}

TEST(RequestImages, BoundsTheMemoryOfDecoding) {
  v1::Images request;
  request.mutable_encoded()->add_files(HexBytes(kRgbPng));
  DataLimits files;
  files.decoding_bytes = 2 * 3 * 3;
  const Shape shape{1, 1, 3};
  EXPECT_TRUE(
      RequestImages::Create(request, shape, kMaxImages, files)->Read(0, 1, AlwaysWanted).ok());
  files.decoding_bytes -= 1;
  const absl::Status status =
      RequestImages::Create(request, shape, kMaxImages, files)->Read(0, 1, AlwaysWanted).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);  // and will be so next time
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("images.encoded.files[0]: "), HasSubstr("limit is 17")));
}

TEST(RequestImages, CountsFiles) {
  v1::Images request;
  request.mutable_encoded();
  EXPECT_THAT(std::string(RequestImages::Create(request, kShape, kMaxImages).status().message()),
              HasSubstr("images.encoded.files: got 0 images"));
  for (int i = 0; i < 6; ++i) request.mutable_encoded()->add_files("x");
  EXPECT_THAT(std::string(RequestImages::Create(request, kShape, kMaxImages).status().message()),
              HasSubstr("images.encoded.files: got 6 images"));
}

TEST(RequestImages, RefusesRawImagesThatDontFit) {
  const int64_t max = std::numeric_limits<int64_t>::max();
  const struct {
    const char* what;
    v1::Images images;
    std::vector<std::string> says;
  } cases[] = {
      {"nothing", v1::Images(), {"images: got none", "encoded"}},
      {"no images", Uint8Images(0, 2, 3, 2, 0), {"images.uint8.count: got 0 images", "1 to 5"}},
      {"negative", Uint8Images(-1, 2, 3, 2, 12), {"count: got -1 images"}},
      {"most negative", Uint8Images(-max - 1, 2, 3, 2, 12), {"got -9223372036854775808 images"}},
      {"too many", Uint8Images(6, 2, 3, 2, 72), {"got 6 images", "1 to 5"}},
      {"far too many", Uint8Images(max, 2, 3, 2, 12), {"got 9223372036854775807 images"}},
      // 2^60 * 12 elements of 4 bytes would wrap to 0.
      {"wrapping", Uint8Images(int64_t{1} << 60, 2, 3, 2, 0), {"want 1 to 5"}},
      {"height", Uint8Images(1, 3, 3, 2, 18), {"images of 3x3x2", "takes 2x3x2"}},
      {"width", Uint8Images(1, 2, 2, 2, 8), {"images of 2x2x2", "takes 2x3x2"}},
      {"channels", Uint8Images(1, 2, 3, 3, 18), {"images of 2x3x3", "takes 2x3x2"}},
      {"transposed", Uint8Images(1, 3, 2, 2, 12), {"images of 3x2x2", "takes 2x3x2"}},
      {"negative height", Uint8Images(1, -2, 3, 2, 12), {"images of -2x3x2"}},
      {"zero channels", Uint8Images(1, 2, 3, 0, 0), {"images of 2x3x0"}},
      {"two negative", Uint8Images(1, -2, -3, 2, 12), {"images of -2x-3x2"}},
      {"short", Uint8Images(2, 2, 3, 2, 23), {"data: got 23 bytes", "are 24"}},
      {"long", Uint8Images(2, 2, 3, 2, 25), {"data: got 25 bytes", "are 24"}},
      {"empty data", Uint8Images(1, 2, 3, 2, 0), {"data: got 0 bytes", "are 12"}},
      {"floats by the byte", FloatImages(1, std::vector<float>(3)), {"got 12 bytes", "are 48"}},
      {"floats missing", FloatImages(1, std::vector<float>(11)), {"got 44 bytes", "are 48"}},
  };
  for (const auto& c : cases) {
    const absl::Status status = RequestImages::Create(c.images, kShape, kMaxImages).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.what;
    for (const std::string& says : c.says) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(says)) << c.what;
    }
  }
}

TEST(RequestImages, NamesTheValueThatIsNotFinite) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (float value : bad) {
    std::vector<float> values(36, 1.0f);
    values[24 + 11] = value;  // the last of the third image
    const v1::Images request = FloatImages(3, values);
    const absl::StatusOr<RequestImages> images = RequestImages::Create(request, kShape, kMaxImages);
    ASSERT_TRUE(images.ok()) << images.status();
    EXPECT_TRUE(images->Read(0, 2, AlwaysWanted).ok());
    const absl::Status status = images->Read(1, 2, AlwaysWanted).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("images.float32.data: image 2, row 1, column 2, channel 1"));
  }
}

}  // namespace
}  // namespace convd
