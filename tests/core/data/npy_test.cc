#include "core/data/npy.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// A file with this header text, and `data` bytes after it.
std::string File(const std::string& text, size_t data, char major = 1) {
  std::string file = "\x93NUMPY";
  file += major;
  file += '\0';
  file += static_cast<char>(text.size() & 0xFF);
  file += static_cast<char>(text.size() >> 8);
  if (major > 1) file.append(2, '\0');
  return file + text + std::string(data, '\0');
}

std::string Dict(const std::string& descr, const std::string& shape,
                 const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

TEST(NpyTest, ReadsTheHeadersThatNumpyWrites) {
  for (const char* name : {"v1.npy", "v2.npy", "v3.npy"}) {
    const std::string bytes = Sample(name);
    const auto header = ParseNpyHeader(bytes, name);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->type.kind, 'u');
    EXPECT_EQ(header->type.bytes, 1);
    EXPECT_FALSE(header->fortran_order);
    EXPECT_THAT(header->shape, ElementsAre(5, 4, 6, 3));
    EXPECT_EQ(header->elements, 360);
    EXPECT_EQ(header->data_offset + 360, bytes.size());
    EXPECT_EQ(NpyElement(*header, bytes.data() + header->data_offset, 359),
              SamplePixel(4, 3, 5, 2));
  }
}

TEST(NpyTest, WritesWhatNumpyWrites) {
  // An array of 5 is "(5,)" in both, and data begins at a multiple of 64.
  const std::string numpys = Sample("i4_vector.npy");
  const std::string ours = NpyFileHeader("<i4", {5});
  EXPECT_EQ(ours, numpys.substr(0, numpys.size() - 20));
  EXPECT_EQ(NpyFileHeader("|u1", {5, 4, 6, 3}), Sample("v1.npy").substr(0, ours.size()));
  for (int64_t n = 1; n < int64_t{1} << 60; n *= 8) {
    EXPECT_EQ(NpyFileHeader("<f4", {n, n, n, n, n}).size() % 64, 0u);
  }
}

TEST(NpyTest, ReadsNumbersOfEveryWidthAndOrder) {
  const auto number = [](const std::string& descr, std::string bytes) {
    const std::string file = File(Dict(descr, "(1,)"), 0) + bytes;
    const auto header = ParseNpyHeader(file, "f");
    EXPECT_TRUE(header.ok()) << header.status();
    return header.ok() ? NpyElement(*header, file.data() + header->data_offset, 0) : -99.0;
  };
  EXPECT_EQ(number("|i1", "\xfe"), -2);
  EXPECT_EQ(number("<i2", "\xfe\xff"), -2);
  EXPECT_EQ(number(">i2", "\xff\xfe"), -2);
  EXPECT_EQ(number("<u2", std::string("\x00\x80", 2)), 32768);
  EXPECT_EQ(number(">i4", std::string("\x00\x01\x00\x02", 4)), 65538);
  EXPECT_EQ(number("<i8", "\xff\xff\xff\xff\xff\xff\xff\xff"), -1);
  EXPECT_EQ(number(">u8", std::string("\0\0\0\1\0\0\0\0", 8)), 4294967296.0);
  EXPECT_EQ(number("<f4", std::string("\x00\x00\xc0\x3f", 4)), 1.5);  // struct.pack("<f", 1.5)
  EXPECT_EQ(number(">f4", std::string("\x3f\xc0\x00\x00", 4)), 1.5);
  EXPECT_EQ(number("<f8", std::string("\0\0\0\0\0\0\x04\xc0", 8)), -2.5);
  EXPECT_EQ(number(">f8", std::string("\xc0\x04\0\0\0\0\0\0", 8)), -2.5);
  EXPECT_EQ(number("<f2", std::string("\x00\xc1", 2)), -2.5);  // struct.pack("<e", -2.5)
  EXPECT_EQ(number(">f2", std::string("\xc1\x00", 2)), -2.5);
  EXPECT_EQ(number("|b1", "\x01"), 1);
}

TEST(NpyTest, TakesTheDictionaryInAnyOrderAndLayout) {
  const std::string file =
      File("{\"shape\":(2,3),\n'fortran_order' : True ,\"descr\":\"<f4\"}", 24);
  const auto header = ParseNpyHeader(file, "f");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_TRUE(header->fortran_order);
  EXPECT_THAT(header->shape, ElementsAre(2, 3));
  // Python 2's long integers, and a single number.
  EXPECT_TRUE(ParseNpyHeader(File(Dict("<f4", "(2L, 3L)"), 24), "f").ok());
  EXPECT_TRUE(ParseNpyHeader(File(Dict("<f4", "()"), 4), "f").ok());
}

