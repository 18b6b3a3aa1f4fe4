#include "core/data/dataset_files.h"

#include <filesystem>

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

std::string Images(uint32_t count, uint32_t side = 2, char pixel = 'p') {
  return IdxHeader(8, {count, side, side}) + std::string(size_t{count} * side * side, pixel);
}
std::string Labels(const std::string& labels) {
  return IdxHeader(8, {static_cast<uint32_t>(labels.size())}) + labels;
}
std::string Batch(const std::string& labels) {
  std::string batch;
  for (const char label : labels) batch += std::string(1, label) + std::string(3072, 'p');
  return batch;
}

class DatasetFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/dataset_files_test.XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Put(const std::string& name, const std::string& data) {
    const std::string path = folder_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << data;
  }
  void PutMnist() {
    Put("train-images-idx3-ubyte", Images(3));
    Put("train-labels-idx1-ubyte", Labels(std::string("\0\2\1", 3)));
    Put("t10k-images-idx3-ubyte", Images(2, 2, 't'));
    Put("t10k-labels-idx1-ubyte", Labels("\1\3"));
  }
  void PutCifar10(const std::string& folder) {
    for (int i = 1; i <= 5; ++i) {
      Put(folder + "data_batch_" + std::to_string(i) + ".bin",
          Batch(std::string(2, static_cast<char>(i))));
    }
    Put(folder + "test_batch.bin", Batch("\7"));
  }

  absl::StatusOr<Dataset> Read(const std::string& path, const std::vector<SplitFiles>& files = {},
                               const std::vector<std::string>& labels = {},
                               const DataLimits& limits = {}) {
    FileSystem& fs = FileSystem::Posix();
    const auto found =
        FindDatasetFiles(fs, path.empty() ? folder_ : folder_ + "/" + path, "here", files, limits);
    if (!found.ok()) return found.status();
    return ReadDatasetFiles(fs, *found, labels, limits);
  }

  std::string folder_;
};

TEST_F(DatasetFilesTest, FindsMnistsFilesByTheirUsualNames) {
  PutMnist();
  const auto dataset = Read("");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  // Classes reach to the largest label of any split.
  EXPECT_THAT(dataset->labels, ElementsAre("0", "1", "2", "3"));
  ASSERT_EQ(dataset->splits.size(), 2u);
  EXPECT_EQ(dataset->splits[0].name, "train");
  EXPECT_EQ(dataset->splits[1].name, "test");
  EXPECT_THAT(dataset->Find("train")->images.labels, ElementsAre(0, 2, 1));
  EXPECT_THAT(dataset->Find("test")->images.labels, ElementsAre(1, 3));
  EXPECT_EQ(PixelAt(dataset->Find("test")->images, 1, 1, 1, 0), 't');
}

TEST_F(DatasetFilesTest, FindsTheOtherSpellingAndGzip) {
  std::filesystem::create_directories(folder_);
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}) {
    std::filesystem::copy_file(
        std::string("/usr/share/datasets/fashion-mnist/t10k") + (name + 5) + ".gz",
        folder_ + "/" + name + ".gz");
  }
  const auto dataset = Read("");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->splits.size(), 1u);
  EXPECT_EQ(dataset->splits[0].images.count, 10'000);
  std::filesystem::remove_all(folder_);
  Put("train-images.idx3-ubyte", Images(1));
  Put("train-labels.idx1-ubyte", Labels("\1"));
  EXPECT_TRUE(Read("").ok());
}

TEST_F(DatasetFilesTest, HalfAPairIsNotFound) {
  PutMnist();
  std::filesystem::remove(folder_ + "/t10k-labels-idx1-ubyte");
  ExpectError(Read("").status(), absl::StatusCode::kNotFound,
              "here: has t10k-images-idx3-ubyte, but not t10k-labels-idx1-ubyte");
}

TEST_F(DatasetFilesTest, FindsCifar10sBatchesAlsoInTheirSubfolder) {
  for (const std::string subfolder : {"", "cifar-10-batches-bin/"}) {
    std::filesystem::remove_all(folder_);
    PutCifar10(subfolder);
    auto dataset = Read("");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->labels.size(), 8u);
    EXPECT_THAT(dataset->Find("train")->images.labels, ElementsAre(1, 1, 2, 2, 3, 3, 4, 4, 5, 5));
    EXPECT_THAT(dataset->Find("test")->images.labels, ElementsAre(7));
    Put(subfolder + "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    dataset = Read("");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_THAT(dataset->labels, ElementsAre("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"));
  }
}

