#include "core/train/gradient_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace convd {
namespace {

// The tree written down: neighbours add, an odd one out moves up.
float Tree(std::vector<float> row) {
  while (row.size() > 1) {
    std::vector<float> up;
    for (size_t i = 0; i + 1 < row.size(); i += 2) up.push_back(row[i] + row[i + 1]);
    if (row.size() % 2 == 1) up.push_back(row.back());
    row = up;
  }
  return row[0];
}

// Values whose sum depends on the order of additions.
std::vector<float> Leaves(int n) {
  std::vector<float> leaves(n);
  for (int i = 0; i < n; ++i) leaves[i] = i % 3 == 0 ? 1e8f : i % 3 == 1 ? 1.25f + i : -1e8f;
  return leaves;
}

TEST(GradientSum, AddsInTheTreesOrderWhateverComesFirst) {
  for (int n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 63, 100}) {
    const std::vector<float> leaves = Leaves(n);
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    GradientSum sum(17);
    for (int round = 0; round < 5; ++round) {
      sum.Begin(n);
      for (int i : order) {
        float* leaf = sum.NewLeaf();
        std::fill(leaf, leaf + 17, leaves[i]);
        sum.Add(i, leaf);
      }
      for (const auto& [begin, size] : {std::pair(5, 12), std::pair(0, 5)}) {  // in any order
        const float* part = sum.Sum(begin, size);
        for (int e = 0; e < size; ++e) EXPECT_EQ(part[e], Tree(leaves)) << n << " leaves";
      }
      std::rotate(order.begin(), order.begin() + n / 2, order.end());
      std::reverse(order.begin(), order.begin() + n / 3);
    }
  }
}

// 262,144 floats a piece, so three of these: two cuts an addition.
TEST(GradientSum, LetsOthersWorkWhileItAddsLargeGradients) {
  constexpr int64_t kFloats = 600'000;
  constexpr int kLeaves = 8;  // four additions are left to Sum
  const std::vector<float> leaves = Leaves(kLeaves);
  GradientSum sum(kFloats);
  sum.Begin(kLeaves);
  int cuts = 0;
  for (int i = 0; i < kLeaves; ++i) {
    float* const leaf = sum.NewLeaf();
    std::fill(leaf, leaf + kFloats, leaves[i]);
    sum.Add(i, leaf, [&] { ++cuts; });
  }
  EXPECT_EQ(cuts, 8);
  const float* const all = sum.Sum(0, kFloats);
  for (const int64_t at : {int64_t{0}, int64_t{262'143}, int64_t{262'144}, kFloats - 1}) {
    EXPECT_EQ(all[at], Tree(leaves)) << at;
  }
}

// A leaf is zeroed by the megabyte when it is made, and others can make and add theirs in between.
TEST(GradientSum, LetsOthersWorkWhileItMakesALargeLeaf) {
  constexpr int64_t kFloats = 600'000;  // 2.3 MiB
  GradientSum sum(kFloats);
  sum.Begin(2);
  int cuts = 0;
  float* other = nullptr;
  float* const leaf = sum.NewLeaf([&] {
    if (++cuts == 1) other = sum.NewLeaf();
  });
  EXPECT_EQ(cuts, 2);
  ASSERT_NE(other, nullptr);
  EXPECT_NE(leaf, other);
  EXPECT_EQ(std::count(leaf, leaf + kFloats, 0.0f), kFloats);
  sum.Drop(leaf);
  EXPECT_EQ(sum.NewLeaf([&] { ++cuts; }), leaf);
  EXPECT_EQ(cuts, 2) << "it was made before";
}

TEST(GradientSum, AddsTheSameFromManyThreads) {
  constexpr int kLeaves = 63;
  const std::vector<float> leaves = Leaves(kLeaves);
  GradientSum sum(64);
  sum.Begin(kLeaves);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kLeaves; i += 3) {
        float* leaf = sum.NewLeaf();
        std::fill(leaf, leaf + 64, leaves[i]);
        sum.Add(i, leaf);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  for (int begin = 0; begin < 64; begin += 16) {
    threads.emplace_back([&, begin] {
      const float* part = sum.Sum(begin, 16);
      for (int e = 0; e < 16; ++e) EXPECT_EQ(part[e], Tree(leaves));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace convd
