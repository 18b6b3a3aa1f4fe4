#ifndef CONVD_TESTS_SIMULATION_CACHED_FILE_H_
#define CONVD_TESTS_SIMULATION_CACHED_FILE_H_

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace convd {

// What a power cut leaves of that which was not synced.
enum class Survival { kNothing, kBySeed, kEverything };

// The bytes of one simulated file: as its readers see them (the kernel's cache), and what of it the
// disk holds. Offsets and sizes aren't negative. One thread at a time.
class CachedFile {
 public:
  // A write survives a power cut in pieces of this many bytes, counted from the file's start.
  static constexpr int64_t kSector = 512;

  const std::string& data() const { return data_; }

  // Past the end: what lies between reads as zeros.
  void Write(int64_t offset, std::string_view data);
  void Truncate(int64_t size);
  void Sync();
  // As Linux does after a failed fsync: what was not on the disk counts as clean, so that no later
  // Sync writes it, and a power cut may take it yet.
  void FailSync();
  // Every sector of every unsynced change survives or not, whatever became of those before it, and
  // so does the size. Bytes of which only the size survived are zeros or garbage.
  void CutPower(Survival survival, std::mt19937_64& random);

 private:
  enum class State { kDirty, kDropped, kSynced };
  struct Change {
    State state = State::kDirty;
    bool truncates = false;
    int64_t offset = 0;  // or the size to truncate to
    std::string bytes;
    int64_t size_after = 0;
  };

  static void Apply(const Change& change, std::string& data);

  std::string data_;
  std::string durable_;
  // What came since `durable_`, oldest first. A synced one is here only behind a dropped one, which
  // mustn't come out above it.
  std::vector<Change> changes_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_CACHED_FILE_H_