TEST_F(DatasetFilesTest, AMissingBatchIsNotFoundRatherThanLeftOut) {
  PutCifar10("");
  std::filesystem::remove(folder_ + "/data_batch_2.bin");
  std::filesystem::remove(folder_ + "/data_batch_4.bin");
  ExpectError(Read("").status(), absl::StatusCode::kNotFound,
              "but not data_batch_2.bin, data_batch_4.bin");
}

TEST_F(DatasetFilesTest, FindsCifar100sFilesAlsoInTheirSubfolder) {
  for (const std::string subfolder : {"", "cifar-100-binary/"}) {
    std::filesystem::remove_all(folder_);
    Put(subfolder + "train.bin", Sample("cifar100.bin"));
    Put(subfolder + "test.bin", Sample("cifar100.bin").substr(2 * 3074));
    auto dataset = Read("");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    ASSERT_EQ(dataset->labels.size(), 100u);
    EXPECT_EQ(dataset->labels[99], "99");
    EXPECT_THAT(dataset->Find("train")->images.labels, ElementsAre(99, 0, 42));
    EXPECT_THAT(dataset->Find("test")->images.labels, ElementsAre(42));
    std::string names;
    for (int i = 0; i < 100; ++i) names += "class " + std::to_string(i) + "\n";
    Put(subfolder + "fine_label_names.txt", names);
    // By the folder, by itself, and named.
    for (const auto& again : {Read(""), Read(subfolder + "train.bin"),
                              Read("", {{"train", {subfolder + "train.bin"}, {}}})}) {
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(again->labels.size(), 100u);
      EXPECT_EQ(again->labels[42], "class 42");
    }
    Put(subfolder + "zipped", Sample("cifar100.bin.gz"));
    EXPECT_THAT(Read(subfolder + "zipped")->splits[0].images.labels, ElementsAre(99, 0, 42));
    // The names are CIFAR-100's only.
    Put(subfolder + "b.bin", Batch("\1"));
    EXPECT_EQ(Read(subfolder + "b.bin")->labels.size(), 2u);
    // Too few of them.
    Put(subfolder + "fine_label_names.txt", "a\nb\n");
    ExpectInvalid(Read("").status(), "split \"train\": the label of sample 0 is 99; want 0 to 1");
  }
}

TEST_F(DatasetFilesTest, ATrainBinBesideAnotherDatasetIsCifar100sWithItsNamesOnly) {
  PutMnist();
  Put("train.bin", "something else");
  EXPECT_TRUE(Read("").ok());
  Put("fine_label_names.txt", "a\n");
  ExpectInvalid(Read("").status(), "more than one dataset: MNIST's IDX files, CIFAR-100's files");
}

TEST_F(DatasetFilesTest, FindsOneNpz) {
  Put("anything.npz", Sample("u8.npz"));
  const auto dataset = Read("");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->splits.size(), 1u);
  EXPECT_EQ(dataset->splits[0].name, "train");
  ExpectSamplePixels(dataset->splits[0].images, 0);
  EXPECT_TRUE(Read("anything.npz").ok());
}

TEST_F(DatasetFilesTest, AnNpzWithKerasNamesGivesTrainAndTest) {
  Put("mnist.npz", Sample("keras.npz"));
  // By itself, in a folder, and named for each split.
  for (const auto& dataset :
       {Read("mnist.npz"), Read(""),
        Read("", {{"train", {"mnist.npz"}, {}}, {"test", {"mnist.npz"}, {}}})}) {
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    ASSERT_EQ(dataset->splits.size(), 2u);
    EXPECT_EQ(dataset->splits[0].name, "train");
    EXPECT_THAT(dataset->splits[0].images.labels, ElementsAre(3, 0, 7, 4, 1));
    EXPECT_EQ(dataset->splits[1].name, "test");
    EXPECT_THAT(dataset->splits[1].images.labels, ElementsAre(8, 5));
    EXPECT_EQ(dataset->labels.size(), 9u);
  }
  ExpectError(Read("", {{"mine", {"mnist.npz"}, {}}}).status(), absl::StatusCode::kNotFound,
              "mnist.npz: holds the splits train, test; got \"mine\"");
  Put("mnist.npz", Sample("keras_no_y_test.npz"));
  ExpectError(Read("").status(), absl::StatusCode::kNotFound, "mnist.npz: has no array Y_test");
}

