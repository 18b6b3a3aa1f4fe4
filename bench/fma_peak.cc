// Prints this machine's measured peak of f32 fused multiply-adds, in GFLOP/s, a line an instruction
// set and number of threads. usage: fma_peak [THREADS]   (1 and 2 unless given)

#include <cstdlib>
#include <iostream>
#include <vector>

#include "core/dnn/fma_rate.h"

int main(int argc, char** argv) {
  std::vector<int> counts = {1, 2};
  if (argc > 1) {
    const int threads = std::atoi(argv[1]);
    if (threads < 1 || threads > 4096) {
      std::cerr << "fma_peak: THREADS: got \"" << argv[1] << "\"; want 1 to 4096\n";
      return 2;
    }
    counts = {threads};
  }
  for (convd::VectorWidth width : {convd::VectorWidth::kAvx2, convd::VectorWidth::kAvx512}) {
    for (int threads : counts) {
      std::cout << convd::VectorWidthName(width) << " threads " << threads << ": ";
      if (convd::HasVectorWidth(width)) {
        std::cout << convd::MeasureFmaRate(width, threads) / 1e9 << " GFLOP/s" << std::endl;
      } else {
        std::cout << "not on this CPU" << std::endl;
      }
    }
  }
  return 0;
}
