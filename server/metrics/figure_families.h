#ifndef CONVD_SERVER_METRICS_FIGURE_FAMILIES_H_
#define CONVD_SERVER_METRICS_FIGURE_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <vector>

#include "server/metrics/server_figures.h"

namespace convd {

// The figures as Prometheus has them.
std::vector<prometheus::MetricFamily> FigureFamilies(const ServerFigures& figures);

// What the system knows of this process, under Prometheus's usual names.
std::vector<prometheus::MetricFamily> ProcessFamilies();

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_FIGURE_FAMILIES_H_
