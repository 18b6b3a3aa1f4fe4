#ifndef CONVD_SERVER_JSON_LOG_LINES_H_
#define CONVD_SERVER_JSON_LOG_LINES_H_

#include <spdlog/formatter.h>

#include <memory>

namespace convd {

// Each message as a line of JSON:
// {"time":"2026-01-31T23:59:59.000Z","level":"info","message":"..."}.
std::unique_ptr<spdlog::formatter> NewJsonLogLines();

}  // namespace convd

#endif  // CONVD_SERVER_JSON_LOG_LINES_H_
