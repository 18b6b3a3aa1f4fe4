#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment = {
                                      {"HOME", "/home/u"}}) {
  return ParseCommandLine(arguments, [&](std::string_view name) {
    const auto it = environment.find(std::string(name));
    return it == environment.end() ? "" : it->second;
  });
}

TEST(ConfigTest, NoFlagsGiveTheDocumentedDefaults) {
  const auto command = Parse({});
  ASSERT_TRUE(command.ok()) << command.status();
  const Config& config = command->config;
  EXPECT_EQ(config.grpc_address, "127.0.0.1:8081");
  EXPECT_EQ(config.http_address, "127.0.0.1:8080");
  EXPECT_EQ(config.state_dir, "/home/u/.local/state/convd");
  EXPECT_THAT(config.data_dirs, IsEmpty());
  EXPECT_EQ(config.cpus, 0);
  EXPECT_EQ(config.isa, "");
  EXPECT_EQ(config.concurrent_jobs, 1);
  EXPECT_EQ(config.max_state_bytes, 0);
  EXPECT_EQ(config.drain, absl::Seconds(10));
  EXPECT_EQ(config.max_message_mb, 64);
  EXPECT_EQ(config.max_batch, 0);
  EXPECT_EQ(config.batch_delay, absl::ZeroDuration());
  EXPECT_EQ(config.train_share, 10);
  EXPECT_EQ(config.log_level, "info");
  EXPECT_EQ(config.nice, 5);
  EXPECT_FALSE(config.insecure);
  EXPECT_THAT(command->text, IsEmpty());
}

TEST(ConfigTest, EveryFlagIsTaken) {
  const auto command = Parse({"--grpc-address",
                              "0.0.0.0:0",
                              "--insecure",
                              "--state=/s",
                              "--data-dir",
                              "/a",
                              "--data-dir",
                              "/b",
                              "--cpus",
                              "3",
                              "--isa",
                              "avx2",
                              "--concurrent-jobs",
                              "2",
                              "--drain-seconds",
                              "30",
                              "--max-message-mb",
                              "2047",
                              "--max-batch",
                              "8",
                              "--batch-delay-ms",
                              "2",
                              "--max-queue-ms",
                              "250",
                              "--train-share",
                              "25",
                              "--log-level",
                              "debug",
                              "--nice",
                              "0"});
  ASSERT_TRUE(command.ok()) << command.status();
  const Config& config = command->config;
  EXPECT_EQ(config.grpc_address, "0.0.0.0:0");
  EXPECT_TRUE(config.insecure);
  EXPECT_EQ(config.state_dir, "/s");
  EXPECT_THAT(config.data_dirs, ElementsAre("/a", "/b"));
  EXPECT_EQ(config.cpus, 3);
  EXPECT_EQ(config.isa, "avx2");
  EXPECT_EQ(config.concurrent_jobs, 2);
  EXPECT_EQ(config.drain, absl::Seconds(30));
  EXPECT_EQ(config.max_message_mb, 2047);
  EXPECT_EQ(config.max_batch, 8);
  EXPECT_EQ(config.batch_delay, absl::Milliseconds(2));
  EXPECT_EQ(config.max_queue_wait, absl::Milliseconds(250));
  EXPECT_EQ(config.train_share, 25);
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(config.nice, 0);
}

TEST(ConfigTest, EncryptionWithTokensOrCertificatesNeedsNoInsecure) {
  const auto with = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"--grpc-address", "0.0.0.0:1", "--tls-cert", "c",
                                          "--tls-key",      "k",         "--state",    "s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Parse(arguments);
  };
  const auto tokens = with({"--tokens", "t", "--max-rate", "2.5", "--max-concurrent-calls", "8",
                            "--audit-log", "a", "--log-format", "json"});
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->config.tokens, "t");
  EXPECT_EQ(tokens->config.tls_cert, "c");
  EXPECT_EQ(tokens->config.tls_key, "k");
  EXPECT_EQ(tokens->config.max_rate, 2.5);
  EXPECT_EQ(tokens->config.max_concurrent_calls, 8);
  EXPECT_EQ(tokens->config.audit_log, "a");
  EXPECT_EQ(tokens->config.log_format, "json");
  EXPECT_FALSE(tokens->new_token.has_value());
  EXPECT_EQ(with({"--tls-client-ca", "ca"})->config.tls_client_ca, "ca");
}

TEST(ConfigTest, ATokenIsMadeOfANameAndScopes) {
  const auto command = Parse({"token", "ci", "--scopes", "train,predict"}, {});
  ASSERT_TRUE(command.ok()) << command.status();
  ASSERT_TRUE(command->new_token.has_value());
  EXPECT_EQ(command->new_token->name, "ci");
  EXPECT_EQ(ToString(command->new_token->scopes), "predict,train");
}

