#ifndef CONVD_CLIENT_CONVCTL_NUMBER_TEXT_H_
#define CONVD_CLIENT_CONVCTL_NUMBER_TEXT_H_

#include <cstdint>
#include <string>

#include "google/protobuf/timestamp.pb.h"

namespace convd {

// Numbers as people read them. Any thread may call.

std::string Thousands(int64_t value);  // 34826 -> "34,826"
std::string Bytes(int64_t bytes);      // 1536 -> "1.5 KiB"
std::string Seconds(double seconds);   // 4.21 -> "4.2s", 75 -> "1:15", 3675 -> "1:01:15"
std::string Four(double value);        // 0.87134 -> "0.8713"; not a number -> "nan"
std::string Rate(double per_second);   // 12345.6 -> "12,346"; 0.25 -> "0.25"
// Local time, "2026-11-25 08:14:43"; "-" where it isn't set.
std::string LocalTime(const google::protobuf::Timestamp& time);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_NUMBER_TEXT_H_
