#include "core/dnn/fma_rate.h"

#include <immintrin.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace convd {
namespace {

// As many independent sums as hide an FMA's latency (4 cycles, 2 a cycle) with room to spare, and
// as the registers hold beside the two operands.
constexpr int kAvx2Sums = 12;
constexpr int kAvx512Sums = 24;

// The sums converge to 1, so that no value overflows or becomes denormal however long it runs.
constexpr float kFactor = 0.5f, kAddend = 0.5f;

__attribute__((target("avx2,fma"))) float RunAvx2(int64_t rounds) {
  const __m256 factor = _mm256_set1_ps(kFactor), addend = _mm256_set1_ps(kAddend);
  __m256 sums[kAvx2Sums];
  for (int i = 0; i < kAvx2Sums; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kAvx2Sums; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, addend);
  }
  __m256 total = sums[0];
  for (int i = 1; i < kAvx2Sums; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}

__attribute__((target("avx512f"))) float RunAvx512(int64_t rounds) {
  const __m512 factor = _mm512_set1_ps(kFactor), addend = _mm512_set1_ps(kAddend);
  __m512 sums[kAvx512Sums];
  for (int i = 0; i < kAvx512Sums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kAvx512Sums; ++i) sums[i] = _mm512_fmadd_ps(sums[i], factor, addend);
  }
  __m512 total = sums[0];
  for (int i = 1; i < kAvx512Sums; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}

float Run(VectorWidth width, int64_t rounds) {
  return width == VectorWidth::kAvx2 ? RunAvx2(rounds) : RunAvx512(rounds);
}

int64_t FlopARound(VectorWidth width) {
  return 2 * (width == VectorWidth::kAvx2 ? int64_t{kAvx2Sums} * 8 : int64_t{kAvx512Sums} * 16);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds from the common start to the last thread's end.
double Time(VectorWidth width, int threads, int64_t rounds) {
  std::barrier start(threads);
  std::vector<double> begins(threads), ends(threads);
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      start.arrive_and_wait();
      begins[t] = Now();
      // Stored where the compiler must believe it is read, or it would run nothing.
      volatile float sink = Run(width, rounds);
      static_cast<void>(sink);
      ends[t] = Now();
    });
  }
  for (std::thread& thread : pool) thread.join();
  return *std::max_element(ends.begin(), ends.end()) -
         *std::min_element(begins.begin(), begins.end());
}

}  // namespace

bool HasVectorWidth(VectorWidth width) {
  return width == VectorWidth::kAvx2
             ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
             : __builtin_cpu_supports("avx512f") != 0;
}

std::string_view VectorWidthName(VectorWidth width) {
  return width == VectorWidth::kAvx2 ? "avx2" : "avx512";
}

VectorWidth WidthOf(std::string_view instruction_set) {
  return instruction_set.substr(0, 6) == "avx512" ? VectorWidth::kAvx512 : VectorWidth::kAvx2;
}

int64_t RunFma(VectorWidth width) {
  // 0.7 ms at 100 GFLOP/s, half that at 200.
  const int64_t rounds = 70'000'000 / FlopARound(width);
  volatile float sink = Run(width, rounds);
  static_cast<void>(sink);
  return rounds * FlopARound(width);
}

double MeasureFmaRate(VectorWidth width, int threads, double seconds) {
  constexpr int kRuns = 6;
  int64_t rounds = 1 << 16;
  double took = Time(width, threads, rounds);
  while (took < seconds / kRuns / 2) {  // until a run is long enough to time
    rounds *= 2;
    took = Time(width, threads, rounds);
  }
  double best = took;
  for (int i = 0; i < kRuns; ++i) best = std::min(best, Time(width, threads, rounds));
  return static_cast<double>(FlopARound(width)) * static_cast<double>(rounds) * threads / best;
}

}  // namespace convd
