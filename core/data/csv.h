#ifndef CONVD_CORE_DATA_CSV_H_
#define CONVD_CORE_DATA_CSV_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace convd {

// One record of a CSV file and the line (from 1) on which it begins.
struct CsvRecord {
  int64_t line = 0;
  std::vector<std::string> fields;
};

// Hands over one record after another (RFC 4180: quoted fields may hold commas, newlines and
// doubled quotes); the first is the header. Lines end in CRLF or LF; a byte order mark and empty
// lines are skipped. Ends with the first error that `take` returns.
//
// INVALID_ARGUMENT, with `name` and the line, where a quote is out of place or open at the end, a
// record has another number of fields than the header, more than 1,000 of them or one of more than
// 64 KiB, or the file isn't text. Any thread may call.
absl::Status ReadCsv(std::string_view bytes, const std::string& name,
                     absl::FunctionRef<absl::Status(const CsvRecord&)> take);

}  // namespace convd

#endif  // CONVD_CORE_DATA_CSV_H_
