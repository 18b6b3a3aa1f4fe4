#include "tests/end_to_end/server_process.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace convd {

namespace {

// The loopback address behind `word`; "" where there is none.
std::string AddressIn(const std::string& line, const std::string& word) {
  const std::string before = word + "127.0.0.1:";
  const size_t begin = line.find(before);
  if (begin == line.npos) return "";
  const size_t end = line.find_first_not_of("0123456789", begin + before.size());
  if (end == begin + before.size()) return "";
  return line.substr(begin + word.size(), end - begin - word.size());
}

}  // namespace

TempFolder::TempFolder() {
  std::string name = ::testing::TempDir() + "/convd_e2e_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "can't make " << name;
  path_ = std::filesystem::canonical(name).string();
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> ServerProcess::CommandLine(const std::string& state,
                                                    const std::vector<std::string>& more_flags) {
  std::vector<std::string> arguments = {CONVD_BIN_DIR "/convd", "--state", state};
  if (std::find(more_flags.begin(), more_flags.end(), "--grpc-address") == more_flags.end()) {
    arguments.insert(arguments.end(), {"--grpc-address", "127.0.0.1:0"});
  }
  if (std::find(more_flags.begin(), more_flags.end(), "--http-address") == more_flags.end()) {
    arguments.insert(arguments.end(), {"--http-address", "127.0.0.1:0"});
  }
  arguments.insert(arguments.end(), more_flags.begin(), more_flags.end());
  return arguments;
}

std::unique_ptr<ServerProcess> ServerProcess::Start(const std::string& state,
                                                    const std::vector<std::string>& more_flags) {
  std::unique_ptr<Subprocess> process = Subprocess::Start(CommandLine(state, more_flags));
  if (process == nullptr) return nullptr;
  const auto line = process->WaitForLine([](const std::string&) { return true; });
  const std::string text = line.value_or("");
  const std::string grpc = AddressIn(text, " grpc ");
  if (grpc.empty()) {
    process->Wait(absl::Seconds(1));
    ADD_FAILURE() << "convd's first line on stdout is no address: \"" << text << "\"; stderr:\n"
                  << process->err();
    return nullptr;
  }
  return std::unique_ptr<ServerProcess>(
      new ServerProcess(std::move(process), grpc, AddressIn(text, " http ")));
}

std::unique_ptr<Client> ServerProcess::Connect() const {
  ClientOptions options;
  options.timeout = kPatience;
  auto client = Client::Connect(address_, options);
  if (!client.ok()) {
    ADD_FAILURE() << client.status();
    return nullptr;
  }
  return *std::move(client);
}

std::unique_ptr<Subprocess> ServerProcess::StartConvctl(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), CONVD_BIN_DIR "/convctl");
  return Subprocess::Start(arguments, {"CONVD_SERVER=" + address_});
}

Finished ServerProcess::Convctl(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), CONVD_BIN_DIR "/convctl");
  return RunProgram(arguments, {"CONVD_SERVER=" + address_});
}

}  // namespace convd
