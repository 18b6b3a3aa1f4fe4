// A dataset of more than 4 GiB, registered and trained on by a server that has 1 GiB of memory.
// Label "long": minutes, and three times its size of the disk in the tests' temporary folder.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kImages = 350'000;
constexpr int64_t kImageBytes = 64 * 64 * 3;
static_assert(kImages * kImageBytes > int64_t{1} << 32);
constexpr int64_t kMemory = int64_t{1} << 30;
constexpr int kClasses = 4;
// Images repeat after so many; a multiple of it is none of 2^32 bytes.
constexpr int64_t kDifferent = 1009;

bool Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return !file.flush().fail();
}

// A control group with a limit of memory that this process can enter and leave; v1 or v2.
class MemoryGroup {
 public:
  MemoryGroup() {
    // Beside the one that this process is in, which it goes back to.
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const bool v2 = line.rfind("0::", 0) == 0;
      const size_t memory = line.find(":memory:");
      if (!v2 && memory == std::string::npos) continue;
      const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      const std::string own = root + line.substr(v2 ? 3 : memory + 8);
      // A container may not see the path that its host has.
      const std::string at = fs::exists(own + "/cgroup.procs") ? own : root;
      const std::string group = absl::StrCat(root, "/convd-test-", getpid());
      std::error_code error;
      if (!fs::create_directory(group, error)) continue;
      if (Write(group + (v2 ? "/memory.max" : "/memory.limit_in_bytes"), absl::StrCat(kMemory))) {
        own_ = at;
        group_ = group;
        return;
      }
      fs::remove(group, error);
    }
  }
  ~MemoryGroup() {
    Leave();
    if (there()) rmdir(group_.c_str());
  }

  bool there() const { return !group_.empty(); }
  bool Enter() const { return Write(group_ + "/cgroup.procs", absl::StrCat(getpid())); }
  void Leave() const {
    if (there()) Write(own_ + "/cgroup.procs", absl::StrCat(getpid()));
  }
  // What was in use at most, with the cache of files; "" where it isn't told.
  std::string Peak() const {
    for (const char* name : {"/memory.peak", "/memory.max_usage_in_bytes"}) {
      std::string text;
      if (std::ifstream(group_ + name) >> text) return text;
    }
    return "";
  }

 private:
  std::string own_;
  std::string group_;
};

// The largest part of the process's memory that wasn't a file's, in KiB as /proc says it.
std::string AnonymousMemory(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return line.substr(8);
  }
  return "";
}

std::vector<std::string> Noise() {
  std::mt19937 random(1);
  std::vector<std::string> images;
  for (int64_t i = 0; i < kDifferent; ++i) {
    std::string& image = images.emplace_back(static_cast<size_t>(kImageBytes), '\0');
    for (char& pixel : image) pixel = static_cast<char>(random());
  }
  return images;
}

std::string BigEndian(int64_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

class LargeDatasetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!group_.there()) GTEST_SKIP() << "no control group with a limit of memory can be made here";
    if (fs::space(folder_.path()).available < static_cast<uint64_t>(4 * kImages * kImageBytes)) {
      GTEST_SKIP() << folder_.path() << " has no room for it";
    }
  }

  void WriteFiles() const {
    fs::create_directories(folder_ / "data");
    std::ofstream images(folder_ / "data/images", std::ios::binary);
    images << std::string("\0\0\x08\x04", 4) << BigEndian(kImages) << BigEndian(64) << BigEndian(64)
           << BigEndian(3);
    std::ofstream labels(folder_ / "data/labels", std::ios::binary);
    labels << std::string("\0\0\x08\x01", 4) << BigEndian(kImages);
    for (int64_t i = 0; i < kImages; ++i) {
      images << noise_[i % kDifferent];
      labels << static_cast<char>(i % kClasses);
    }
    ASSERT_TRUE(images.flush() && labels.flush());
  }

  MemoryGroup group_;
  const TempFolder folder_;
  const std::vector<std::string> noise_ = Noise();
};

TEST_F(LargeDatasetTest, IsRegisteredAndTrainedOnInAQuarterOfItsMemory) {
  WriteFiles();
  ASSERT_TRUE(group_.Enter());
  const auto server = ServerProcess::Start(folder_ / "state", {"--data-dir", folder_ / "data"});
  group_.Leave();
  ASSERT_NE(server, nullptr);
  // Without the end-to-end tests' limit of time.
  const auto client = Client::Connect(server->address(), ClientOptions());
  ASSERT_STATUS_OK(client);
  v1::RegisterDatasetRequest registration;
  registration.set_name("noise");
  registration.set_path(".");
  v1::SplitFiles& files = *registration.add_files();
  files.set_split("train");
  files.add_images("images");
  files.add_labels("labels");
  const auto dataset = (*client)->RegisterDataset(registration);
  ASSERT_TRUE(dataset.ok()) << dataset.status() << "\n" << server->process().err();
  EXPECT_EQ(dataset->splits(0).samples(), kImages);
  EXPECT_NEAR(dataset->pixels().mean(0), 127.5, 0.5);
  std::printf("registered; heap %s, group's peak %s\n",
              AnonymousMemory(server->process().pid()).c_str(), group_.Peak().c_str());

  v1::GetSamplesRequest last;
  last.set_name("noise");
  last.set_offset(kImages - 1);
  last.set_count(1);
  const auto sample = (*client)->GetSamples(last);
  ASSERT_STATUS_OK(sample);
  EXPECT_EQ(sample->images().uint8().data(), noise_[(kImages - 1) % kDifferent]);

  v1::TrainRequest request;
  request.set_model("tiny");
  request.mutable_dataset()->set_name("noise");
  request.mutable_validation()->set_none(true);
  request.set_batch_size(1000);
  request.set_epochs(1);
  v1::Network& network = *request.mutable_network();
  network.mutable_input()->set_height(64);
  network.mutable_input()->set_width(64);
  network.mutable_input()->set_channels(3);
  v1::AveragePool& pool = *network.add_layers()->mutable_average_pool();
  pool.add_size(16);
  pool.add_size(16);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(kClasses);
  const auto job = (*client)->Train(request);
  ASSERT_STATUS_OK(job);
  const auto ended = (*client)->Watch(job->id(), [](const v1::JobEvent&) {});
  ASSERT_TRUE(ended.ok()) << ended.status() << "\n" << server->process().err();
  EXPECT_EQ(ended->state(), v1::JOB_STATE_SUCCEEDED) << ended->error().message();
  std::printf("trained; heap %s, group's peak %s\n",
              AnonymousMemory(server->process().pid()).c_str(), group_.Peak().c_str());
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(), 0);
}

}  // namespace
}  // namespace convd
