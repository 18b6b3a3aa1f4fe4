#include "client/convctl/dataset_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::PixelStatistics Trained(double mean, double deviation, double border) {
  v1::PixelStatistics pixels;
  pixels.add_mean(mean);
  pixels.add_deviation(deviation);
  pixels.add_border_mean(border);
  return pixels;
}

PixelStatistics Images(double border) { return {{120}, {60}, {border}}; }

v1::GetSamplesResponse Sample(const std::string& pixels, int label) {
  v1::GetSamplesResponse answer;
  v1::RawImages& raw = *answer.mutable_images()->mutable_uint8();
  raw.set_count(1);
  raw.set_height(2);
  raw.set_width(4);
  raw.set_channels(1);
  raw.set_data(pixels);
  answer.add_labels(label);
  return answer;
}

TEST(DatasetTextTest, ValuesAreOneAChannelOrADash) {
  EXPECT_EQ(ChannelValues(v1::PixelStatistics().mean()), "-");
  v1::PixelStatistics pixels = Trained(125.32, 0, 0);
  EXPECT_EQ(ChannelValues(pixels.mean()), "125.3");
  pixels.add_mean(0.4914);
  EXPECT_EQ(ChannelValues(pixels.mean()), "125.3 / 0.491");
}

TEST(DatasetTextTest, SamplesStandOverTheirClassesInRows) {
  v1::Dataset dataset;
  dataset.add_labels("cat");
  dataset.add_labels("a long name");
  const std::string white(8, '\xff'), black(8, '\0');
  const std::vector<v1::GetSamplesResponse> answers = {Sample(white, 0), Sample(black, 1),
                                                       Sample(white, 2)};
  Terminal plain;
  plain.colors = Colors::kNone;
  EXPECT_EQ(DrawSamples(answers, dataset, plain, 80), "@@@@        @@@@\ncat   a lo  2   \n");
  EXPECT_EQ(DrawSamples(answers, dataset, plain, 10), "@@@@      \ncat   a lo\n\n@@@@\n2   \n");
  EXPECT_EQ(DrawSamples(answers, dataset, plain, 1), "@@@@\ncat \n\n    \na lo\n\n@@@@\n2   \n");
}

TEST(DatasetTextTest, SamplesThatMakeNoSenseArentDrawn) {
  v1::GetSamplesResponse cut_short = Sample("short", 0);
  v1::GetSamplesResponse none;
  EXPECT_THAT(DrawSamples({cut_short, none}, v1::Dataset(), Terminal(), 80), IsEmpty());
}

TEST(DatasetTextTest, ANegativeIsNoticedEitherWay) {
  EXPECT_EQ(BackgroundWarning({Images(250)}, Trained(33, 79, 0.4)),
            "the images' background is light (mean of the border 250 of 255), that of what the "
            "model was trained on dark (0): the answers mean little unless the images are "
            "inverted");
  EXPECT_THAT(BackgroundWarning({Images(3), Images(5)}, Trained(220, 60, 254)),
              HasSubstr("background is dark (mean of the border 4 of 255), that of what the model "
                        "was trained on light (254)"));
}

TEST(DatasetTextTest, WhatIsAlikeOrInBetweenOrUnknownIsNoNegative) {
  EXPECT_EQ(BackgroundWarning({Images(20)}, Trained(33, 79, 0.4)), "");
  EXPECT_EQ(BackgroundWarning({Images(160)}, Trained(33, 79, 0.4)), "");
  EXPECT_EQ(BackgroundWarning({Images(250)}, Trained(125, 60, 120)), "");
  EXPECT_EQ(BackgroundWarning({Images(250), Images(4)}, Trained(33, 79, 0.4)), "");
  EXPECT_EQ(BackgroundWarning({Images(250)}, v1::PixelStatistics()), "");
  EXPECT_EQ(BackgroundWarning({}, Trained(33, 79, 0.4)), "");
  // Trained on pixels of 0 to 1, where a white border is a 1.
  EXPECT_EQ(BackgroundWarning({Images(250)}, Trained(0.5, 0.3, 0.9)), "");
}

TEST(UploadsTableTest, SaysHowFarEachHasCome) {
  std::vector<v1::Upload> uploads(3);
  for (v1::Upload& upload : uploads) {
    upload.mutable_header()->set_name("scans");
    v1::UploadedFile file;
    file.set_size_bytes(1024);
    *upload.add_files() = file;
    *upload.add_files() = file;
  }
  uploads[0].mutable_header()->set_upload_id("a");
  uploads[1].mutable_header()->set_upload_id("b\x1b");
  uploads[1].set_open(true);
  uploads[2].mutable_header()->set_upload_id("c");
  uploads[2].set_open(true);
  uploads[2].set_being_read(true);
  uploads[2].clear_files();
  EXPECT_EQ(UploadsTable(uploads),
            "UPLOAD  DATASET     SENT  LAST USED  STATE\n"
            "a       scans    2.0 KiB  -          broken off\n"
            "b\\x1b   scans    2.0 KiB  -          being sent\n"
            "c       scans          -  -          being read\n");
}

}  // namespace
}  // namespace convd
