#include "server/auth/tokens_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/auth/token.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "abc" and of nothing, from FIPS 180-4's examples.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string ErrorOf(const std::string& text) {
  return std::string(ParseTokensFile(text).status().message());
}

TEST(TokensFileTest, ReadsEntriesCommentsAndLimits) {
  const auto entries =
      ParseTokensFile("# who may what\n\n ci\tpredict,train " + std::string(kAbc) +
                      " rate=2.5 concurrent=3  # the builder\r\nboard read cert\n");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  const TokenEntry& ci = (*entries)[0];
  EXPECT_EQ(ci.name, "ci");
  EXPECT_EQ(ToString(ci.scopes), "predict,train");
  EXPECT_TRUE(SameHash(ci.sha256, HashToken("abc")));
  EXPECT_EQ(ci.rate, 2.5);
  EXPECT_EQ(ci.concurrent, 3);
  EXPECT_EQ(ci.line, 3);
  EXPECT_EQ((*entries)[1].sha256, "");
  EXPECT_FALSE((*entries)[1].rate.has_value());
}

TEST(TokensFileTest, NoScopeImpliesAnother) {
  const auto admin = ParseScopes("admin");
  ASSERT_TRUE(admin.ok());
  EXPECT_FALSE(admin->Has(Scope::kRead));
  EXPECT_TRUE(admin->Has(Scope::kNone));
  EXPECT_EQ(ToString(ScopeSet::All()), "read,predict,train,admin");
}

TEST(TokensFileTest, NamesTheLineAndWhatIsWrong) {
  const std::string abc(kAbc);
  EXPECT_THAT(ErrorOf("\nci predict"), HasSubstr("line 2: has 2 words"));
  EXPECT_THAT(ErrorOf("ci root " + abc), HasSubstr("want some of read, predict, train and admin"));
  EXPECT_THAT(ErrorOf("ci read,read " + abc), HasSubstr("each once"));
  EXPECT_THAT(ErrorOf("c\x01i read " + abc), HasSubstr("line 1: name: got \"c\\x01i\""));
  EXPECT_THAT(ErrorOf("ci read " + abc + " rate=-1"), HasSubstr("rate: got \"-1\""));
  EXPECT_THAT(ErrorOf("ci read " + abc + " rate=nan"), HasSubstr("rate: got"));
  EXPECT_THAT(ErrorOf("ci read " + abc + " concurrent=2 concurrent=2"), HasSubstr("each once"));
  EXPECT_THAT(ErrorOf("ci read " + abc + "\nbo read " + abc),
              HasSubstr("line 2: is the token of line 1 again"));
  EXPECT_THAT(ErrorOf("ci read " + abc + " rate=1\nci read " + kNothing),
              HasSubstr("line 2: \"ci\" has other limits on line 1"));
  // Somebody put the token itself there; what is logged must not give it away.
  EXPECT_THAT(ErrorOf("ci read SECRETsecretSECRET"),
              AllOf(HasSubstr("no SHA-256"), Not(HasSubstr("SECRET"))));
}

TEST(TokensFileTest, ANewTokensLineIsRead) {
  const auto token = NewToken();
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->size(), 43u);
  EXPECT_NE(*token, *NewToken());
  ScopeSet scopes;
  scopes.Add(Scope::kTrain);
  const auto entries = ParseTokensFile(TokensFileLine("ci", scopes, HashToken(*token)));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_TRUE(SameHash((*entries)[0].sha256, HashToken(*token)));
  EXPECT_FALSE(SameHash("", ""));
}

}  // namespace
}  // namespace convd
