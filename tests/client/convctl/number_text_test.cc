#include "client/convctl/number_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace convd {
namespace {

TEST(NumberTextTest, ThousandsAreSeparated) {
  EXPECT_EQ(Thousands(0), "0");
  EXPECT_EQ(Thousands(999), "999");
  EXPECT_EQ(Thousands(34826), "34,826");
  EXPECT_EQ(Thousands(-1000), "-1,000");
  EXPECT_EQ(Thousands(-999), "-999");
  EXPECT_EQ(Thousands(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NumberTextTest, BytesKeepOneDecimal) {
  EXPECT_EQ(Bytes(0), "0 B");
  EXPECT_EQ(Bytes(1023), "1023 B");
  EXPECT_EQ(Bytes(1536), "1.5 KiB");
  EXPECT_EQ(Bytes(30'878'645), "29.4 MiB");  // the IDX of MNIST, gunzipped part
  EXPECT_EQ(Bytes((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(Bytes(std::numeric_limits<int64_t>::max()), "8.0 EiB");
}

TEST(NumberTextTest, DurationsReadAsPeopleSayThem) {
  EXPECT_EQ(Seconds(4.21), "4.2s");
  EXPECT_EQ(Seconds(9.96), "10s");
  EXPECT_EQ(Seconds(59.6), "1:00");
  EXPECT_EQ(Seconds(75), "1:15");
  EXPECT_EQ(Seconds(3675), "1:01:15");
  EXPECT_EQ(Seconds(-1), "?");
  EXPECT_EQ(Seconds(std::nan("")), "?");
  EXPECT_EQ(Seconds(std::numeric_limits<double>::infinity()), "?");
}

TEST(NumberTextTest, RatesAndFigures) {
  EXPECT_EQ(Rate(12345.6), "12,346");
  EXPECT_EQ(Rate(0.25), "0.25");
  EXPECT_EQ(Rate(1e300), "?");
  EXPECT_EQ(Four(0.87136), "0.8714");
  EXPECT_EQ(Four(-std::nan("")), "nan");
}

TEST(NumberTextTest, AnUnsetTimeIsADash) {
  EXPECT_EQ(LocalTime(google::protobuf::Timestamp()), "-");
}

}  // namespace
}  // namespace convd
