#include "client/convctl/whole_number.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace convd {
namespace {

// What the command line makes of "--n TEXT": the value, or what is wrong with it.
template <typename T>
struct Parsed {
  std::optional<T> value;
  std::string error;
};

template <typename T>
Parsed<T> Parse(const std::string& text, int64_t least = std::numeric_limits<int64_t>::min()) {
  CLI::App app;
  Parsed<T> parsed;
  app.add_option("--n", parsed.value)->check(WholeNumber<T>(least));
  try {
    app.parse("--n=" + text);
  } catch (const CLI::ParseError& error) {
    parsed.value.reset();
    parsed.error = error.what();
  }
  return parsed;
}

TEST(WholeNumberTest, TakesAllThatFits) {
  EXPECT_EQ(Parse<uint64_t>("18446744073709551615", 0).value, UINT64_MAX);
  EXPECT_EQ(Parse<uint64_t>("0", 0).value, 0u);
  EXPECT_EQ(Parse<int64_t>("-9223372036854775808").value, INT64_MIN);
  EXPECT_EQ(Parse<int64_t>("9223372036854775807").value, INT64_MAX);
  EXPECT_EQ(Parse<int32_t>("2147483647").value, INT32_MAX);
}

// CLI11 would take the nearest number, or wrap around, and train with a seed nobody asked for.
TEST(WholeNumberTest, RefusesWhatDoesNotFitAndSaysWhatWould) {
  EXPECT_EQ(Parse<uint64_t>("-1", 0).error,
            "--n: got \"-1\"; want a whole number, 0 to 18446744073709551615");
  EXPECT_FALSE(Parse<uint64_t>("18446744073709551616", 0).value.has_value());
  EXPECT_EQ(Parse<int64_t>("99999999999999999999").error,
            "--n: got \"99999999999999999999\"; want a whole number, -9223372036854775808 to "
            "9223372036854775807");
  EXPECT_FALSE(Parse<int32_t>("2147483648").value.has_value());
  EXPECT_FALSE(Parse<int64_t>("-1", 0).value.has_value());
}

TEST(WholeNumberTest, RefusesWhatIsNoWholeNumber) {
  for (const char* text : {"", "x", "1.5", "1e3", "1 2", "+-1", "0x10", "nan"}) {
    EXPECT_FALSE(Parse<int64_t>(text).value.has_value()) << text;
    EXPECT_FALSE(Parse<uint64_t>(text, 0).value.has_value()) << text;
  }
}

}  // namespace
}  // namespace convd
