#include "core/storage/sha256.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

// FIPS 180-4's examples, and from sha256sum(1).
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kMillionA[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256Test, AgreesWithTheStandardsExamples) {
  EXPECT_EQ(Sha256Hex(""), kEmpty);
  EXPECT_EQ(Sha256Hex("abc"), kAbc);
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')), kMillionA);
}

TEST(Sha256Test, PiecesMakeTheSameDigestAsTheWhole) {
  Sha256 digest;
  for (int i = 0; i < 1000; ++i) digest.Update(std::string(1000, 'a'));
  EXPECT_EQ(digest.Hex(), kMillionA);
}

TEST(Sha256Test, BeginsAnewAfterADigest) {
  Sha256 digest;
  digest.Update("xyz");
  digest.Hex();
  digest.Update("a");
  digest.Update("");
  digest.Update("bc");
  EXPECT_EQ(digest.Hex(), kAbc);
  EXPECT_EQ(digest.Hex(), kEmpty);
}

TEST(Sha256Test, HashesNulBytesToo) {
  // printf '\0' | sha256sum
  EXPECT_EQ(Sha256Hex(std::string_view("\0", 1)),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

}  // namespace
}  // namespace convd
