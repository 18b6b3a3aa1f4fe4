#include "client/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convd {
namespace {

TEST(AddressTest, TakesHostsWithPortsAndSockets) {
  for (const char* address :
       {"127.0.0.1:8081", "localhost:1", "[::1]:65535", "a.example:443", "unix:/run/convd.sock"}) {
    EXPECT_TRUE(CheckServerAddress(address).ok()) << address;
  }
}

TEST(AddressTest, RefusesTheRestAndSaysWhatIsRight) {
  for (const std::string& address :
       {std::string(""), std::string("localhost"), std::string(":8081"), std::string("a:"),
        std::string("a:0"), std::string("a:65536"), std::string("a:-1"), std::string("a: 1"),
        std::string("a:+1"), std::string("a:99999999999999999999"), std::string("::1:8081"),
        std::string("http://a:1"), std::string("a b:1"), std::string("a\0b:1", 5),
        std::string("unix:"), std::string("[]:1")}) {
    const absl::Status status = CheckServerAddress(address);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("write HOST:PORT")) << address;
  }
}

TEST(AddressTest, ATokenGoesBeyondThisMachineEncryptedOrByOrderOnly) {
  for (const char* address :
       {"127.0.0.1:8081", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(CheckTokenMayBeSent(address, false, false).ok()) << address;
  }
  for (const char* address :
       {"a.example:443", "10.0.0.1:1", "[::2]:1", "127.0.0.1.example:1", "localhost.example:1",
        "0.0.0.0:1", "[::ffff:127.0.0.1]:1", "2130706433:1"}) {
    const absl::Status status = CheckTokenMayBeSent(address, false, false);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("--insecure-token")) << address;
    EXPECT_TRUE(CheckTokenMayBeSent(address, true, false).ok());
    EXPECT_TRUE(CheckTokenMayBeSent(std::string("https://") + address, false, false).ok());
    EXPECT_TRUE(CheckTokenMayBeSent(address, false, true).ok());
  }
}

}  // namespace
}  // namespace convd