TEST_F(DatasetFilesTest, MoreThanOneDatasetIsAQuestion) {
  PutMnist();
  Put("a.npz", Sample("u8.npz"));
  ExpectInvalid(Read("").status(), "here: has more than one dataset: MNIST's IDX files, a.npz");
}

TEST_F(DatasetFilesTest, AnArchiveBesideImagesOrListsIsAQuestion) {
  const std::string zip = Sample("archives/classes.zip");
  Put("flowers.ZIP", zip);
  Put(".hidden.zip", zip);
  const auto dataset = Read("");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->labels.size(), 3u);
  Put("labels.csv", "file,label\n");
  ExpectInvalid(Read("").status(), "flowers.ZIP, image files; name the files of one, or its path");
  std::filesystem::remove(folder_ + "/labels.csv");
  Put("cat/a.png", "");
  ExpectInvalid(Read("").status(), "flowers.ZIP, image files; name the files of one, or its path");
  std::filesystem::remove_all(folder_ + "/cat");
  Put("other.tgz", Sample("archives/splits.tgz"));
  ExpectInvalid(Read("").status(), "more than one dataset: flowers.ZIP, other.tgz");
  // What other datasets are downloaded as is no question.
  PutCifar10("cifar-10-batches-bin/");
  EXPECT_EQ(Read("")->labels.size(), 8u);
}

TEST_F(DatasetFilesTest, NothingUsualIsNotFoundAndSaysWhatWasLookedFor) {
  Put("cat.jpg", "x");
  ExpectError(Read("").status(), absl::StatusCode::kNotFound, "train-images-idx3-ubyte");
  ExpectError(Read("none").status(), absl::StatusCode::kNotFound, "here: there is no such");
}

TEST_F(DatasetFilesTest, ASingleFileIsTheTrainSplit) {
  Put("b.bin", Batch("\1\2"));
  EXPECT_TRUE(Read("b.bin").ok());
  Put("i", Images(2));
  ExpectInvalid(Read("i").status(), "is an IDX file, which has no labels; name its labels file");
  Put("w", "<html>");
  ExpectInvalid(Read("w").status(), "web page");
}

// CIFAR-10's batches have no magic: what has their size and no other kind's start is one, and its
// labels are what is wrong with it.
TEST_F(DatasetFilesTest, ABatchThatBeginsWithALabelBeyondTheClassesIsToldSo) {
  Put("b.bin", Batch("\n\1"));
  ExpectInvalid(Read("b.bin").status(), "here: record 0 (offset 0) has label 10");
  Put("b.bin", Batch("\xff\1"));
  ExpectInvalid(Read("b.bin").status(), "here: record 0 (offset 0) has label 255");
  Put("b.bin", Batch("\n\1") + "x");
  ExpectInvalid(Read("b.bin").status(), "here: is of an unknown kind (6147 bytes");
}

TEST_F(DatasetFilesTest, NamedFilesMayBeAnythingInAnyOrder) {
  Put("sub/a", Batch("\1\2"));
  Put("b", Batch("\3"));
  Put("i", Images(1, 32));
  const auto dataset = Read("", {{"mine", {"b", "sub/a"}, {}}});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->Find("mine")->images.labels, ElementsAre(3, 1, 2));
  Put("x", Images(2));
  Put("y", Images(1, 2, 'y'));
  Put("lx", Labels("\1\2"));
  Put("ly", Labels("\3"));
  const auto idx = Read("", {{"train", {"x", "y"}, {"lx", "ly"}}});
  ASSERT_TRUE(idx.ok()) << idx.status();
  EXPECT_THAT(idx->splits[0].images.labels, ElementsAre(1, 2, 3));
  EXPECT_EQ(PixelAt(idx->splits[0].images, 2, 0, 0, 0), 'y');
}

