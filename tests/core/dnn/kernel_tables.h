#ifndef CONVD_TESTS_CORE_DNN_KERNEL_TABLES_H_
#define CONVD_TESTS_CORE_DNN_KERNEL_TABLES_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/dnn/kernels.h"

namespace convd {

// Those that this CPU can run.
inline std::vector<const Kernels*> KernelTables() {
  std::vector<const Kernels*> tables = {&kKernelsV3};
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    tables.push_back(&kKernelsV4);
  }
  return tables;
}

inline bool HasBf16() { return __builtin_cpu_supports("avx512bf16"); }

// For INSTANTIATE_TEST_SUITE_P.
inline std::string KernelTableName(const ::testing::TestParamInfo<const Kernels*>& info) {
  std::string name = info.param->name;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

}  // namespace convd

#endif  // CONVD_TESTS_CORE_DNN_KERNEL_TABLES_H_
