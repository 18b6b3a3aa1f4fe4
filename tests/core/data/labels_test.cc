#include "core/data/labels.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

TEST(LabelsTest, WholeNumbersBecomeLabels) {
  const auto labels = ConvertLabels("f", {'i', 2, true}, "\x00\x03\x01\x00", 2, {});
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(labels->span(), ElementsAre(3, 256));
  EXPECT_THAT(ConvertLabels("f", {'b', 1}, "\x01\x00", 2, {})->span(), ElementsAre(1, 0));
}

TEST(LabelsTest, TheFirstThatCantBeOneIsNamed) {
  DataLimits limits;
  limits.classes = 10;
  ExpectInvalid(ConvertLabels("f", {'u', 1}, "\x09\x0a\x0b", 3, limits).status(),
                "f: the label of sample 1 is 10; want a whole number of 0 to 9");
  ExpectInvalid(ConvertLabels("f", {'i', 1}, "\xff", 1, limits).status(), "sample 0 is -1");
  const double half = 0.5;
  ExpectInvalid(
      ConvertLabels("f", {'f', 8}, reinterpret_cast<const char*>(&half), 1, limits).status(),
      "sample 0 is 0.5");
  ExpectInvalid(ConvertLabels("f", {'c', 8}, "", 0, limits).status(),
                "f: has labels of type complex64; want bool, integers");
}

}  // namespace
}  // namespace convd
