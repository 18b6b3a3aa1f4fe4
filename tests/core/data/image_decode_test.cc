#include "core/data/image_decode.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

std::string Pixels(const ImageSet& image) {
  return {image.image(0), static_cast<size_t>(image.image_bytes())};
}

TEST(ImageDecodeTest, EightBitPngsAreTakenAsTheyAre) {
  for (const auto& [name, channels] :
       {std::pair{"grey.png", 1}, std::pair{"rgb.png", 3}, std::pair{"rgb_gamma_and_text.png", 3},
        std::pair{"rgb_interlaced.png", 3}}) {
    SCOPED_TRACE(name);
    const auto image = DecodeImage(Sample(name), name);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->count, 1);
    EXPECT_EQ(image->height, 6);
    EXPECT_EQ(image->width, 9);
    ASSERT_EQ(image->channels, channels);
    ExpectSamplePixels(*image, 0);
  }
}

TEST(ImageDecodeTest, FewerBitsAreSpreadOverTheRange) {
  // The PNG specification's scaling: value * 255 / (2^depth - 1).
  for (const int depth : {1, 2, 4}) {
    const auto image = DecodeImage(Sample("grey_" + std::to_string(depth) + "_bit.png"), "f");
    ASSERT_TRUE(image.ok()) << image.status();
    ASSERT_EQ(image->channels, 1);
    for (int h = 0; h < 6; ++h) {
      for (int w = 0; w < 9; ++w) {
        ASSERT_EQ(PixelAt(*image, 0, h, w, 0), (h + w) % (1 << depth) * 255 / ((1 << depth) - 1))
            << depth << " " << h << " " << w;
      }
    }
  }
}

TEST(ImageDecodeTest, PalettesBecomeRgb) {
  const auto image = DecodeImage(Sample("palette.png"), "f");
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->channels, 3);
  for (int h = 0; h < 6; ++h) {
    for (int w = 0; w < 9; ++w) {
      const int colour = SamplePixel(0, h, w, 0);
      ASSERT_EQ(PixelAt(*image, 0, h, w, 0), colour);
      ASSERT_EQ(PixelAt(*image, 0, h, w, 1), 2 * colour % 256);
      ASSERT_EQ(PixelAt(*image, 0, h, w, 2), 255 - colour);
    }
  }
}

TEST(ImageDecodeTest, JpegsDecodeAsPilDecodesThem) {
  for (const char* name : {"rgb_420", "rgb_444", "rgb_progressive", "grey"}) {
    SCOPED_TRACE(name);
    const auto image = DecodeImage(Sample(std::string(name) + ".jpg"), name);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->height, 20);
    EXPECT_EQ(image->width, 33);
    EXPECT_EQ(image->channels, std::string(name) == "grey" ? 1 : 3);
    EXPECT_TRUE(Pixels(*image) == Sample(std::string(name) + ".raw"));
  }
}

// Within `tolerance`; 0 is exactly.
void ExpectPixels(const std::string& got, const std::string& want, int tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(static_cast<uint8_t>(got[i]), static_cast<uint8_t>(want[i]), tolerance) << i;
  }
}

std::string Converted(const std::string& file, const ImageConversion& to) {
  std::string pixels(size_t{1} * to.height * to.width * to.channels, '\0');
  const absl::Status status = DecodeImage(file, "f", to, reinterpret_cast<uint8_t*>(pixels.data()));
  EXPECT_TRUE(status.ok()) << status;
  return pixels;
}

TEST(ImageDecodeTest, EveryKindOfPngHasThePixelsThatAWhitePageShows) {
  std::vector<std::string> kinds = {
      "rgb_8",       "rgb_8_transparent",  "rgb_16",       "rgb_16_transparent",
      "rgb_alpha_8", "rgb_alpha_16",       "grey_alpha_8", "grey_alpha_16",
      "grey_16",     "grey_16_transparent"};
  for (const char* depth : {"1", "2", "4", "8"}) {
    for (const char* colour : {"grey_", "palette_"}) {
      kinds.push_back(std::string(colour) + depth);
      kinds.push_back(std::string(colour) + depth + "_transparent");
    }
  }
  for (const std::string& kind : kinds) {
    for (const char* order : {"", "_interlaced"}) {
      SCOPED_TRACE(kind + order);
      const auto image = DecodeImage(Sample("images/" + kind + order + ".png"), kind);
      ASSERT_TRUE(image.ok()) << image.status();
      EXPECT_EQ(image->height, 9);
      EXPECT_EQ(image->width, 11);
      EXPECT_EQ(image->channels, absl::StartsWith(kind, "grey") ? 1 : 3);
      ExpectPixels(Pixels(*image), Sample("images/" + kind + ".raw"), 0);
    }
  }
}

