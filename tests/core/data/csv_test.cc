#include "core/data/csv.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Fields = std::vector<std::string>;

struct Parsed {
  absl::Status status;
  std::vector<Fields> records;
  std::vector<int64_t> lines;
};

Parsed Parse(const std::string& text) {
  Parsed parsed;
  parsed.status = ReadCsv(text, "f.csv", [&](const CsvRecord& record) {
    parsed.records.push_back(record.fields);
    parsed.lines.push_back(record.line);
    return absl::OkStatus();
  });
  return parsed;
}

TEST(CsvTest, LinesMayEndEitherWayAndTheLastNeedNot) {
  for (const char* text : {"a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r\n1,2",
                           "\xEF\xBB\xBF"
                           "a,b\n1,2",
                           "\na,b\n\n1,2\n\n"}) {
    const Parsed parsed = Parse(text);
    EXPECT_TRUE(parsed.status.ok()) << parsed.status;
    EXPECT_THAT(parsed.records, ElementsAre(Fields{"a", "b"}, Fields{"1", "2"})) << text;
  }
  EXPECT_THAT(Parse("").records, IsEmpty());
}

// The records are what Python's csv.reader makes of the same text.
TEST(CsvTest, QuotedFieldsHoldCommasQuotesAndNewlines) {
  const Parsed parsed =
      Parse("name,\"a,b\"\n\"say \"\"hi\"\"\",\"two\r\nlines\"\n\"\",x\n\"\"\"\",\n last , 1\n");
  EXPECT_TRUE(parsed.status.ok()) << parsed.status;
  EXPECT_THAT(parsed.records,
              ElementsAre(Fields{"name", "a,b"}, Fields{"say \"hi\"", "two\r\nlines"},
                          Fields{"", "x"}, Fields{"\"", ""}, Fields{" last ", " 1"}));
  EXPECT_THAT(parsed.lines, ElementsAre(1, 2, 4, 5, 6));
}

TEST(CsvTest, WhatIsNoCsvIsRefusedByLine) {
  ExpectInvalid(Parse("a,b\n1,2,3\n").status, "f.csv: line 2: has 3 fields; the header has 2");
  ExpectInvalid(Parse("a,b\n1\n").status, "f.csv: line 2: has 1 fields");
  ExpectInvalid(Parse("a,b\n\n1,\"2\n3\n").status, "line 3: has a quote that is never closed");
  ExpectInvalid(Parse("a,b\n1,2\"\n").status, "line 2: has a quote inside a field");
  ExpectInvalid(Parse("a,b\n1,\"2\"x\n").status, "line 2: has something after a closing quote");
  ExpectInvalid(Parse("a,b\r1,2\r").status, "line 1: has a carriage return alone");
  ExpectInvalid(Parse(std::string("\xff\xfe"
                                  "a\0,\0b\0",
                                  8))
                    .status,
                "is no text in UTF-8");
}

TEST(CsvTest, IsBounded) {
  EXPECT_TRUE(Parse(std::string(999, ',')).status.ok());
  ExpectError(Parse(std::string(1000, ',')).status, absl::StatusCode::kInvalidArgument,
              "line 1: has more than 1000 fields");
  EXPECT_TRUE(Parse(std::string(65536, 'x')).status.ok());
  for (const std::string& text : {std::string(65537, 'x'), "\"" + std::string(65537, 'x') + "\"",
                                  "\"" + std::string(65536, 'x') + "\"\"\""}) {
    ExpectError(Parse(text).status, absl::StatusCode::kInvalidArgument,
                "line 1: has a field of more than 65536 bytes");
  }
}

TEST(CsvTest, EndsWithTheTakersError) {
  int taken = 0;
  const absl::Status status = ReadCsv("a\nb\nc\n", "f", [&](const CsvRecord&) {
    return ++taken == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::AbortedError("enough"));
  EXPECT_EQ(taken, 2);
}

}  // namespace
}  // namespace convd
