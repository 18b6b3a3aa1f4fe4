#include "client/convctl/prediction_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace convd {
namespace {

using ::nlohmann::json;

ScoredImage Boot() {
  ScoredImage image;
  image.index = 7;
  image.label = 1;
  v1::ClassScore& best = *image.prediction.add_top();
  best.set_index(1);
  best.set_label("boot");
  best.set_probability(0.9f);
  image.prediction.add_probabilities(0.1f);
  image.prediction.add_probabilities(0.9f);
  return image;
}

const std::vector<std::string> kClasses = {"hat, black", "boot"};

TEST(PredictionRows, CsvHasAHeadingAndQuotesWhatNeedsIt) {
  EXPECT_EQ(CsvHeader(kClasses, false), "image,label,class,probability,error\r\n");
  EXPECT_EQ(CsvHeader(kClasses, true),
            "image,label,class,probability,error,\"hat, black\",boot\r\n");
  EXPECT_EQ(CsvRow(Boot(), kClasses, false), "7,boot,boot,0.899999976,\r\n");
  EXPECT_EQ(CsvRow(Boot(), kClasses, true), "7,boot,boot,0.899999976,,0.100000001,0.899999976\r\n");
  ScoredImage file = Boot();
  file.file = "d/a \"b\",\nc\xff.png";
  file.label = -1;
  EXPECT_EQ(CsvRow(file, kClasses, false), "\"d/a \"\"b\"\",\nc\xff.png\",,boot,0.899999976,\r\n");
  file.error = "no PNG, no JPEG";
  EXPECT_EQ(CsvRow(file, kClasses, true),
            "\"d/a \"\"b\"\",\nc\xff.png\",,,,\"no PNG, no JPEG\",,\r\n");
}

TEST(PredictionRows, NoCellOfOthersIsAFormula) {
  EXPECT_EQ(CsvText("=1+1"), "'=1+1");
  EXPECT_EQ(CsvText("@SUM(A1,A2)"), "\"'@SUM(A1,A2)\"");
  EXPECT_EQ(CsvText("+cmd"), "'+cmd");
  EXPECT_EQ(CsvText("\t=1"), "\"'\t=1\"");
  EXPECT_EQ(CsvText("-12.5"), "-12.5") << "a number is one";
  EXPECT_EQ(CsvText("a=b"), "a=b");
  EXPECT_EQ(CsvText("a;=b"), "\"a;=b\"");
}

TEST(PredictionRows, JsonLinesAreJsonWhateverTheName) {
  const json numbered = json::parse(JsonRow(Boot(), kClasses));
  EXPECT_EQ(numbered["image"], 7);
  EXPECT_EQ(numbered["label"], "boot");
  EXPECT_EQ(numbered["top"][0]["class"], "boot");
  EXPECT_EQ(numbered["probabilities"][1].get<float>(), 0.9f);
  ScoredImage file = Boot();
  file.file = "a\"\\\n\x7f\xff\xc3\xa9.png";
  file.error = "is broken";
  const std::string line = JsonRow(file, kClasses);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const json named = json::parse(line);
  EXPECT_EQ(named["file"], "a\"\\\n\x7f\xef\xbf\xbd\xc3\xa9.png");
  EXPECT_EQ(named["file_base64"], "YSJcCn//w6kucG5n");  // base64(1)
  EXPECT_EQ(named["error"], "is broken");
  EXPECT_FALSE(named.contains("top"));
}

}  // namespace
}  // namespace convd