TEST(ConfigTest, HttpHasAnAddressOfItsOwnOrNone) {
  EXPECT_EQ(Parse({"--http-address", "[::1]:0"})->config.http_address, "[::1]:0");
  EXPECT_EQ(Parse({"--http-address", "off"})->config.http_address, "");
  EXPECT_EQ(Parse({"--http-address", ""})->config.http_address, "");
  EXPECT_EQ(Parse({"--http-address", "0.0.0.0:1", "--insecure"})->config.http_address, "0.0.0.0:1");
  EXPECT_TRUE(
      Parse({"--http-address", "0.0.0.0:1", "--tls-cert", "c", "--tls-key", "k", "--tokens", "t"})
          .ok());
}

TEST(ConfigTest, BytesMayHaveAUnit) {
  const auto bytes = [](const std::string& text) {
    return Parse({"--max-state-bytes", text})->config.max_state_bytes;
  };
  EXPECT_EQ(bytes("0"), 0);
  EXPECT_EQ(bytes("16777216"), 16'777'216);
  EXPECT_EQ(bytes("16384K"), 16'777'216);
  EXPECT_EQ(bytes("30M"), 31'457'280);
  EXPECT_EQ(bytes("20G"), 21'474'836'480);
  EXPECT_EQ(bytes("2T"), 2'199'023'255'552);
  EXPECT_EQ(bytes("1048576T"), int64_t{1} << 60);
}

TEST(ConfigTest, TheStateFolderFollowsTheXdgSpecification) {
  EXPECT_EQ(Parse({}, {{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}})->config.state_dir, "/x/convd");
  EXPECT_EQ(Parse({}, {{"XDG_STATE_HOME", "x"}, {"HOME", "/h"}})->config.state_dir,
            "/h/.local/state/convd");
  EXPECT_EQ(Parse({"--state", "here"}, {})->config.state_dir, "here");
  const auto nowhere = Parse({}, {});
  EXPECT_EQ(nowhere.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("--state"));
}

struct BadFlag {
  std::vector<std::string> arguments;
  std::string named;
  std::string shown;
};

TEST(ConfigTest, EveryBadValueIsRefusedInASentenceThatNamesTheFlag) {
  const std::vector<BadFlag> cases = {
      {{"--grpc-address", "127.0.0.1"}, "--grpc-address", "127.0.0.1"},
      {{"--grpc-address", "127.0.0.1:65536"}, "--grpc-address", "65536"},
      {{"--grpc-address", "127.0.0.1:"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", ":8081"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", "::1:8081"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", "[::1:8081"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", "[zz]:8081"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", "127.0.0.1:-1"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", "127.0.0.1:80 81"}, "--grpc-address", "HOST:PORT"},
      {{"--grpc-address", ""}, "--grpc-address", ""},
      {{"--grpc-address", "0.0.0.0:8081"}, "--grpc-address", "--insecure"},
      {{"--grpc-address", "[::]:8081"}, "--grpc-address", "--insecure"},
      {{"--grpc-address", "10.0.0.1:8081"}, "--grpc-address", "--insecure"},
      {{"--grpc-address", "127.example.org:1"}, "--grpc-address", "--insecure"},
      {{"--grpc-address", "0.0.0.0:1", "--tokens", "t"}, "--grpc-address", "tokens would travel"},
      {{"--grpc-address", "0.0.0.0:1", "--tls-cert", "c", "--tls-key", "k"},
       "--grpc-address",
       "everyone who reaches it may do everything"},
      {{"--tls-cert", "c"}, "--tls-key", "want both, or neither"},
      {{"--tls-key", "k"}, "--tls-cert", "want both, or neither"},
      {{"--tls-client-ca", "c"}, "--tls-client-ca", "want --tls-cert and --tls-key, too"},
      {{"--tokens", ""}, "--tokens", "want a value"},
      {{"--max-rate", "-1"}, "--max-rate", "-1"},
      {{"--max-rate", "1e3"}, "--max-rate", "calls a second"},
      {{"--max-concurrent-calls", "1.5"}, "--max-concurrent-calls", "1.5"},
      {{"--log-format", "xml"}, "--log-format", "text, json"},
      {{"token", "a b", "--scopes", "read"}, "name", "a b"},
      {{"token", "ci", "--scopes", "root"}, "scopes", "read, predict, train and admin"},
      {{"token", "ci"}, "--scopes", "--help"},
      {{"--state", ""}, "--state", "want a value"},
      {{"--state", std::string(4000, 'd')}, "--state", "3072"},
      {{"--data-dir", ""}, "--data-dir", "want a value"},
      {{"--max-state-bytes", "much"}, "--max-state-bytes", "\"much\""},
      {{"--max-state-bytes", "G"}, "--max-state-bytes", "\"G\""},
      {{"--max-state-bytes", "-1"}, "--max-state-bytes", "or 0 for no limit"},
      {{"--max-state-bytes", "20GB"}, "--max-state-bytes", "such as 20G"},
      {{"--max-state-bytes", "1.5G"}, "--max-state-bytes", "1.5G"},
      {{"--max-state-bytes", "16383K"}, "--max-state-bytes", "at least 16M"},
      {{"--max-state-bytes", "1048577T"}, "--max-state-bytes", "1048577T"},
      {{"--max-state-bytes", "99999999999999999999"}, "--max-state-bytes", "99999"},
      {{"--max-state-bytes", ""}, "--max-state-bytes", "want a value"},
      {{"--cpus", "-1"}, "--cpus", "-1"},
      {{"--cpus", "1.5"}, "--cpus", "1.5"},
      {{"--cpus", "two"}, "--cpus", "two"},
      {{"--cpus", " 2"}, "--cpus", "whole number"},
      {{"--cpus", "99999999999999999999"}, "--cpus", "1024"},
      {{"--isa", "sse4"}, "--isa", "avx2, avx512"},
      {{"--concurrent-jobs", "0"}, "--concurrent-jobs", "1 to 64"},
      {{"--drain-seconds", "0"}, "--drain-seconds", "1 to 3600"},
      {{"--max-message-mb", "2048"}, "--max-message-mb", "2047"},
      {{"--max-batch", "-1"}, "--max-batch", "0 to 65536"},
      {{"--batch-delay-ms", "1001"}, "--batch-delay-ms", "of milliseconds, 0 to 1000"},
      {{"--max-queue-ms", "5s"}, "--max-queue-ms", "of milliseconds (0: no limit), 0 to 3600000"},
      {{"--train-share", "91"}, "--train-share", "percent, 0 to 90"},
      {{"--log-level", "loud"}, "--log-level", "trace, debug, info, warn, error, off"},
      {{"--nice", "20"}, "--nice", "0 to 19"},
      {{"--nice"}, "--nice", ""},
      {{"--cpus", "1", "--cpus", "2"}, "--cpus", ""},
      {{"--http-address", "127.0.0.1"}, "--http-address", "HOST:PORT"},
      {{"--http-address", "0.0.0.0:8080"}, "--http-address", "--insecure"},
      {{"--http-address", "0.0.0.0:8080", "--tokens", "t"},
       "--http-address",
       "tokens would travel"},
      {{"--http-address", "0.0.0.0:8080", "--tls-cert", "c", "--tls-key", "k"},
       "--http-address",
       "--tls-client-ca"},
      {{"--web-address", "127.0.0.1:8080"}, "--web-address", "--help"},
      {{"stray"}, "stray", "--help"},
  };
  for (const BadFlag& bad : cases) {
    const auto command = Parse(bad.arguments);
    ASSERT_FALSE(command.ok()) << bad.arguments[0] << " " << bad.arguments.back();
    EXPECT_EQ(command.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(command.status().message());
    EXPECT_THAT(message, HasSubstr(bad.named));
    EXPECT_THAT(message, HasSubstr(bad.shown));
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    EXPECT_LT(message.size(), 500u);
  }
}

TEST(ConfigTest, HelpAndVersionAreTextToPrint) {
  EXPECT_EQ(Parse({"--version"})->text, "convd " CONVD_VERSION "\n");
  const std::string help = Parse({"--help"})->text;
  for (const char* flag :
       {"--grpc-address", "--state", "--data-dir", "--cpus", "--isa", "--concurrent-jobs",
        "--drain-seconds", "--insecure", "--max-message-mb", "--max-batch", "--batch-delay-ms",
        "--max-queue-ms", "--train-share", "--log-level", "--nice", "--version"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST(ConfigTest, OnlyThisMachinesOwnAddressesAreLoopback) {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"0.0.0.0", "::", "128.0.0.1", "localhost.example.org",
                           "127.0.0.1.nip.io", "::ffff:127.0.0.1", "", "127.1"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(ConfigTest, AddressesSurviveParsingAndPrinting) {
  for (const char* text : {"127.0.0.1:8081", "[::1]:0", "localhost:65535", "my-host:1"}) {
    const auto address = ParseListenAddress("--http-address", text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(ToString(*address), text);
  }
}

}  // namespace
}  // namespace convd