TEST(ImageDecodeTest, SmallInterlacedPngsMayLackPasses) {
  for (const std::string size : {"1x1", "1x6", "6x1", "2x3"}) {
    SCOPED_TRACE(size);
    const auto image = DecodeImage(Sample("images/tiny_" + size + "_interlaced.png"), size);
    ASSERT_TRUE(image.ok()) << image.status();
    ExpectPixels(Pixels(*image), Sample("images/tiny_" + size + ".raw"), 0);
  }
}

// Releases of libjpeg-turbo round differently in places.
constexpr int kJpegTolerance = 2;

TEST(ImageDecodeTest, EveryKindOfJpegHasThePixelsThatPillowGives) {
  for (const std::string kind :
       {"cmyk", "cmyk_progressive", "cmyk_no_adobe", "ycck", "rgb_adobe"}) {
    SCOPED_TRACE(kind);
    const auto image = DecodeImage(Sample("images/" + kind + ".jpg"), kind);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->height, 12);
    EXPECT_EQ(image->width, 17);
    EXPECT_EQ(image->channels, 3);
    ExpectPixels(Pixels(*image), Sample("images/" + kind + ".raw"), kJpegTolerance);
  }
}

TEST(ImageDecodeTest, ImagesAreTurnedAsExifSays) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const std::string kind : {"exif_", "exif_grey_"}) {
      const std::string name = kind + std::to_string(orientation);
      SCOPED_TRACE(name);
      const auto image = DecodeImage(Sample("images/" + name + ".jpg"), name);
      ASSERT_TRUE(image.ok()) << image.status();
      EXPECT_EQ(image->height, orientation < 5 ? 12 : 17);
      EXPECT_EQ(image->width, orientation < 5 ? 17 : 12);
      const std::string want = Sample("images/" + name + ".raw");
      ExpectPixels(Pixels(*image), want, kJpegTolerance);
      EXPECT_EQ(Converted(Sample("images/" + name + ".jpg"),
                          {image->height, image->width, image->channels}),
                Pixels(*image));
    }
  }
  for (const std::string place : {"before", "after"}) {
    SCOPED_TRACE(place);
    const auto image = DecodeImage(Sample("images/exif_" + place + ".png"), place);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->height, 17);
    EXPECT_EQ(image->width, 12);
    ExpectPixels(Pixels(*image), Sample("images/exif_png.raw"), 0);
  }
}

TEST(ImageDecodeTest, ADamagedExifBlockIsIgnored) {
  const std::string whole = Sample("images/exif_7.jpg");
  const size_t tiff = whole.find("MM", whole.find(std::string("Exif\0\0", 6)));
  ASSERT_NE(tiff, std::string::npos);
  const std::string upright = Pixels(*DecodeImage(Sample("images/exif_1.jpg"), "f"));
  for (const char* damage : {"XX\0*\0\0\0\x08", "MM\0*\xff\xff\xff\xff", "MM\0*\0\0\0\x10"}) {
    std::string damaged = whole;
    damaged.replace(tiff, 8, std::string(damage, 8));
    const auto image = DecodeImage(damaged, "f");
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(Pixels(*image), upright);
  }
  for (const char* name : {"exif_damaged.png", "exif_cut.png"}) {
    SCOPED_TRACE(name);
    const auto image = DecodeImage(Sample(std::string("images/") + name), "f");
    ASSERT_TRUE(image.ok()) << image.status();
    ExpectPixels(Pixels(*image), Sample("images/exif_png_upright.raw"), 0);
  }
}

