#include "core/data/label_list.h"

#include "tests/core/data/memory_tree.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

// `files`, and empty images a.png, b.png and i/c.png.
MemoryTree Tree(Files files) {
  for (const char* image : {"a.png", "b.png", "i/c.png"}) files.emplace(image, "");
  return MemoryTree(std::move(files));
}
absl::StatusOr<ImageLayout> LayOut(FileTree& tree, const std::vector<std::string>& names = {},
                                   const DataLimits& limits = {}) {
  EXPECT_TRUE(HasLabelLists(tree));
  return LayOutByLists(tree, "here", names, limits);
}
absl::Status Refusal(const Files& files, const DataLimits& limits = {}) {
  MemoryTree tree = Tree(files);
  return LayOut(tree, {}, limits).status();
}
absl::Status RefusedLabels(const std::string& text, const DataLimits& limits = {}) {
  return Refusal({{"labels.csv", text}}, limits);
}

TEST(LabelListTest, ImagesHaveTheClassesThatLinesSay) {
  MemoryTree tree = Tree({{"labels.csv", "width,File,LABEL\n1,i/c.png,dog\n2,./a.png,\"c,t\"\n"}});
  const auto layout = LayOut(tree);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_THAT(layout->classes, ElementsAre("c,t", "dog"));
  // b.png is named nowhere.
  EXPECT_THAT(LayoutText(tree, *layout), ElementsAre("train: a.png=0 i/c.png=1"));
}

TEST(LabelListTest, ColumnsHaveTheirUsualNames) {
  for (const char* file : {"file", "filename", "image", "path", "id", " Image "}) {
    for (const char* label : {"label", "class", "category"}) {
      MemoryTree tree =
          Tree({{"labels.csv", std::string(file) + "," + label + "\na.png,x\nb.png,y\n"}});
      EXPECT_THAT(LayoutText(tree, *LayOut(tree)), ElementsAre("train: a.png=0 b.png=1"));
    }
  }
  // The first name counts.
  MemoryTree both = Tree({{"labels.csv", "id,class,image,label\n7,p,a.png,x\n8,q,b.png,y\n"}});
  EXPECT_THAT(LayOut(both)->classes, ElementsAre("x", "y"));
}

TEST(LabelListTest, AColumnOrAListASplit) {
  MemoryTree column =
      Tree({{"labels.csv", "file,label,split\na.png,x,Test\nb.png,y,train\ni/c.png,x,mine\n"}});
  EXPECT_THAT(LayoutText(column, *LayOut(column)),
              ElementsAre("train: b.png=1", "mine: i/c.png=0", "test: a.png=0"));
  MemoryTree lists =
      Tree({{"train.csv", "id,label\na.png,x\n"}, {"Test.csv", "id,label\nb.png,y\n"}});
  EXPECT_THAT(LayoutText(lists, *LayOut(lists)), ElementsAre("train: a.png=0", "test: b.png=1"));
}

TEST(LabelListTest, ListsMayLieInTheOneFolderAroundIt) {
  MemoryTree tree(Files{{"w/labels.csv", "file,label\ni/1.png,x\n"}, {"w/i/1.png", ""}});
  EXPECT_THAT(LayoutText(tree, *LayOut(tree)), ElementsAre("train: w/i/1.png=0"));
  EXPECT_FALSE(HasLabelLists(MemoryTree(Files{{"w/labels.csv", ""}, {"v/1.png", ""}})));
  EXPECT_FALSE(HasLabelLists(MemoryTree(Files{{"v/w/labels.csv", ""}})));
}