TEST_F(DatasetFilesTest, WhatCantBeNamedIsRefusedByField) {
  Put("x", Images(2));
  Put("lx", Labels("\1\2"));
  std::filesystem::create_directory(folder_ + "/folder");
  ExpectInvalid(Read("", {{"a/b", {"x"}, {"lx"}}}).status(), "files[0].split");
  ExpectInvalid(Read("", {{"a", {"x"}, {"lx"}}, {"a", {"x"}, {"lx"}}}).status(),
                "files[1].split: \"a\" is that of files[0] too");
  ExpectInvalid(Read("", {{"a", {}, {}}}).status(), "files[0].images: want at least one");
  ExpectInvalid(Read("", {{"a", {"x", "x"}, {"lx"}}}).status(),
                "files[0].labels: got 1 files for 2 of images");
  ExpectInvalid(Read("", {{"a", {"/etc/passwd"}, {"lx"}}}).status(),
                "files[0].images[0]: \"/etc/passwd\": want a path relative");
  ExpectInvalid(Read("", {{"a", {std::string("x\0", 2)}, {"lx"}}}).status(), "want a path");
  ExpectInvalid(Read("", {{"a", {"folder"}, {"lx"}}}).status(), "is a folder; a file is wanted");
  ExpectError(Read("", {{"a", {"x"}, {"none"}}}).status(), absl::StatusCode::kNotFound,
              "files[0].labels[0]: \"none\": there is no such file in here");
  ExpectInvalid(Read("x", {{"a", {"x"}, {"lx"}}}).status(), "here: is a file");
  DataLimits limits;
  limits.files = 1;
  ExpectInvalid(Read("", {{"a", {"x"}, {"lx"}}}, {}, limits).status(), "more than 1 files");
  limits = {};
  limits.splits = 1;
  ExpectInvalid(Read("", {{"a", {"x"}, {"lx"}}, {"b", {"x"}, {"lx"}}}, {}, limits).status(),
                "got 2 splits");
}

TEST_F(DatasetFilesTest, SplitsMustAgreeInShapeAndType) {
  Put("a", Images(2));
  Put("b", Images(2, 3));
  Put("l", Labels("\1\2"));
  ExpectInvalid(Read("", {{"train", {"a"}, {"l"}}, {"test", {"b"}, {"l"}}}).status(),
                "b: split \"test\" has images of 3x3x1 uint8, but \"train\" of 2x2x1 uint8");
  ExpectInvalid(Read("", {{"train", {"a", "b"}, {"l", "l"}}}).status(),
                "b: has images of 3x3x1 uint8, but a of 2x2x1 uint8");
  Put("f.npz", Sample("f32.npz"));
  Put("u.npz", Sample("u8.npz"));
  ExpectInvalid(Read("", {{"train", {"f.npz"}, {}}, {"test", {"u.npz"}, {}}}).status(),
                "4x6x3 uint8, but \"train\" of 4x6x3 float32");
}

TEST_F(DatasetFilesTest, LabelsBeyondTheNamedClassesAreRefused) {
  PutMnist();
  EXPECT_TRUE(Read("", {}, {"a", "b", "c", "d"}).ok());
  EXPECT_THAT(Read("", {}, {"a", "b", "c", "d", "e"})->labels,
              ElementsAre("a", "b", "c", "d", "e"));
  ExpectInvalid(Read("", {}, {"a", "b", "c"}).status(),
                "t10k-labels-idx1-ubyte: the label of sample 1 is 3; want 0 to 2");
  ExpectInvalid(Read("", {}, {"a", "b", "c", "a"}).status(), "labels: names 0 and 3");
}

TEST_F(DatasetFilesTest, TheWholeDatasetIsBounded) {
  PutMnist();
  DataLimits limits;
  limits.dataset_bytes = 5 * (4 + 4);
  EXPECT_TRUE(Read("", {}, {}, limits).ok());
  --limits.dataset_bytes;
  ExpectError(Read("", {}, {}, limits).status(), absl::StatusCode::kInvalidArgument,
              "t10k-images-idx3-ubyte: with it the dataset has 40 bytes");
  limits = {};
  limits.file_bytes = 20;
  ExpectError(Read("", {}, {}, limits).status(), absl::StatusCode::kInvalidArgument,
              "train-images-idx3-ubyte: has 28 bytes; the limit is 20");
}

TEST_F(DatasetFilesTest, ABatchThatBeginsLikeAnIdxFileIsABatchStill) {
  // Label 0, then pixels 0, 8, 3: nearly black.
  std::string batch = Batch(std::string("\0\1", 2));
  batch.replace(0, 4, std::string("\0\0\x08\x03", 4));
  Put("b", batch);
  const auto dataset = Read("b");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->splits[0].images.labels, ElementsAre(0, 1));
}

}  // namespace
}  // namespace convd
