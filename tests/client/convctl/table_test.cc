#include "client/convctl/table.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

TEST(TableTest, AlignsColumnsToTheirWidestCell) {
  Table table({{"NAME"}, {"SAMPLES", Align::kRight}, {"NOTE"}});
  table.AddRow({"mnist", "60,000", ""});
  table.AddRow({"fashion-mnist", "7", "small"});
  EXPECT_EQ(table.Render(),
            "NAME           SAMPLES  NOTE\n"
            "mnist           60,000\n"
            "fashion-mnist        7  small\n");
}

TEST(TableTest, CountsColumnsOfTheTerminalNotBytes) {
  Table table({{"CLASS"}, {"N", Align::kRight}});
  table.AddRow({"ботинок", "1"});         // 7 columns, 14 bytes
  table.AddRow({"靴", "2"});              // 2 columns, 3 bytes
  table.AddRow({"e\u0301t\u00e9", "3"});  // 3 columns: a combining accent takes none
  EXPECT_EQ(table.Render(),
            "CLASS    N\n"
            "ботинок  1\n"
            "靴       2\n"
            "e\u0301t\u00e9      3\n");
}

TEST(TableTest, CellsCannotSteerTheTerminal) {
  Table table({{"NAME"}});
  table.AddRow({"a\x1b[2Jb\nc"});
  EXPECT_EQ(table.Render(), "NAME\na\\x1b[2Jb\\x0ac\n");
}

TEST(FieldListTest, PadsNames) {
  FieldList fields;
  fields.Add("Name", "mnist");
  fields.Add("SHA-256", "ab");
  EXPECT_EQ(fields.Render(), "Name     mnist\nSHA-256  ab\n");
}

}  // namespace
}  // namespace convd
