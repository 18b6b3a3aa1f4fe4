#ifndef CONVD_CORE_DATA_NUMBERS_H_
#define CONVD_CORE_DATA_NUMBERS_H_

#include <cstdint>
#include <string>

namespace convd {

// How one number lies in a file: the kind is NumPy's ('b' bool, 'i', 'u', 'f', 'c' complex).
struct NumberType {
  char kind = 0;
  int bytes = 0;
  bool big_endian = false;

  // NumPy's name: "uint8", "float64", ...
  std::string Text() const;
};

// Whether NumberAt reads the type: bool, integers of 1, 2, 4 and 8 bytes, floats of 2, 4 and 8.
bool IsReadNumber(const NumberType& type);

// The number at `at`, which need not be aligned. A bool is 1 where its byte isn't 0, as in NumPy;
// integers beyond 2^53 are rounded. REQUIRES: IsReadNumber(type). Any thread may call.
double NumberAt(const NumberType& type, const char* at);

// "-1", "2147483647", "1.5", "1e+300": for messages. Any thread may call.
std::string NumberText(double value);

}  // namespace convd

#endif  // CONVD_CORE_DATA_NUMBERS_H_
