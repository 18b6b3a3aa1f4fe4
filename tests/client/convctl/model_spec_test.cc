#include "client/convctl/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

TEST(ModelSpecTest, TakesANameWithOrWithoutAVersion) {
  const struct {
    const char* spec;
    const char* name;
    int64_t version;
  } cases[] = {{"fashion", "fashion", 0},
               {"fashion@3", "fashion", 3},
               {"fashion:12", "fashion", 12},
               {"a.b-c_d@1", "a.b-c_d", 1}};
  for (const auto& c : cases) {
    const auto model = ParseModelSpec(c.spec);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->name(), c.name);
    EXPECT_EQ(model->version(), c.version);
  }
}

TEST(ModelSpecTest, TakesALabelInTheVersionsPlace) {
  for (const char* label : {"stable", "v2", "2024-best", "latest"}) {
    const auto model = ParseModelSpec(std::string("fashion@") + label);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->label(), label);
    EXPECT_EQ(model->version(), 0);
  }
}

TEST(ModelSpecTest, OtherFormsAreUsageErrors) {
  for (const char* spec : {"", "@1", ":", "a@", "a@0", "a@-1", "a@+1", "a@1.5", "a@-x", "a@1@2",
                           "a@x y", "a@99999999999999999999", "a: 1"}) {
    const auto model = ParseModelSpec(spec);
    EXPECT_EQ(ExitCodeFor(model.status()), kExitUsage) << spec;
    EXPECT_THAT(std::string(model.status().message()), ::testing::HasSubstr("NAME@VERSION"));
  }
}

TEST(ModelSpecTest, WritesWhatItReads) {
  EXPECT_EQ(ModelSpec(*ParseModelSpec("fashion:3")), "fashion@3");
}

}  // namespace
}  // namespace convd
