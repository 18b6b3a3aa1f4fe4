#include "server/predict/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TopK, GivesTheGreatestFirst) {
  EXPECT_THAT(TopK({0.1f, 0.5f, 0.3f, 0.1f}, 3), ElementsAre(1, 2, 0));
  EXPECT_THAT(TopK({0.1f, 0.5f, 0.3f, 0.1f}, 1), ElementsAre(1));
}

TEST(TopK, GivesTheLowerIndexOfEqualOnes) {
  EXPECT_THAT(TopK({0.25f, 0.25f, 0.25f, 0.25f}, 1), ElementsAre(0));
  EXPECT_THAT(TopK({0.25f, 0.25f, 0.25f, 0.25f}, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(TopK({0.0f, 0.5f, 0.0f, 0.5f}, 4), ElementsAre(1, 3, 0, 2));
}

TEST(ResolveTopK, TakesZeroForOne) {
  EXPECT_EQ(*ResolveTopK(0, 10), 1);
  EXPECT_EQ(*ResolveTopK(1, 10), 1);
  EXPECT_EQ(*ResolveTopK(10, 10), 10);
}

TEST(ResolveTopK, RefusesNegativeAndMoreThanTheClasses) {
  for (int32_t bad : {-1, INT32_MIN, 11, INT32_MAX}) {
    const absl::Status status = ResolveTopK(bad, 10).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(status.message(), HasSubstr("top_k: got " + std::to_string(bad)));
    EXPECT_THAT(status.message(), HasSubstr("10"));
  }
}

}  // namespace
}  // namespace convd
