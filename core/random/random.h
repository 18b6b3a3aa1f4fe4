#ifndef CONVD_CORE_RANDOM_RANDOM_H_
#define CONVD_CORE_RANDOM_RANDOM_H_

#include <array>
#include <cstdint>
#include <vector>

namespace convd {

// Counter-based random numbers: a value depends on what it is for, never on who asked before. So
// any worker may draw any sample's numbers, and a resumed run draws what the unbroken one would
// have.
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011). Key: the seed, low word first. Counter words:
//   [0] index of the block of four words; element e of an array takes word e % 4 of block e / 4
//   [1] sample: index in the training set; 0 where there is none
//   [2] epoch, from 1; 0 where there is none
//   [3] purpose << 24 | index of the parameter or layer
//
// A sample's augmentation takes block 0, with index 0: the top bit of word 0 mirrors it, words 1
// and 2 move it down and to the right by (word * (2 * shift + 1)) >> 32, minus shift. Each word has
// its one use, so that what one of them does is the same with and without the other.
enum class RandomPurpose : uint32_t { kInitial = 1, kShuffle = 2, kDropout = 3, kAugmentation = 4 };

struct RandomStream {
  uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::kInitial;
  uint32_t index = 0;  // of the parameter or layer, below 2^24
  uint32_t epoch = 0;
  uint32_t sample = 0;
};

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Block `block` of the stream.
std::array<uint32_t, 4> RandomBlock(const RandomStream& stream, uint32_t block);

// The order in which `epoch` takes `count` samples. Fisher and Yates's shuffle downwards: for i =
// count-1 .. 1, sample i changes places with sample (word i * (i+1)) >> 32. REQUIRES: count < 2^32.
std::vector<uint32_t> ShuffledOrder(uint64_t seed, uint32_t epoch, uint32_t count);

// Element e of a Glorot uniform kernel (Glorot and Bengio 2010): (2u - 1) * sqrt(6 / (fan_in +
// fan_out)), in double, rounded to float once, with u = (word e >> 8) / 2^24.
void GlorotUniform(uint64_t seed, uint32_t parameter, int64_t fan_in, int64_t fan_out,
                   int64_t count, float* out);

// Dropout keeps element e of a sample where word e >= rate * 2^32 (rounded down) and scales it by 1
// / (1 - rate).
uint32_t DropoutThreshold(float rate);

}  // namespace convd

#endif  // CONVD_CORE_RANDOM_RANDOM_H_
