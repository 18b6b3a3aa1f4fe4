#include "core/nn/network_text.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

void ExpectRefused(const std::string& text, const std::string& start, const std::string& what) {
  absl::StatusOr<v1::Network> network = ParseNetwork(text, "net.textproto");
  ASSERT_FALSE(network.ok());
  EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(network.status().message()), AllOf(StartsWith(start), HasSubstr(what)));
}

TEST(NetworkTextTest, ReadsANetwork) {
  absl::StatusOr<v1::Network> network = ParseNetwork(
      "# a comment\nname: \"x\"\nlayers { conv { filters: 3 kernel: [1, 2] } }", "net.textproto");
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->name(), "x");
  EXPECT_EQ(network->layers(0).conv().kernel(1), 2);
}

TEST(NetworkTextTest, ErrorsSayWhere) {
  ExpectRefused("name: \"x\"\nlayers { konv {} }", "net.textproto:2:15: ", "konv");
  ExpectRefused("layers {\n  conv { filters: many }\n}", "net.textproto:2:19: ", "many");
  ExpectRefused("layers {\n  conv { activation: RELU }\n}", "net.textproto:2:27: ", "RELU");
  ExpectRefused("layers {\n  conv { filters: 1 }", "net.textproto:2:", "");
  ExpectRefused("layers { conv { filters: 99999999999 } }", "net.textproto:1:26: ", "");
  ExpectRefused("layers { conv { filters: 1 } flatten {} }", "net.textproto:1:", "flatten");
}

TEST(NetworkTextTest, HostileTextIsRefused) {
  ExpectRefused(std::string(kMaxNetworkText + 1, ' '), "net.textproto: got 1048577 bytes",
                "want at most 1048576");
  ExpectRefused(std::string(500000, '{'), "net.textproto:1:", "");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "layers{";
  ExpectRefused(deep, "net.textproto:1:", "");
  ExpectRefused(std::string("name: \"\0\xff", 9), "net.textproto:1:", "");
  ExpectRefused(std::string("\x7f"
                            "ELF\0\0",
                            6),
                "net.textproto:1:", "");
  ExpectRefused("[type.googleapis.com/convd.v1.Layer] {}", "net.textproto:1:", "");
}

TEST(NetworkTextTest, QuotedTextIsShortAndPrintable) {
  absl::StatusOr<v1::Network> network =
      ParseNetwork("name: \"x\"\n" + std::string(100000, 'a') + ": 1", "net.textproto");
  ASSERT_FALSE(network.ok());
  EXPECT_LT(network.status().message().size(), 400u);
  network = ParseNetwork("nam\xff\xfe\x01: 1", "net.textproto");
  ASSERT_FALSE(network.ok());
  for (char c : network.status().message()) EXPECT_TRUE(c >= ' ' && c <= '~');
}

}  // namespace
}  // namespace convd