TEST(ImageDecodeTest, AnImageOfTheModelsShapeIsTakenAsItIs) {
  for (const char* name : {"grey.png", "rgb.png"}) {
    const auto image = DecodeImage(Sample(name), "f");
    EXPECT_EQ(Converted(Sample(name), {6, 9, image->channels}), Pixels(*image));
  }
  EXPECT_EQ(Converted(Sample("rgb_420.jpg"), {20, 33, 3}),
            Pixels(*DecodeImage(Sample("rgb_420.jpg"), "f")));
}

TEST(ImageDecodeTest, GreyIsRepeatedAndColoursBecomeTheirLuma) {
  const std::string grey = Converted(Sample("grey.png"), {6, 9, 1});
  const std::string repeated = Converted(Sample("grey.png"), {6, 9, 3});
  for (size_t i = 0; i < repeated.size(); ++i) ASSERT_EQ(repeated[i], grey[i / 3]) << i;
  const std::string rgb = Converted(Sample("images/rgb_8.png"), {9, 11, 3});
  const std::string luma = Converted(Sample("images/rgb_8.png"), {9, 11, 1});
  for (size_t i = 0; i < luma.size(); ++i) {
    const auto channel = [&](int c) { return static_cast<uint8_t>(rgb[3 * i + c]); };
    // ITU-R 601-2, in thousandths.
    ASSERT_NEAR(static_cast<uint8_t>(luma[i]),
                (299 * channel(0) + 587 * channel(1) + 114 * channel(2)) / 1000.0, 0.51)
        << i;
  }
}

TEST(ImageDecodeTest, AllStepsTogetherGiveWhatPillowGives) {
  for (const auto& [name, channels] : {std::pair{"grey", 1}, std::pair{"rgb", 3}}) {
    SCOPED_TRACE(name);
    ExpectPixels(Converted(Sample("images/whole.png"), {28, 28, channels, /*invert=*/true}),
                 Sample(std::string("images/whole_") + name + ".raw"), 0);
  }
}

TEST(ImageDecodeTest, InvertedIsDarkForLight) {
  const std::string plain = Converted(Sample("grey.png"), {6, 9, 1});
  const std::string inverted = Converted(Sample("grey.png"), {6, 9, 1, /*invert=*/true});
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_EQ(static_cast<uint8_t>(inverted[i]), 255 - static_cast<uint8_t>(plain[i]));
  }
}

TEST(ImageDecodeTest, APhotoFitsAModelOfFewPixels) {
  ExpectPixels(Converted(Sample("images/photo.png"), {28, 28, 1}), Sample("images/photo.raw"), 0);
}

TEST(ImageDecodeTest, ModelsOfOtherChannelsTakeNoFiles) {
  std::string pixels(6 * 9 * 2, '\0');
  ExpectInvalid(DecodeImage(Sample("grey_1_bit.png"), "file 3", {6, 9, 2},
                            reinterpret_cast<uint8_t*>(pixels.data())),
                "file 3: a PNG or JPEG file is for models of 1 channel (grey) or 3 (RGB); the "
                "model takes 2");
}

TEST(ImageDecodeTest, PixelsAreBoundedByTheHeader) {
  ExpectError(DecodeImage(Sample("huge.png"), "f").status(), absl::StatusCode::kInvalidArgument,
              "60000x60000x1");
  std::string jpeg = Sample("grey.jpg");
  // SOF0: length, precision, height, width.
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xea\x60\xea\x60");
  ExpectError(DecodeImage(jpeg, "f").status(), absl::StatusCode::kInvalidArgument, "60000x60000x1");
  ExpectError(DecodeImage(Sample("long.png"), "f").status(), absl::StatusCode::kInvalidArgument,
              "f: says an image of 1x65536; the limit is 65535 a side");
  DataLimits limits;
  limits.image_pixels = 6 * 9 - 1;
  ExpectError(DecodeImage(Sample("grey.png"), "f", limits).status(),
              absl::StatusCode::kInvalidArgument, "53 pixels");
  limits = {};
  limits.file_bytes = 10;
  ExpectError(DecodeImage(Sample("grey.png"), "f", limits).status(),
              absl::StatusCode::kInvalidArgument, "limit is 10");
}

