#include "core/data/image_layout.h"

#include "tests/core/data/memory_tree.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<ImageLayout> LayOut(const FileTree& tree,
                                   const std::vector<std::string>& class_names = {},
                                   const DataLimits& limits = {}) {
  return LayOutByFolders(tree, "here", class_names, limits);
}
std::vector<std::string> Splits(const std::vector<std::string>& paths) {
  const MemoryTree tree = EmptyFiles(paths);
  const auto layout = LayOut(tree);
  if (!layout.ok()) return {std::string(layout.status().message())};
  return LayoutText(tree, *layout);
}
absl::Status Refusal(const std::vector<std::string>& paths) {
  return LayOut(EmptyFiles(paths)).status();
}

TEST(ImageLayoutTest, AFolderAClass) {
  const MemoryTree tree = EmptyFiles({"b/2", "b/10", "a/x", "B/y"});
  const auto layout = LayOut(tree);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_THAT(layout->classes, ElementsAre("B", "a", "b"));
  EXPECT_THAT(LayoutText(tree, *layout), ElementsAre("train: b/10=2 B/y=0 a/x=1 b/2=2"));
}

TEST(ImageLayoutTest, FoldersOfSplitsWhereAllAreCalledSo) {
  EXPECT_THAT(Splits({"VALID/a/1", "Train/b/1", "test/c/1", "val/a/1", "Validation/a/1"}),
              ElementsAre("train: Train/b/1=1", "test: test/c/1=2", "val: val/a/1=0",
                          "valid: VALID/a/1=0", "validation: Validation/a/1=0"));
  // A class may be called train where others are not splits.
  EXPECT_THAT(Splits({"train/1", "car/1"}), ElementsAre("train: car/1=0 train/1=1"));
  ExpectInvalid(Refusal({"Train/a/1", "train/a/1"}), "here: has both Train and train");
}

TEST(ImageLayoutTest, OneFolderAroundItDoesntCount) {
  EXPECT_THAT(Splits({"w/a/1", "w/b/1"}), ElementsAre("train: w/a/1=0 w/b/1=1"));
  EXPECT_THAT(Splits({"w/train/a/1", "w/test/b/1"}),
              ElementsAre("train: w/train/a/1=0", "test: w/test/b/1=1"));
  EXPECT_THAT(Splits({"train/a/1"}), ElementsAre("train: train/a/1=0"));
  EXPECT_THAT(Splits({"test/a/1"}), ElementsAre("test: test/a/1=0"));
  ExpectInvalid(Refusal({"v/w/a/1", "v/w/b/1"}), "v/w/a/1: lies in a folder below a class's");
}

TEST(ImageLayoutTest, FilesElsewhereAreRefusedByName) {
  ExpectInvalid(Refusal({"a/1", "b/sub/1"}),
                "b/sub/1: lies in a folder below a class's; want CLASS/FILE or SPLIT/CLASS/FILE");
  ExpectInvalid(Refusal({"README", "a/1"}), "README: lies beside the classes' folders");
  ExpectInvalid(Refusal({"train/1", "train/a/1"}),
                "train/1: lies beside the classes' folders; want SPLIT/CLASS/FILE");
  ExpectInvalid(Refusal({"train/a/b/1"}), "below a class's");
  ExpectError(Refusal({}), absl::StatusCode::kNotFound, "here: holds no images");
}

TEST(ImageLayoutTest, ClassNamesAreThoseOfLabels) {
  ExpectInvalid(Refusal({"a/1", "b\xff/1"}), "here: name 1 is \"b\\377\"");
  ExpectInvalid(Refusal({std::string(129, 'x') + "/1"}), "want 1 to 128 bytes of UTF-8");
  DataLimits limits;
  limits.classes = 1;
  const MemoryTree tree = EmptyFiles({"a/1", "b/1"});
  ExpectInvalid(LayOut(tree, {}, limits).status(), "here: has more classes than the limit of 1");
  ExpectInvalid(LayOut(tree, {"a"}).status(), "b/1: is of class \"b\"; want one that `labels`");
  EXPECT_THAT(LayoutText(tree, *LayOut(tree, {"c", "b", "a"})), ElementsAre("train: a/1=2 b/1=1"));
  // Numbers are names here, as in Keras.
  const MemoryTree numbers = EmptyFiles({"10/a", "9/a"});
  EXPECT_THAT(LayOut(numbers)->classes, ElementsAre("10", "9"));
}

}  // namespace
}  // namespace convd
