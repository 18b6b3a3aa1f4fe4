#include "server/json_log_lines.h"

#include <spdlog/details/log_msg.h>

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/json_text.h"

namespace convd {
namespace {

class JsonLogLines final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    std::string line = "{\"time\":\"";
    line += absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(message.time),
                             absl::UTCTimeZone());
    line += "\",\"level\":\"";
    const auto level = spdlog::level::to_string_view(message.level);
    line.append(level.data(), level.size());
    line += "\",\"message\":";
    AppendJsonString(std::string_view(message.payload.data(), message.payload.size()), line);
    line += "}\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return NewJsonLogLines(); }
};

}  // namespace

std::unique_ptr<spdlog::formatter> NewJsonLogLines() { return std::make_unique<JsonLogLines>(); }

}  // namespace convd
