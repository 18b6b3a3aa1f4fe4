#include "client/convctl/bench_text.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace convd {
namespace {

// A thousand calls in two seconds: 1 to 1000 ms, and a few errors.
BenchReport Report(double rate) {
  LoadPlan plan;
  plan.in_flight = 16;
  plan.rate = rate;
  LoadResult result;
  result.measured = absl::Seconds(2);
  for (int i = 1; i <= 1000; ++i) result.latency.Add(absl::Milliseconds(i));
  result.errors = {{absl::StatusCode::kUnavailable, 3}, {absl::StatusCode::kNotFound, 1}};
  BenchReport report = {"convd", "mnist@stable", 8, 2, {}};
  report.loads.push_back({plan, std::move(result)});
  return report;
}

TEST(BenchTextTest, TheTableHasRatesLatenciesAndErrors) {
  BenchReport report = Report(0);
  report.loads[0].result.latency = LatencyHistogram();
  report.loads[0].result.latency.Add(absl::Microseconds(12345));
  EXPECT_EQ(BenchTable(report),
            "IN FLIGHT  CALLS/S  IMAGES/S  P50 MS    P90    P99  P99.9    MAX  ERRORS\n"
            "       16     0.50      4.00   12.35  12.35  12.35  12.35  12.35  NOT_FOUND 1, "
            "UNAVAILABLE 3\n");
}

TEST(BenchTextTest, ALoadWithoutAnswersHasNoLatencies) {
  BenchReport report = Report(250);
  report.loads[0].result.latency = LatencyHistogram();
  report.loads[0].result.errors.clear();
  report.loads[0].result.dropped = 1234;
  EXPECT_EQ(BenchTable(report),
            "RATE  CALLS/S  IMAGES/S  P50 MS  P90  P99  P99.9  MAX  DROPPED  ERRORS\n"
            " 250     0.00      0.00       -    -    -      -    -    1,234  -\n");
}

TEST(BenchTextTest, CsvHasALineOfNamesAndAsManyFields) {
  const std::string text = BenchCsv(Report(250));
  const size_t end = text.find('\n');
  EXPECT_EQ(std::count(text.begin(), text.begin() + end, ','),
            std::count(text.begin() + end, text.end(), ','));
  EXPECT_THAT(text.substr(end + 1),
              ::testing::StartsWith("convd,mnist@stable,8,2,16,250,2.000,1000,500.0,4000.0,"));
  EXPECT_THAT(text, ::testing::EndsWith(",0,NOT_FOUND 1; UNAVAILABLE 3\n"));
}

TEST(BenchTextTest, JsonHasTheSameNumbers) {
  const auto json = nlohmann::json::parse(BenchJson(Report(250)), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["model"], "mnist@stable");
  const auto& load = json["loads"][0];
  EXPECT_EQ(load["rate"], 250);
  EXPECT_EQ(load["calls"], 1000);
  EXPECT_EQ(load["images_per_second"], 4000);
  EXPECT_EQ(load["latency_ms"]["max"], 1000);
  EXPECT_NEAR(load["latency_ms"]["p99"].get<double>(), 990, 4);
  EXPECT_EQ(load["errors"]["UNAVAILABLE"], 3);
  EXPECT_FALSE(load.contains("refusal_ms"));
  BenchReport refused = Report(250);
  refused.loads[0].result.refusals.Add(absl::Milliseconds(3));
  EXPECT_EQ(nlohmann::json::parse(BenchJson(refused))["loads"][0]["refusal_ms"]["max"], 3);
}

}  // namespace
}  // namespace convd
