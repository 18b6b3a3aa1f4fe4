// Kills convd at many moments and checks that it keeps what it has promised; docs/reliability.md
// says what that is.
//
//   e2e_crash_test [--kills=N] [--seed=N] [--minutes=N] [--folder=FOLDER]
//
// The seed, by default the time, decides what is asked for and where kills fall, as far as a
// machine's timing allows. FOLDER is made, and stays for a look at what is in it.

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/crash/crash_run.h"
#include "tests/end_to_end/server_process.h"

namespace convd {
namespace {

CrashOptions& Options() {
  static auto* const options = [] {
    auto* const defaults = new CrashOptions();
    defaults->kills = CONVD_CRASH_KILLS;
    return defaults;
  }();
  return *options;
}

TEST(CrashTest, NothingAcknowledgedIsLost) {
  const TempFolder own;
  CrashOptions options = Options();
  if (options.folder.empty()) options.folder = own.path();
  std::filesystem::create_directories(options.folder);
  ASSERT_TRUE(std::filesystem::is_empty(options.folder)) << options.folder << " isn't empty";
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  const CrashReport report = RunCrashes(options);
  std::printf("%s", report.summary.c_str());
  EXPECT_EQ(report.kills, options.kills);
  for (const std::string& fault : report.faults) ADD_FAILURE() << fault;
}

// False where it isn't a flag of this program.
bool ReadFlag(const std::string& argument) {
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(0, equals);
  const std::string value = equals == argument.npos ? "" : argument.substr(equals + 1);
  CrashOptions& options = Options();
  if (name == "--folder") {
    options.folder = value;
    return !value.empty();
  }
  int64_t number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < 1) return false;
  if (name == "--kills") options.kills = number;
  if (name == "--seed") options.seed = static_cast<uint64_t>(number);
  if (name == "--minutes") options.limit = absl::Minutes(number);
  return name == "--kills" || name == "--seed" || name == "--minutes";
}

int Main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  Options().seed = static_cast<uint64_t>(absl::ToUnixSeconds(absl::Now()));
  for (int i = 1; i < argc; ++i) {
    if (ReadFlag(argv[i])) continue;
    std::fprintf(stderr, "%s: want --kills=N, --seed=N, --minutes=N or --folder=FOLDER\n", argv[i]);
    return 2;
  }
  // Much longer than a life and its checks take.
  if (Options().kills > 30 && Options().limit == CrashOptions().limit) {
    Options().limit = absl::Seconds(15) * Options().kills;
  }
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) { return convd::Main(argc, argv); }
