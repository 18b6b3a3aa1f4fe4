#include "client/convctl/bench_text.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/convctl/number_text.h"
#include "client/convctl/table.h"

namespace convd {
namespace {

struct Quantile {
  const char* name;
  double share;
};
constexpr Quantile kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

bool IsOpen(const BenchReport& report) {
  return !report.loads.empty() && report.loads.front().plan.rate > 0;
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

// Three digits or more.
std::string MillisecondsText(absl::Duration duration) {
  const double value = Milliseconds(duration);
  return absl::StrFormat("%.*f", value < 10 ? 3 : value < 100 ? 2 : 1, value);
}

std::string ErrorsText(const LoadResult& result, const char* separator) {
  return absl::StrJoin(result.errors, separator, [](std::string* out, const auto& error) {
    absl::StrAppend(out, absl::StatusCodeToString(error.first), " ", error.second);
  });
}

nlohmann::ordered_json LatencyJson(const LatencyHistogram& latency) {
  nlohmann::ordered_json json;
  for (const Quantile& quantile : kQuantiles) {
    json[quantile.name] = Milliseconds(latency.Quantile(quantile.share));
  }
  json["max"] = Milliseconds(latency.longest());
  return json;
}

}  // namespace

std::string BenchTable(const BenchReport& report) {
  const bool open = IsOpen(report);
  std::vector<Column> columns = {{open ? "RATE" : "IN FLIGHT", Align::kRight},
                                 {"CALLS/S", Align::kRight},
                                 {"IMAGES/S", Align::kRight},
                                 {"P50 MS", Align::kRight},
                                 {"P90", Align::kRight},
                                 {"P99", Align::kRight},
                                 {"P99.9", Align::kRight},
                                 {"MAX", Align::kRight}};
  if (open) columns.push_back({"DROPPED", Align::kRight});
  columns.push_back({"ERRORS"});
  Table table(std::move(columns));
  for (const auto& [plan, result] : report.loads) {
    const bool any = result.latency.count() > 0;
    std::vector<std::string> cells = {
        open ? absl::StrCat(plan.rate) : absl::StrCat(plan.in_flight),
        Rate(result.calls_per_second()),
        Rate(result.calls_per_second() * static_cast<double>(report.images_per_call))};
    for (const Quantile& quantile : kQuantiles) {
      cells.push_back(any ? MillisecondsText(result.latency.Quantile(quantile.share)) : "-");
    }
    cells.push_back(any ? MillisecondsText(result.latency.longest()) : "-");
    if (open) cells.push_back(Thousands(result.dropped));
    cells.push_back(result.errors.empty() ? "-" : ErrorsText(result, ", "));
    table.AddRow(std::move(cells));
  }
  return table.Render();
}

std::string BenchCsv(const BenchReport& report) {
  std::string text =
      "protocol,model,images,connections,in_flight,rate,seconds,calls,calls_per_second,"
      "images_per_second,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms,late_p99_ms,dropped,errors\n";
  for (const auto& [plan, result] : report.loads) {
    // A model's name and label have no commas and quotes.
    absl::StrAppendFormat(&text, "%s,%s,%d,%d,%d,%g,%.3f,%d,%.1f,%.1f", report.protocol,
                          report.model, report.images_per_call, report.connections, plan.in_flight,
                          plan.rate, absl::ToDoubleSeconds(result.measured), result.latency.count(),
                          result.calls_per_second(),
                          result.calls_per_second() * static_cast<double>(report.images_per_call));
    for (const Quantile& quantile : kQuantiles) {
      absl::StrAppendFormat(&text, ",%.3f", Milliseconds(result.latency.Quantile(quantile.share)));
    }
    absl::StrAppendFormat(&text, ",%.3f,%.3f,%d,%s\n", Milliseconds(result.latency.longest()),
                          Milliseconds(result.lateness.Quantile(0.99)), result.dropped,
                          ErrorsText(result, "; "));
  }
  return text;
}

std::string BenchJson(const BenchReport& report) {
  nlohmann::ordered_json document;
  document["protocol"] = report.protocol;
  document["model"] = report.model;
  document["images"] = report.images_per_call;
  document["connections"] = report.connections;
  document["loads"] = nlohmann::ordered_json::array();
  for (const auto& [plan, result] : report.loads) {
    nlohmann::ordered_json load;
    load["in_flight"] = plan.in_flight;
    if (plan.rate > 0) load["rate"] = plan.rate;
    load["seconds"] = absl::ToDoubleSeconds(result.measured);
    load["calls"] = result.latency.count();
    load["calls_per_second"] = result.calls_per_second();
    load["images_per_second"] =
        result.calls_per_second() * static_cast<double>(report.images_per_call);
    load["latency_ms"] = LatencyJson(result.latency);
    if (plan.rate > 0) {
      load["lateness_ms"] = LatencyJson(result.lateness);
      load["dropped"] = result.dropped;
    }
    load["errors"] = nlohmann::ordered_json::object();
    for (const auto& [code, count] : result.errors) {
      load["errors"][absl::StatusCodeToString(code)] = count;
    }
    if (result.refusals.count() > 0) load["refusal_ms"] = LatencyJson(result.refusals);
    document["loads"].push_back(std::move(load));
  }
  return document.dump() + "\n";
}

}  // namespace convd
