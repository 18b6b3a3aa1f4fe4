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

TEST(ImageDecodeTest, AnotherShapeThanTheModelsIsRefusedWithBoth) {
  std::string pixels(6 * 9 * 3, '\0');
  auto* const out = reinterpret_cast<uint8_t*>(pixels.data());
  EXPECT_TRUE(DecodeImage(Sample("rgb.png"), "file 3", 6, 9, 3, out).ok());
  EXPECT_EQ(pixels, Pixels(*DecodeImage(Sample("rgb.png"), "f")));
  const std::string before = pixels;
  ExpectInvalid(DecodeImage(Sample("rgb.png"), "file 3", 28, 28, 1, out),
                "file 3: is a 6x9x3 PNG (height x width x channels); the model takes 28x28x1");
  ExpectInvalid(DecodeImage(Sample("grey.png"), "f", 6, 9, 3, out), "6x9x1 PNG");
  ExpectInvalid(DecodeImage(Sample("rgb.png"), "f", 9, 6, 3, out), "6x9x3 PNG");
  ExpectInvalid(DecodeImage(Sample("rgb_420.jpg"), "f", 6, 9, 3, out), "20x33x3 JPEG");
  EXPECT_EQ(pixels, before);
}

TEST(ImageDecodeTest, KindsThatWouldLoseSomethingAreRefusedByName) {
  const struct {
    const char* file;
    const char* words;
  } cases[] = {
      {"grey_16_bit.png", "f: is a PNG of grey, 16 bits; want 8-bit grey or RGB"},
      {"rgb_16_bit.png", "PNG of RGB, 16 bits"},
      {"grey_alpha.png", "PNG of grey and alpha, 8 bits"},
      {"rgb_alpha.png", "PNG of RGB and alpha, 8 bits"},
      {"palette_transparent.png", "PNG of palette with transparent colours"},
      {"grey_transparent.png", "PNG of grey with transparent colours"},
      {"cmyk.jpg", "JPEG of 4 components (CMYK)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.file);
    ExpectInvalid(DecodeImage(Sample(c.file), "f").status(), c.words);
  }
}

TEST(ImageDecodeTest, PixelsAreBoundedByTheHeader) {
  ExpectError(DecodeImage(Sample("huge.png"), "f").status(), absl::StatusCode::kResourceExhausted,
              "60000x60000x1");
  std::string jpeg = Sample("grey.jpg");
  // SOF0: length, precision, height, width.
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xea\x60\xea\x60");
  ExpectError(DecodeImage(jpeg, "f").status(), absl::StatusCode::kResourceExhausted,
              "60000x60000x1");
  DataLimits limits;
  limits.image_pixels = 6 * 9 - 1;
  ExpectError(DecodeImage(Sample("grey.png"), "f", limits).status(),
              absl::StatusCode::kResourceExhausted, "53 pixels");
  limits = {};
  limits.file_bytes = 10;
  ExpectError(DecodeImage(Sample("grey.png"), "f", limits).status(),
              absl::StatusCode::kResourceExhausted, "limit is 10");
}

TEST(ImageDecodeTest, EveryTruncationIsRefused) {
  for (const char* name : {"grey.png", "palette.png", "rgb_interlaced.png", "rgb_420.jpg",
                           "grey.jpg", "rgb_progressive.jpg"}) {
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
  ExpectInvalid(DecodeImage("GIF89a", "f").status(), "begin with 47 49 46 38");
  ExpectInvalid(DecodeImage(std::string("\x89PNG\r\n\x1a\n", 8), "f").status(),
                "the PNG of 8 bytes");
}

}  // namespace
}  // namespace convd