TEST(LabelListTest, WholeNumbersAreNumbers) {
  MemoryTree tree = Tree({{"labels.csv", "file,label\na.png,10\nb.png,9\ni/c.png,0\n"}});
  const auto layout = LayOut(tree);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_THAT(layout->classes, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"));
  EXPECT_THAT(LayoutText(tree, *layout), ElementsAre("train: a.png=10 b.png=9 i/c.png=0"));
  MemoryTree named = Tree({{"labels.csv", "file,label\na.png,1\nb.png,0\n"}});
  EXPECT_THAT(LayOut(named, {"zero", "one", "two"})->classes, ElementsAre("zero", "one", "two"));
  EXPECT_THAT(LayoutText(named, *LayOut(named, {"zero", "one"})),
              ElementsAre("train: a.png=1 b.png=0"));
  ExpectInvalid(LayOut(named, {"zero"}).status(), "a.png: is of class \"1\"; want 0 to 0");
  // With a leading zero or a sign they are names.
  MemoryTree names = Tree({{"labels.csv", "file,label\na.png,01\nb.png,10\n"}});
  EXPECT_THAT(LayOut(names)->classes, ElementsAre("01", "10"));
  ExpectInvalid(RefusedLabels("file,label\na.png,16384\n"), "one is 16384; want 0 to 16383");
  ExpectInvalid(RefusedLabels("file,label\na.png,99999999999999999999\n"), "want 0 to 16383");
}

TEST(LabelListTest, ErrorsNameFileLineAndColumn) {
  ExpectError(RefusedLabels("file,label\na.png,x\nnone.png,x\n"), absl::StatusCode::kNotFound,
              "labels.csv: line 3, column \"file\": there is no file \"none.png\"");
  ExpectError(RefusedLabels("path,label\n../a.png,x\n"), absl::StatusCode::kNotFound,
              "line 2, column \"path\": there is no file \"../a.png\"");
  ExpectInvalid(RefusedLabels("file,label\na.png,x\n\n./a.png,y\n"),
                "labels.csv: line 4, column \"file\": \"./a.png\" is named twice, first in "
                "labels.csv, line 2");
  ExpectInvalid(RefusedLabels("file,Class\na.png,\n"),
                "labels.csv: line 2, column \"Class\": name 0 is \"\" (0 bytes)");
  ExpectInvalid(RefusedLabels("file,label,split\na.png,x,a/b\n"),
                "labels.csv: line 2, column \"split\"");
  ExpectInvalid(RefusedLabels("file,label\na.png\n"), "labels.csv: line 2: has 1 fields");
}

TEST(LabelListTest, ListsThatSayNothingAreRefused) {
  ExpectInvalid(RefusedLabels(""), "labels.csv: is empty; want a header");
  ExpectError(RefusedLabels("file,label\n"), absl::StatusCode::kNotFound, "here: holds no images");
  ExpectInvalid(RefusedLabels("label,pixel0\n3,0\n"),
                "labels.csv: has no column \"file\", \"filename\", \"image\", \"path\", \"id\"; "
                "its header is label, pixel0");
  ExpectInvalid(RefusedLabels("id\na.png\n"), "has no column \"label\", \"class\", \"category\"");
  ExpectInvalid(RefusedLabels("file,File,label\n"), "has two columns called \"file\"");
  ExpectInvalid(Refusal({{"train.csv", "file,label,split\n"}}),
                "train.csv: has a column \"split\", but its name says");
  ExpectInvalid(Refusal({{"train.csv", ""}, {"labels.csv", ""}}),
                "train.csv: lies beside labels.csv; want labels.csv, or one list a split");
  ExpectInvalid(Refusal({{"train.csv", ""}, {"Train.csv", ""}}),
                "train.csv: lies beside Train.csv");
}

TEST(LabelListTest, ClassesAndSplitsAreBounded) {
  DataLimits limits;
  limits.classes = 1;
  ExpectInvalid(RefusedLabels("file,label\na.png,x\nb.png,y\n", limits),
                "line 3, column \"label\": is one of more classes than the limit of 1");
  limits = {};
  limits.splits = 1;
  ExpectInvalid(RefusedLabels("file,label,split\na.png,x,p\nb.png,y,q\n", limits),
                "more than 1 splits");
}

}  // namespace
}  // namespace convd
