#include "core/dnn/onednn.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

using dnnl::memory;

// Names as oneDNN 2.6.3 and 3.7.2 give them.
TEST(IsPlannedKernel, TakesGeneratedCodeOfTheWholeInstructionSet) {
  for (const char* name : {"jit:avx2", "jit_1x1:avx2", "jit_dw:avx2"}) {
    EXPECT_TRUE(IsPlannedKernel(name, "avx2", false)) << name;
    EXPECT_FALSE(IsPlannedKernel(name, "avx512", false)) << name;
    EXPECT_FALSE(IsPlannedKernel(name, "avx512_amx", false)) << name;
  }
  for (const char* name :
       {"jit:avx512_core", "jit:avx512_common", "jit_1x1:avx512_core", "brgconv:avx512_core",
        "brgemm:avx512_core", "brg_conv_fwd:avx512_core"}) {
    EXPECT_TRUE(IsPlannedKernel(name, "avx512", false)) << name;
    EXPECT_TRUE(IsPlannedKernel(name, "avx512_bf16", false)) << name;
    EXPECT_FALSE(IsPlannedKernel(name, "avx2", false)) << name;
  }
}

TEST(IsPlannedKernel, TakesNeitherReferencesNorProductsOfMatrices) {
  for (const char* name :
       {"ref:any", "ref", "gemm:jit", "x64:gemm:jit", "gemm:ref", "simple:any", "jit:sse41",
        "brgconv:ref:avx2", "brgconv:gemm:avx2", "", "avx2", "acl"}) {
    EXPECT_FALSE(IsPlannedKernel(name, "avx2", false)) << name;
    EXPECT_FALSE(IsPlannedKernel(name, "avx512", false)) << name;
  }
}

TEST(IsPlannedKernel, TakesAnyGeneratedCodeForElementwiseWork) {
  EXPECT_TRUE(IsPlannedKernel("jit:avx2", "avx512", true));
  EXPECT_TRUE(IsPlannedKernel("jit:uni", "avx512", true));
  EXPECT_FALSE(IsPlannedKernel("ref:any", "avx512", true));
}

TEST(LayoutName, WritesDimensionsFromTheOutermostInThenBlocks) {
  using tag = memory::format_tag;
  const memory::data_type f32 = memory::data_type::f32;
  EXPECT_EQ(LayoutName({{64, 32, 3, 3}, f32, tag::oihw}), "abcd");
  EXPECT_EQ(LayoutName({{2, 32, 7, 5}, f32, tag::nhwc}), "acdb");
  EXPECT_EQ(LayoutName({{64, 32, 3, 3}, f32, tag::OIhw16i16o}), "ABcd16b16a");
  EXPECT_EQ(LayoutName({{64, 3, 5, 3}, f32, tag::Ohwi16o}), "Acdb16a");
  EXPECT_EQ(LayoutName({{10, 3, 5, 3}, f32, tag::Ohwi16o}), "Acdb16a");  // padded
  EXPECT_EQ(LayoutName({{4, 16, 8, 3, 3}, f32, tag::gOIhw8i8o}), "aBCde8c8b");
}

// One channel, so that two dimensions have equal strides.
TEST(LayoutName, PutsTheLongerOfEqualStridesOutside) {
  EXPECT_EQ(LayoutName({{32, 1, 3, 3}, memory::data_type::f32, memory::format_tag::oihw}), "abcd");
}

TEST(LayoutName, SaysAnyWhereNothingIsLaidOut) {
  EXPECT_EQ(LayoutName({{64, 32, 3, 3}, memory::data_type::f32, memory::format_tag::any}), "any");
}

}  // namespace
}  // namespace convd
