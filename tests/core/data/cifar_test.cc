#include "core/data/cifar.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// A record whose red plane counts up from `first`, green is all 100, blue counts down.
std::string Record(int label, int first) {
  std::string record(1, static_cast<char>(label));
  for (int i = 0; i < 1024; ++i) record += static_cast<char>(first + i);
  record.append(1024, 100);
  for (int i = 0; i < 1024; ++i) record += static_cast<char>(255 - i);
  return record;
}

TEST(Cifar10Test, PlanesBecomeChannels) {
  const auto images = ReadCifar10(Record(7, 1) + Record(0, 3), "f");
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count, 2);
  EXPECT_EQ(images->height, 32);
  EXPECT_EQ(images->width, 32);
  EXPECT_EQ(images->channels, 3);
  EXPECT_THAT(images->labels, ElementsAre(7, 0));
  for (const auto& [n, first] : {std::pair{0, 1}, std::pair{1, 3}}) {
    for (int h = 0; h < 32; ++h) {
      for (int w = 0; w < 32; ++w) {
        ASSERT_EQ(PixelAt(*images, n, h, w, 0), (first + 32 * h + w) % 256);
        ASSERT_EQ(PixelAt(*images, n, h, w, 1), 100);
        ASSERT_EQ(PixelAt(*images, n, h, w, 2), (255 + 4 * 256 - 32 * h - w) % 256);
      }
    }
  }
}

TEST(Cifar10Test, ABatchIsWholeRecords) {
  const std::string whole = Record(1, 1) + Record(2, 2);
  ExpectInvalid(ReadCifar10(whole.substr(0, whole.size() - 1), "data_batch_1.bin").status(),
                "data_batch_1.bin: is of an unknown kind");
  ExpectInvalid(ReadCifar10(whole.substr(0, whole.size() - 1), "f").status(),
                "6145 bytes are 1 records and 3072 bytes");
  ExpectInvalid(ReadCifar10(whole + "x", "f").status(), "2 records and 1 bytes");
  ExpectInvalid(ReadCifar10("", "f").status(), "f: is empty");
  ExpectInvalid(ReadCifar10("<html>", "f").status(), "web page");
}

TEST(Cifar10Test, ALabelBeyond9IsRefusedWithItsRecord) {
  ExpectInvalid(ReadCifar10(Record(1, 1) + Record(10, 2), "f").status(),
                "f: record 1 (offset 3073) has label 10; CIFAR-10's are 0 to 9");
  ExpectInvalid(ReadCifar10(Record(255, 1), "f").status(), "record 0 (offset 0) has label 255");
}

TEST(Cifar10Test, MoreSamplesThanAllowedAreRefused) {
  DataLimits limits;
  limits.samples = 1;
  EXPECT_TRUE(ReadCifar10(Record(1, 1), "f", limits).ok());
  ExpectError(ReadCifar10(Record(1, 1) + Record(1, 1), "f", limits).status(),
              absl::StatusCode::kInvalidArgument, "the limit is 1 images");
}

TEST(Cifar100Test, TheFineLabelIsTheImages) {
  const std::string bytes = Sample("cifar100.bin");
  const auto images = ReadCifar100(bytes, "f");
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ(images->count, 3);
  ASSERT_EQ(images->height, 32);
  ASSERT_EQ(images->width, 32);
  ASSERT_EQ(images->channels, 3);
  ExpectSamplePixels(*images, 0);
  EXPECT_THAT(images->labels, ElementsAre(99, 0, 42));
}

TEST(Cifar100Test, LabelsBeyondTheirsAreRefusedWithTheirRecord) {
  std::string bytes = Sample("cifar100.bin");
  bytes[3074] = 20;
  ExpectInvalid(ReadCifar100(bytes, "f").status(),
                "f: record 1 (offset 3074) has coarse label 20; CIFAR-100's are 0 to 19");
  bytes[3074] = 19;
  bytes[3075] = 100;
  ExpectInvalid(ReadCifar100(bytes, "f").status(),
                "f: record 1 (offset 3075) has fine label 100; CIFAR-100's are 0 to 99");
  ExpectInvalid(ReadCifar100(bytes.substr(1), "f").status(),
                "a CIFAR-100 batch is whole records of 3074 bytes, but 9221 bytes are 2 records");
}

TEST(CifarTest, TheSizeSaysWhichOfTheTwoAFileIs) {
  EXPECT_EQ(DetectCifar(Record(1, 1)), CifarKind::kCifar10);
  EXPECT_EQ(DetectCifar(Record(200, 1)), CifarKind::kCifar10) << "with a label to be refused";
  EXPECT_EQ(DetectCifar(Sample("cifar100.bin")), CifarKind::kCifar100);
  EXPECT_EQ(DetectCifar(Sample("cifar100.bin") + "x"), CifarKind::kNone);
  EXPECT_EQ(DetectCifar(""), CifarKind::kNone);
  // Of 3074 records of the one and 3073 of the other the labels say it.
  std::string both(size_t{3073} * 3074, '\x05');
  EXPECT_EQ(DetectCifar(both), CifarKind::kCifar10);
  both[size_t{3073} * 3000] = 12;
  EXPECT_EQ(DetectCifar(both), CifarKind::kCifar100);
}

TEST(CifarTest, LabelNamesAreLines) {
  EXPECT_THAT(*ReadLabelNames("airplane\nautomobile\r\nbird\n\n", "f"),
              ElementsAre("airplane", "automobile", "bird"));
  ExpectInvalid(ReadLabelNames("a\n\nb\n", "f").status(), "f: name 1 is \"\"");
  ExpectInvalid(ReadLabelNames("a\nb\na\n", "f").status(), "names 0 and 2 are both \"a\"");
  ExpectInvalid(ReadLabelNames("\n\n", "f").status(), "f: has no names");
  ExpectInvalid(ReadLabelNames("ok\n\xff\xfe", "f").status(), "name 1 is \"\\377\\376\"");
  ExpectInvalid(ReadLabelNames("a\x1b[31m", "f").status(), "control characters");
  ExpectInvalid(ReadLabelNames(std::string(200, 'a'), "f").status(), "(200 bytes)");
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += std::to_string(i) + "\n";
  ExpectInvalid(ReadLabelNames(many, "f").status(), "limit of 16384");
}

}  // namespace
}  // namespace convd
