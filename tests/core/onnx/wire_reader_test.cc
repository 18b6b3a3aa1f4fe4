#include "core/onnx/wire_reader.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const std::string& bytes) {
  WireReader reader(bytes, 100);
  while (!reader.done()) {
    absl::StatusOr<WireReader::Field> field = reader.Next();
    if (field.ok()) continue;
    EXPECT_EQ(field.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(field.status().message());
  }
  return "";
}

// The examples of protobuf.dev/programming-guides/encoding: field 1 = 150, field 2 = "testing".
TEST(WireReaderTest, ReadsTheEncodingGuidesExamples) {
  const std::string bytes = "\x08\x96\x01\x12\x07testing";
  WireReader reader(bytes, 0);
  absl::StatusOr<WireReader::Field> field = reader.Next();
  ASSERT_TRUE(field.ok()) << field.status();
  EXPECT_EQ(field->number, 1u);
  EXPECT_FALSE(field->is_bytes);
  EXPECT_EQ(field->value, 150u);
  field = reader.Next();
  ASSERT_TRUE(field.ok()) << field.status();
  EXPECT_EQ(field->number, 2u);
  EXPECT_TRUE(field->is_bytes);
  EXPECT_EQ(field->bytes, "testing");
  EXPECT_EQ(field->offset, 5u);
  EXPECT_TRUE(reader.done());
}

TEST(WireReaderTest, ReadsFixedSizesLittleEndian) {
  const std::string bytes("\x0d\x04\x03\x02\x01\x09\x08\x07\x06\x05\x04\x03\x02\x01", 14);
  WireReader reader(bytes, 0);
  EXPECT_EQ(reader.Next()->value, 0x01020304u);
  EXPECT_EQ(reader.Next()->value, 0x0102030405060708u);
  EXPECT_TRUE(reader.done());
}

TEST(WireReaderTest, ReadsNegativeNumbers) {
  WireReader reader("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0);
  EXPECT_EQ(static_cast<int64_t>(reader.Next()->value), -1);
}

TEST(WireReaderTest, MalformedBytesAreRefusedWithTheirOffset) {
  EXPECT_THAT(Refusal("\x08"), HasSubstr("offset 101: got the end of the bytes"));
  EXPECT_THAT(Refusal("\x08\x96"), HasSubstr("offset 101: got the end of the bytes"));
  EXPECT_THAT(Refusal("\x12\x08testing"), HasSubstr("got a field of 8 bytes where 7 are left"));
  EXPECT_THAT(Refusal("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
              HasSubstr("got a field of 18446744073709551615 bytes where 0 are left"));
  EXPECT_THAT(Refusal("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
              HasSubstr("more than ten bytes"));
  EXPECT_THAT(Refusal("\x09\x01\x02"), HasSubstr("8 bytes where 2 are left"));
  EXPECT_THAT(Refusal(std::string("\x02\x00", 2)), HasSubstr("offset 100: got a field number"));
  EXPECT_THAT(Refusal("\x0b"), HasSubstr("unknown wire type"));  // a group
  EXPECT_THAT(Refusal("\x0f"), HasSubstr("unknown wire type"));
}

}  // namespace
}  // namespace convd
