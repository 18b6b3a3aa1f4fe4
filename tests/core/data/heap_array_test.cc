#include "core/data/heap_array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Memory of the test's, which says how much was asked for.
class CountedMemory final : public ArrayMemory {
 public:
  absl::StatusOr<std::unique_ptr<ScratchMemory>> Allocate(int64_t bytes) override {
    if (full) return absl::ResourceExhaustedError("/disk: is full");
    asked.push_back(bytes);
    return std::make_unique<Scratch>(bytes, in_use);
  }

  bool full = false;
  std::vector<int64_t> asked;
  int in_use = 0;

 private:
  class Scratch final : public ScratchMemory {
   public:
    Scratch(int64_t bytes, int& in_use) : data_(static_cast<size_t>(bytes)), in_use_(in_use) {
      ++in_use_;
    }
    ~Scratch() override { --in_use_; }
    char* data() override { return data_.data(); }

   private:
    std::vector<char> data_;
    int& in_use_;
  };
};

constexpr int64_t kFits = ArrayMemory::kHeapBytes / 4;

TEST(HeapArrayTest, OnlyLargeArraysLieElsewhere) {
  CountedMemory memory;
  const auto small = HeapArray<int32_t>::Allocate(kFits, "labels", &memory);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_THAT(memory.asked, IsEmpty());
  auto large = HeapArray<int32_t>::Allocate(kFits + 1, "labels", &memory);
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_THAT(memory.asked, ElementsAre(4 * (kFits + 1)));
  EXPECT_EQ(memory.in_use, 1);
  {
    const HeapArray<int32_t> moved = *std::move(large);
  }
  EXPECT_EQ(memory.in_use, 0);
}

TEST(HeapArrayTest, ElementsMoveAlongAsAnArrayGrows) {
  CountedMemory memory;
  HeapArray<int32_t> array(&memory);
  ASSERT_TRUE(array.Resize(kFits, "f").ok());
  for (int32_t i = 0; i < kFits; ++i) array[i] = i;
  for (const int64_t factor : {2, 4}) {
    ASSERT_TRUE(array.Resize(factor * kFits, "f").ok());
    EXPECT_EQ(memory.in_use, 1) << "what it lay in before is given back";
    EXPECT_EQ(array[0], 0);
    EXPECT_EQ(array[kFits - 1], kFits - 1);
  }
  // There is room already, and a small one goes back to no heap.
  ASSERT_TRUE(array.Resize(3, "f").ok());
  ASSERT_TRUE(array.Resize(3 * kFits, "f").ok());
  EXPECT_THAT(memory.asked, ElementsAre(8 * kFits, 16 * kFits));
  EXPECT_EQ(array[2], 2);
}

TEST(HeapArrayTest, WantOfRoomSaysForWhatAndLeavesTheArrayAsItIs) {
  CountedMemory memory;
  HeapArray<char> array(&memory);
  ASSERT_TRUE(array.Resize(1, "f").ok());
  array[0] = 'x';
  memory.full = true;
  const absl::Status full = array.Resize(int64_t{1} << 40, "train.gz");
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_THAT(std::string(full.message()), HasSubstr("train.gz: /disk: is full"));
  EXPECT_EQ(array.size(), 1);
  EXPECT_EQ(array[0], 'x');
}

}  // namespace
}  // namespace convd