TEST(ImageDecodeTest, MemoryIsBoundedBeforeItIsTaken) {
  std::string pixels(28 * 28, '\0');
  auto* const out = reinterpret_cast<uint8_t*>(pixels.data());
  DataLimits limits;
  limits.decoding_bytes = 4000 * 3000 * 3 - 1;
  ExpectError(DecodeImage(Sample("images/photo.png"), "f", {28, 28, 1}, out, limits),
              absl::StatusCode::kInvalidArgument,
              "f: decoding its 3000x4000 pixels would take 36000000 bytes of memory; the limit is "
              "35999999");
  // 20x33 of 8x8 blocks: 3x5 of luma and 2x3 of each colour, and 128 bytes each.
  limits.decoding_bytes = (3 * 5 + 2 * 2 * 3) * 128 - 1;
  ExpectError(DecodeImage(Sample("rgb_progressive.jpg"), "f", limits).status(),
              absl::StatusCode::kInvalidArgument, "isn't progressive takes less");
  limits.decoding_bytes += 1;
  EXPECT_TRUE(DecodeImage(Sample("rgb_progressive.jpg"), "f", limits).ok());
  limits.decoding_bytes = 0;
  EXPECT_TRUE(DecodeImage(Sample("rgb_420.jpg"), "f", limits).ok());
  EXPECT_TRUE(DecodeImage(Sample("rgb.png"), "f", limits).ok());
}

TEST(ImageDecodeTest, EveryTruncationIsRefused) {
  for (const char* name : {"grey.png", "palette.png", "rgb_interlaced.png", "rgb_420.jpg",
                           "grey.jpg", "rgb_progressive.jpg", "images/ycck.jpg",
                           "images/rgb_alpha_16_interlaced.png", "images/exif_after.png"}) {
    const std::string whole = Sample(name);
    for (size_t n = 0; n < whole.size(); ++n) {
      const absl::Status status = DecodeImage(whole.substr(0, n), "f").status();
      ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name << " " << n;
      ASSERT_TRUE(absl::StartsWith(status.message(), "f: ")) << status;
    }
  }
}

TEST(ImageDecodeTest, DamageIsRefusedEvenWhereADecoderCouldGoOn) {
  std::string png = Sample("grey.png");
  png[png.find("IDAT") + 10] ^= 1;
  ExpectInvalid(DecodeImage(png, "f").status(), "f: the PNG of");
  std::string jpeg = Sample("rgb_420.jpg");
  jpeg.replace(jpeg.size() / 2 + 300, 2, "\xff\xd3");  // a restart marker out of order
  ExpectInvalid(DecodeImage(jpeg, "f").status(), "f: the JPEG of");
  for (const char* name : {"rgb_alpha_16.png", "grey_4_transparent_interlaced.png"}) {
    png = Sample(std::string("images/") + name);
    png[png.find("IDAT") + 10] ^= 1;
    ExpectInvalid(DecodeImage(png, "f").status(), "f: the PNG of");
  }
}

TEST(ImageDecodeTest, AnEndlessProgressionOfScansIsRefused) {
  std::string jpeg = Sample("rgb_progressive.jpg");
  // The last scan again and again.
  const size_t scan = jpeg.rfind("\xff\xda");
  const std::string again = jpeg.substr(scan, jpeg.size() - scan - 2);
  std::string many = jpeg.substr(0, jpeg.size() - 2);
  for (int i = 0; i < 200; ++i) many += again;
  many += "\xff\xd9";
  ExpectInvalid(DecodeImage(many, "f").status(), "f: the JPEG of");
}

TEST(ImageDecodeTest, OtherFilesAreNamed) {
  ExpectInvalid(
      DecodeImage("<html></html>", "f").status(),
      "f: is a web page (HTML or XML): perhaps a download that failed; want a PNG or JPEG");
  ExpectInvalid(DecodeImage("", "f").status(), "f: is empty (0 bytes)");
  ExpectInvalid(DecodeImage("GIF89a", "f").status(), "f: is a GIF image; want a PNG or JPEG image");
  ExpectInvalid(DecodeImage(std::string("\x89PNG\r\n\x1a\n", 8), "f").status(),
                "the PNG of 8 bytes");
}

}  // namespace
}  // namespace convd
