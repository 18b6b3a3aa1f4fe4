#include "client/convctl/precision_flag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace convd {
namespace {

using ::testing::HasSubstr;

// The error's words; none where it was taken.
std::string Parse(CLI::App& app, const std::string& arguments) {
  try {
    app.parse(arguments);
    return "";
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
}

TEST(PrecisionFlagTest, TakesEachByItsName) {
  for (const auto& [name, meant] :
       {std::pair{"f32", v1::PRECISION_F32}, std::pair{"bf16", v1::PRECISION_BF16},
        std::pair{"int8", v1::PRECISION_INT8}}) {
    CLI::App app;
    v1::Precision precision = v1::PRECISION_UNSPECIFIED;
    AddPrecisionFlag(app, precision);
    EXPECT_EQ(Parse(app, std::string("--precision ") + name), "");
    EXPECT_EQ(precision, meant);
  }
}

TEST(PrecisionFlagTest, IsTheServersChoiceWhereItIsNotGiven) {
  CLI::App app;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
  AddPrecisionFlag(app, precision);
  EXPECT_EQ(Parse(app, ""), "");
  EXPECT_EQ(precision, v1::PRECISION_UNSPECIFIED);
}

TEST(PrecisionFlagTest, SaysWhatWouldBeRight) {
  for (const std::string word : {"int8", "fp16", "F32", "2", "bf16,f32"}) {
    CLI::App app;
    v1::Precision precision = v1::PRECISION_UNSPECIFIED;
    AddPrecisionFlag(app, "--precision", {v1::PRECISION_F32, v1::PRECISION_BF16}, "In", precision);
    const std::string error = Parse(app, "--precision " + word);
    EXPECT_THAT(error, HasSubstr("--precision"));
    EXPECT_THAT(error, HasSubstr("got \"" + word + "\"; want one of f32, bf16"));
    EXPECT_EQ(precision, v1::PRECISION_UNSPECIFIED);
  }
}

}  // namespace
}  // namespace convd
