#include "core/random/random.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace convd {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c;
}

std::array<uint32_t, 4> RandomBlock(const RandomStream& stream, uint32_t block) {
  return Philox4x32({block, stream.sample, stream.epoch,
                     static_cast<uint32_t>(stream.purpose) << 24 | stream.index},
                    {static_cast<uint32_t>(stream.seed), static_cast<uint32_t>(stream.seed >> 32)});
}

std::vector<uint32_t> ShuffledOrder(uint64_t seed, uint32_t epoch, uint32_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  const RandomStream stream = {.seed = seed, .purpose = RandomPurpose::kShuffle, .epoch = epoch};
  uint32_t block_index = UINT32_MAX;
  std::array<uint32_t, 4> block{};
  for (uint32_t i = count; i-- > 1;) {
    if (i / 4 != block_index) block = RandomBlock(stream, block_index = i / 4);
    const uint32_t j = static_cast<uint32_t>((uint64_t{block[i % 4]} * (uint64_t{i} + 1)) >> 32);
    std::swap(order[i], order[j]);
  }
  return order;
}

void GlorotUniform(uint64_t seed, uint32_t parameter, int64_t fan_in, int64_t fan_out,
                   int64_t count, float* out) {
  const double limit = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  const RandomStream stream = {
      .seed = seed, .purpose = RandomPurpose::kInitial, .index = parameter};
  std::array<uint32_t, 4> block{};
  for (int64_t e = 0; e < count; ++e) {
    if (e % 4 == 0) block = RandomBlock(stream, static_cast<uint32_t>(e / 4));
    const double u = (block[e % 4] >> 8) * 0x1p-24;
    out[e] = static_cast<float>((2 * u - 1) * limit);
  }
}

uint32_t DropoutThreshold(float rate) {
  return static_cast<uint32_t>(static_cast<double>(rate) * 0x1p32);
}

}  // namespace convd