TEST(NpyTest, PicklesAndStructuresAreRefusedByName) {
  ExpectInvalid(ParseNpyHeader(File(Dict("|O", "(1,)"), 8), "f").status(),
                "f: holds an array of pickled Python objects (\"|O\")");
  ExpectInvalid(ParseNpyHeader(File(Dict("<U3", "(1,)"), 12), "f").status(), "strings");
  ExpectInvalid(ParseNpyHeader(File(Dict("|V8", "(1,)"), 8), "f").status(), "structures");
  ExpectInvalid(ParseNpyHeader(File(Dict("<M8[ns]", "(1,)"), 8), "f").status(), "times");
  ExpectInvalid(
      ParseNpyHeader(File("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,), }", 4),
                     "f")
          .status(),
      "structures");
}

TEST(NpyTest, HeadersThatMakeNoSenseAreRefusedWithTheOffset) {
  const struct {
    const char* what;
    std::string text;
    const char* words;
  } cases[] = {
      {"nothing", "", "offset 10: want '{'"},
      {"no dictionary", "[1, 2]", "offset 10: want '{'"},
      {"code", "__import__('os').system('true')", "want '{'"},
      {"no end", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "want '}'"},
      {"a key missing", "{'descr': '<f4', 'shape': (1,)}", "want the keys"},
      {"an unknown key", "{'descr': '<f4', 'extra': 1}", "key 'extra' is unknown"},
      {"a key twice", "{'descr': '<f4', 'descr': '<f4'}", "twice"},
      {"a string without end", "{'descr: 1", "no end"},
      {"an escape", "{'descr': '\\x3cf4'", "backslashes"},
      {"a number as order", "{'descr': '<f4', 'fortran_order': 0", "want True or False"},
      {"a negative size", Dict("<f4", "(-1,)"), "want a size"},
      {"a huge size", Dict("<f4", "(99999999999999999999,)"), "want a size"},
      {"an expression", Dict("<f4", "(1+1,)"), "want ')'"},
      {"no tuple", Dict("<f4", "(5)"), "want a comma"},
      {"a list", Dict("<f4", "[5]"), "want '('"},
      {"many dimensions", Dict("<f4", "(1,1,1,1,1,1,1,1,1)"), "at most 8 dimensions"},
      {"more after it", Dict("<f4", "(1,)") + "x", "nothing but spaces"},
      {"an unknown type", Dict("<x4", "(1,)"), "unknown type (\"<x4\")"},
      {"no width", Dict("<f", "(1,)"), "unknown type"},
      {"a width of 0", Dict("<i0", "(1,)"), "unknown type"},
      {"an odd width", Dict("<i3", "(1,)"), "unknown type"},
      {"a huge width", Dict("<i99999999", "(1,)"), "unknown type"},
      {"no type", Dict("", "(1,)"), "unknown type"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    ExpectInvalid(ParseNpyHeader(File(c.text, 4), "f").status(), c.words);
  }
}

TEST(NpyTest, SizesAreBoundedBeforeAnythingIsAllocated) {
  ExpectError(ParseNpyHeader(File(Dict("<f8", "(4611686018427387904,)"), 8), "f").status(),
              absl::StatusCode::kInvalidArgument, "limit");
  ExpectError(ParseNpyHeader(File(Dict("<f8", "(4294967296, 4294967296)"), 0), "f").status(),
              absl::StatusCode::kInvalidArgument, "limit");
  // Elements, not bytes, are none.
  EXPECT_TRUE(ParseNpyHeader(File(Dict("<f8", "(4294967296, 4294967296, 0)"), 0), "f").ok());
  ExpectInvalid(ParseNpyHeader(File(Dict("<f8", "(2,)"), 15), "f").status(), "is cut short");
  ExpectInvalid(ParseNpyHeader(File(Dict("<f8", "(2,)"), 17), "f").status(), "past its end");
  ExpectInvalid(ParseNpyHeader(std::string("\x93NUMPY\2\0\xff\xff\xff\xff{", 13), "f").status(),
                "says its .npy header has 4294967295 bytes");
  ExpectInvalid(ParseNpyHeader(File(Dict("<f8", "(2,)"), 16, 4), "f").status(), "version 4.0");
  ExpectInvalid(ParseNpyHeader("\x93NUMPY", "f").status(), "cut short at offset 6");
  ExpectInvalid(ParseNpyHeader("", "f").status(), "is empty");
}

}  // namespace
}  // namespace convd
