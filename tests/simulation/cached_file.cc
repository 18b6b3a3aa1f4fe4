#include "tests/simulation/cached_file.h"

#include <algorithm>
#include <utility>

namespace convd {
namespace {

void Overwrite(std::string& data, int64_t offset, std::string_view bytes) {
  data.replace(static_cast<size_t>(offset), bytes.size(), bytes);
}

int64_t SizeOf(const std::string& data) { return static_cast<int64_t>(data.size()); }

// What a power cut leaves of one file, drawn step by step.
class Wreck {
 public:
  Wreck(std::string data, Survival survival, std::mt19937_64& random)
      : data_(std::move(data)), random_(random) {
    // Coins of one kind would almost never lose just the one write that matters, or all but it.
    constexpr uint64_t kPercents[] = {0, 10, 50, 90, 100};
    percent_ = survival == Survival::kNothing      ? 0
               : survival == Survival::kEverything ? 100
                                                   : kPercents[random_() % std::size(kPercents)];
    garbage_ = survival == Survival::kBySeed && random_() % 2 == 0;
  }

  bool Survives() { return percent_ == 100 || (percent_ != 0 && random_() % 100 < percent_); }

  void Truncate(int64_t size) { data_.resize(static_cast<size_t>(size)); }

  void Write(int64_t offset, std::string_view bytes, bool certain) {
    while (!bytes.empty()) {
      const int64_t to_next = CachedFile::kSector - offset % CachedFile::kSector;
      const std::string_view piece = bytes.substr(0, static_cast<size_t>(to_next));
      if (certain || Survives()) {
        GrowTo(offset + static_cast<int64_t>(piece.size()));
        Overwrite(data_, offset, piece);
      }
      offset += static_cast<int64_t>(piece.size());
      bytes.remove_prefix(piece.size());
    }
  }

  // `sizes`: those the file had since its size was last certain, that one first.
  void ChooseSize(const std::vector<int64_t>& sizes) {
    size_t chosen = percent_ == 0 ? 0 : sizes.size() - 1;
    int64_t size = sizes[chosen];
    if (percent_ != 0 && percent_ != 100) {
      chosen = random_() % sizes.size();
      size = sizes[chosen];
      // Anywhere within a growth too.
      if (chosen > 0 && sizes[chosen - 1] < size && random_() % 2 == 0) {
        const int64_t before = sizes[chosen - 1];
        size = before + static_cast<int64_t>(random_() % static_cast<uint64_t>(size - before));
      }
    }
    GrowTo(size);
    Truncate(size);
  }

  std::string Take() { return std::move(data_); }

 private:
  void GrowTo(int64_t size) {
    while (SizeOf(data_) < size) data_ += garbage_ ? static_cast<char>(random_()) : '\0';
  }

  std::string data_;
  std::mt19937_64& random_;
  uint64_t percent_ = 0;
  bool garbage_ = false;
};

}  // namespace

void CachedFile::Write(int64_t offset, std::string_view data) {
  Change change;
  change.offset = offset;
  change.bytes = std::string(data);
  Apply(change, data_);
  change.size_after = SizeOf(data_);
  changes_.push_back(std::move(change));
}

void CachedFile::Truncate(int64_t size) {
  if (size == SizeOf(data_)) return;
  Change change;
  change.truncates = true;
  change.offset = change.size_after = size;
  Apply(change, data_);
  changes_.push_back(std::move(change));
}

void CachedFile::Sync() {
  for (Change& change : changes_) {
    if (change.state == State::kDirty) change.state = State::kSynced;
  }
  const auto dropped = std::find_if(changes_.begin(), changes_.end(), [](const Change& change) {
    return change.state != State::kSynced;
  });
  for (auto it = changes_.begin(); it != dropped; ++it) Apply(*it, durable_);
  changes_.erase(changes_.begin(), dropped);
}

void CachedFile::FailSync() {
  for (Change& change : changes_) {
    if (change.state == State::kDirty) change.state = State::kDropped;
  }
}

void CachedFile::CutPower(Survival survival, std::mt19937_64& random) {
  if (changes_.empty()) return;
  std::vector<int64_t> sizes = {SizeOf(durable_)};
  Wreck wreck(std::move(durable_), survival, random);
  for (const Change& change : changes_) {
    const bool certain = change.state == State::kSynced;
    if (certain) sizes.clear();
    sizes.push_back(change.size_after);
    if (!change.truncates) {
      wreck.Write(change.offset, change.bytes, certain);
    } else if (certain || wreck.Survives()) {
      wreck.Truncate(change.offset);
    }
  }
  wreck.ChooseSize(sizes);
  durable_ = wreck.Take();
  data_ = durable_;
  changes_.clear();
}

void CachedFile::Apply(const Change& change, std::string& data) {
  if (change.truncates) {
    data.resize(static_cast<size_t>(change.offset));
    return;
  }
  const int64_t end = change.offset + static_cast<int64_t>(change.bytes.size());
  if (SizeOf(data) < end) data.resize(static_cast<size_t>(end));
  Overwrite(data, change.offset, change.bytes);
}

}  // namespace convd
