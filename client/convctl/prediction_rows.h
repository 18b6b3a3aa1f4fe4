#ifndef CONVD_CLIENT_CONVCTL_PREDICTION_ROWS_H_
#define CONVD_CLIENT_CONVCTL_PREDICTION_ROWS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "convd/v1/predictor.pb.h"

// What `predict` writes of many images, one a row: as CSV and as JSON lines. docs/convctl.md says
// how. Any thread may call.

namespace convd {

// An image with what became of it.
struct ScoredImage {
  std::string file;    // as it is named here, any bytes; empty where it has an index
  int64_t index = 0;   // in its dataset or file
  int32_t label = -1;  // its true class; -1 where it isn't known
  v1::Prediction prediction;
  std::string error;  // instead of a prediction
};

// One cell as RFC 4180 has it: quoted where it needs to be.
std::string CsvCell(std::string_view text);
// The same for text that others chose: what spreadsheets would take for a formula (=, +, -, @ or a
// control character at the beginning, and no number) gets an apostrophe before it.
std::string CsvText(std::string_view text);

// "image,label,class,probability,error" and, with probabilities, the classes; CRLF ends each line.
std::string CsvHeader(const std::vector<std::string>& classes, bool probabilities);
std::string CsvRow(const ScoredImage& image, const std::vector<std::string>& classes,
                   bool probabilities);

// {"image":0,"label":"boot","top":[{"class":"boot","probability":0.9}]} and a newline. Of a file
// "file" instead, and "file_base64" where its name is no UTF-8; "error" instead of "top".
std::string JsonRow(const ScoredImage& image, const std::vector<std::string>& classes);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_PREDICTION_ROWS_H_
