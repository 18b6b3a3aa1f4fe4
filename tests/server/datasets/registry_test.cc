#include "server/datasets/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/datasets/dataset_folder.h"
#include "server/record_text.h"
#include "tests/server/datasets/small_datasets.h"

namespace convd {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DatasetRegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/registry_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
    fs::create_directories(Data("mnist"));
    for (const auto& [file, bytes] : SmallMnist()) Put(Data("mnist/" + file), bytes);
    fs::create_directories(Data("other"));
    for (const auto& [file, bytes] : SmallMnist('q')) Put(Data("other/" + file), bytes);
    Reopen();
  }
  void TearDown() override {
    registry_ = nullptr;
    fs::remove_all(root_);
  }

  std::string Data(const std::string& name) const { return root_ + "/data/" + name; }
  std::string State(const std::string& name) const { return root_ + "/state/" + name; }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static void Put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  void Reopen(const DataLimits& limits = {}) {
    registry_ = nullptr;
    auto opened = DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state",
                                        {root_ + "/data"}, limits, [this](int64_t bytes) {
                                          if (bytes <= room_) return absl::OkStatus();
                                          return absl::ResourceExhaustedError("no room");
                                        });
    ASSERT_TRUE(opened.ok()) << opened.status();
    registry_ = *std::move(opened);
  }
  absl::StatusOr<v1::Dataset> Register(const std::string& name, const std::string& path,
                                       const std::vector<std::string>& labels = {}) {
    v1::RegisterDatasetRequest request;
    request.set_name(name);
    request.set_path(path);
    for (const std::string& label : labels) request.add_labels(label);
    return registry_->Register(request);
  }
  std::vector<std::string> Listed() {
    std::vector<std::string> names;
    for (const v1::Dataset& dataset : registry_->List()) names.push_back(dataset.name());
    return names;
  }
  // Files and folders under STATE, relative to it.
  std::set<std::string> Everything() {
    std::set<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(State(""))) {
      paths.insert(fs::relative(entry.path(), State("")).string());
    }
    return paths;
  }
  void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& words) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  StoppedClock clock_;
  std::string root_;
  int64_t room_ = std::numeric_limits<int64_t>::max();
  std::unique_ptr<DatasetRegistry> registry_;
};

TEST_F(DatasetRegistryTest, RegistersAFolderAndSaysWhatIsInIt) {
  const auto dataset = Register("mnist", "mnist");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "mnist");
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  EXPECT_EQ(dataset->height(), 2);
  EXPECT_EQ(dataset->width(), 2);
  EXPECT_EQ(dataset->channels(), 1);
  EXPECT_EQ(dataset->element_type(), v1::ELEMENT_TYPE_UINT8);
  EXPECT_THAT(dataset->labels(), ElementsAre("0", "1", "2", "3"));
  ASSERT_EQ(dataset->splits_size(), 2);
  EXPECT_EQ(dataset->splits(0).name(), "train");
  EXPECT_EQ(dataset->splits(0).samples(), 3);
  EXPECT_THAT(dataset->splits(0).class_counts(), ElementsAre(1, 1, 1, 0));
  EXPECT_THAT(dataset->splits(1).class_counts(), ElementsAre(0, 1, 0, 1));
  EXPECT_EQ(dataset->created().seconds(), 1'700'000'000);
  EXPECT_THAT(dataset->pixels().mean(), ElementsAre('p'));
  EXPECT_THAT(dataset->pixels().deviation(), ElementsAre(0));
  EXPECT_THAT(dataset->pixels().border_mean(), ElementsAre('p'));
  // Four arrays of 128-byte headers, 12 and 8 pixels, 3 and 2 labels of 4 bytes.
  EXPECT_EQ(dataset->size_bytes(), 4 * 128 + 12 + 8 + 12 + 8);
  int64_t size = 0;
  for (const auto& entry : fs::directory_iterator(State("datasets/") + kSmallMnistSha256)) {
    if (entry.path().extension() == ".npy") size += static_cast<int64_t>(entry.file_size());
  }
  EXPECT_EQ(dataset->size_bytes(), size);
  EXPECT_EQ(registry_->Get("mnist")->SerializeAsString(), dataset->SerializeAsString());
  EXPECT_THAT(Listed(), ElementsAre("mnist"));
}

TEST_F(DatasetRegistryTest, LoadsWhatWasRegistered) {
  ASSERT_TRUE(Register("mnist", "mnist", {"a", "b", "c", "d"}).ok());
  const auto dataset = registry_->Load("mnist");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT((*dataset)->labels, ElementsAre("a", "b", "c", "d"));
  ASSERT_EQ((*dataset)->splits.size(), 2u);
  const ImageSet& test = (*dataset)->Find("test")->images;
  EXPECT_EQ(test.count, 2);
  EXPECT_EQ(std::string(test.image(0), 8), "tttttttt");
  EXPECT_THAT(test.labels, ElementsAre(1, 3));
  EXPECT_THAT((*dataset)->Find("train")->images.labels, ElementsAre(0, 2, 1));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(test.pixels) % 64, 0u);
}

TEST_F(DatasetRegistryTest, FloatingPointPixelsComeBackAsTheyWere) {
  fs::copy_file(CONVD_SOURCE_DIR "/tests/core/data/samples/f32.npz", Data("f32.npz"));
  const auto registered = Register("f32", "f32.npz");
  ASSERT_TRUE(registered.ok()) << registered.status();
  EXPECT_EQ(registered->element_type(), v1::ELEMENT_TYPE_FLOAT32);
  const auto dataset = registry_->Load("f32");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  float last;
  std::memcpy(&last, (*dataset)->splits[0].images.image(5) - 4, 4);
  EXPECT_EQ(last, (37 * 4 + 11 * 3 + 5 * 5 + 3 * 2) % 251 + 0.25f);
}

TEST_F(DatasetRegistryTest, ALoadedDatasetIsSharedAndOutlivesItsDeletion) {
  ASSERT_TRUE(Register("mnist", "mnist").ok());
  auto first = *registry_->Load("mnist");
  EXPECT_EQ(*registry_->Load("mnist"), first);
  // Of the same content under another name too.
  ASSERT_TRUE(Register("same", "mnist").ok());
  EXPECT_EQ(*registry_->Load("same"), first);
  ASSERT_TRUE(registry_->Delete("mnist").ok());
  ASSERT_TRUE(registry_->Delete("same").ok());
  EXPECT_EQ(std::string(first->Find("train")->images.image(0), 12), "pppppppppppp");
  ImageSet only = first->Find("train")->images;
  first = nullptr;
  EXPECT_THAT(only.labels, ElementsAre(0, 2, 1));
  ExpectError(registry_->Load("mnist").status(), absl::StatusCode::kNotFound, "\"mnist\"");
}

TEST_F(DatasetRegistryTest, AllStateComesBackAfterARestart) {
  const auto before = Register("mnist", "mnist");
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(Register("b.textproto", "other").ok());
  Reopen();
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre("b.textproto", "mnist"));
  EXPECT_EQ(registry_->Get("mnist")->SerializeAsString(), before->SerializeAsString());
  EXPECT_TRUE(registry_->Load("mnist").ok());
}

TEST_F(DatasetRegistryTest, TheSameNameWithTheSameContentChangesNothing) {
  const auto first = Register("mnist", "mnist");
  const std::set<std::string> before = Everything();
  const auto second = Register("mnist", Data("mnist"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(Everything(), before);
}

TEST_F(DatasetRegistryTest, TheSameNameWithOtherContentIsRefused) {
  ASSERT_TRUE(Register("mnist", "mnist").ok());
  const std::set<std::string> before = Everything();
  ExpectError(Register("mnist", "other").status(), absl::StatusCode::kAlreadyExists,
              "\"mnist\" stands for other data (SHA-256 928b3f33");
  ExpectError(Register("mnist", "mnist", {"a", "b", "c", "d"}).status(),
              absl::StatusCode::kAlreadyExists, "delete it first");
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(registry_->Get("mnist")->sha256(), kSmallMnistSha256);
}

TEST_F(DatasetRegistryTest, TheHashIsOfTheContentAlone) {
  // The splits in another order, from files of other names.
  v1::RegisterDatasetRequest request;
  request.set_name("again");
  request.set_path("mnist");
  for (const auto& [split, stem] : {std::pair{"test", "t10k"}, std::pair{"train", "train"}}) {
    v1::SplitFiles& files = *request.add_files();
    files.set_split(split);
    files.add_images(std::string(stem) + "-images-idx3-ubyte");
    files.add_labels(std::string(stem) + "-labels-idx1-ubyte");
  }
  EXPECT_EQ(registry_->Register(request)->sha256(), kSmallMnistSha256);
  EXPECT_NE(Register("names", "mnist", {"a", "b", "c", "d"})->sha256(), kSmallMnistSha256);
  EXPECT_NE(Register("other", "other")->sha256(), kSmallMnistSha256);
}

TEST_F(DatasetRegistryTest, NamesForTheSameContentShareItUntilTheLastGoes) {
  const std::string folder = State("datasets/") + kSmallMnistSha256;
  ASSERT_TRUE(Register("a", "mnist").ok());
  ASSERT_TRUE(Register("b", "mnist").ok());
  ASSERT_TRUE(registry_->Delete("a").ok());
  EXPECT_TRUE(fs::exists(folder));
  EXPECT_TRUE(registry_->Load("b").ok());
  ASSERT_TRUE(registry_->Delete("b").ok());
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_TRUE(fs::is_empty(State("tmp")));
  EXPECT_TRUE(fs::is_empty(State("datasets/names")));
  ExpectError(registry_->Delete("b"), absl::StatusCode::kNotFound, "\"b\"");
}

TEST_F(DatasetRegistryTest, RefusedRequestsLeaveNothingBehind) {
  Put(Data("bad"), "<html>");
  fs::create_directories(root_ + "/outside");
  Put(root_ + "/outside/f.npz", "x");
  fs::create_directory_symlink(root_ + "/outside", Data("out"));
  fs::create_directories(Data("tricky"));
  for (const auto& [file, bytes] : SmallMnist()) Put(Data("tricky/" + file), bytes);
  fs::remove(Data("tricky/t10k-labels-idx1-ubyte"));
  Put(root_ + "/outside/labels", IdxLabels("\1\3"));
  fs::create_symlink(root_ + "/outside/labels", Data("tricky/t10k-labels-idx1-ubyte"));
  const std::set<std::string> before = Everything();
  const struct {
    const char* name;
    std::string path;
    absl::StatusCode code;
    const char* words;
  } cases[] = {
      {"../x", "mnist", absl::StatusCode::kInvalidArgument, "name: got \"../x\""},
      {"", "mnist", absl::StatusCode::kInvalidArgument, "name: "},
      {"x", "", absl::StatusCode::kInvalidArgument, "path: \"\""},
      {"x", "none", absl::StatusCode::kNotFound, "path: \"none\""},
      {"x", "bad", absl::StatusCode::kInvalidArgument, "bad: is a web page"},
      {"x", "/etc", absl::StatusCode::kPermissionDenied, "--data-dir"},
      {"x", "../outside", absl::StatusCode::kPermissionDenied, "--data-dir"},
      {"x", "out", absl::StatusCode::kPermissionDenied, "--data-dir"},
      {"x", "out/f.npz", absl::StatusCode::kPermissionDenied, "--data-dir"},
      {"x", "tricky", absl::StatusCode::kPermissionDenied, "t10k-labels-idx1-ubyte"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    ExpectError(Register(c.name, c.path).status(), c.code, c.words);
  }
  v1::RegisterDatasetRequest climbing;
  climbing.set_name("x");
  climbing.set_path("mnist");
  v1::SplitFiles& files = *climbing.add_files();
  files.set_split("train");
  files.add_images("../../outside/f.npz");
  // The answer is the same for a file, a folder and nothing: it doesn't tell what lies there.
  for (const char* elsewhere : {"../../outside/f.npz", "../../outside/none", "../../outside"}) {
    SCOPED_TRACE(elsewhere);
    files.set_images(0, elsewhere);
    ExpectError(registry_->Register(climbing).status(), absl::StatusCode::kPermissionDenied,
                "files[0].images[0]: ");
    files.set_images(0, "train-images-idx3-ubyte");
    files.add_labels(elsewhere);
    ExpectError(registry_->Register(climbing).status(), absl::StatusCode::kPermissionDenied,
                "files[0].labels[0]: ");
    files.clear_labels();
  }
  ExpectError(Register("x", "mnist", {"a", "b", "c"}).status(), absl::StatusCode::kInvalidArgument,
              "is 3; want 0 to 2");
  ExpectError(Register("x", "mnist", {"a", "b", "c", "a\n"}).status(),
              absl::StatusCode::kInvalidArgument, "labels: name 3");
  EXPECT_EQ(Everything(), before);
  EXPECT_THAT(Listed(), IsEmpty());
}

// SHA-256, by Python's hashlib, of the bytes that dataset_folder.h defines for the images, by
// numpy, that make_archives.py says are in its splits.
constexpr char kSplitsSha256[] = "5f1545a9b27e9ced0010d5022be0b86dfbde641bf3fcc154d6f9231920e9f4af";

// samples/archives/NAME, which tests/core/data/make_archives.py wrote.
std::string ArchiveSample(const std::string& name) {
  return CONVD_SOURCE_DIR "/tests/core/data/samples/archives/" + name;
}

TEST_F(DatasetRegistryTest, AFolderOfImagesIsTheSameDatasetAsItsZipAndTar) {
  fs::copy(ArchiveSample("splits"), Data("folder"), fs::copy_options::recursive);
  for (const std::string name : {"splits.zip", "splits.tgz"}) {
    fs::copy(ArchiveSample(name), Data(name));
  }
  for (const std::string name : {"folder", "splits.zip", "splits.tgz"}) {
    const auto dataset = Register(name, name);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->sha256(), kSplitsSha256) << name;
    EXPECT_THAT(dataset->labels(), ElementsAre("cat", "dog", "eel"));
    EXPECT_THAT(dataset->splits(0).class_counts(), ElementsAre(1, 1, 0));
    EXPECT_THAT(dataset->splits(1).class_counts(), ElementsAre(0, 1, 1));
  }
  v1::UploadHeader header;
  header.set_name("uploaded");
  header.mutable_image_size()->set_height(4);
  header.mutable_image_size()->set_width(6);
  auto upload = registry_->BeginUpload(header);
  ASSERT_TRUE(upload.ok()) << upload.status();
  ASSERT_TRUE((*upload)->Write("any-name.zip", 0, ReadFile(ArchiveSample("splits.zip"))).ok());
  const auto dataset = (*upload)->Commit();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), kSplitsSha256);
  header.mutable_image_size()->set_width(0);
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kInvalidArgument,
              "header.image_size.width: got 0; want 1 to 65535");
}

TEST_F(DatasetRegistryTest, LinksAmongImageFilesAreFollowedWithinTheDataDirsOnly) {
  fs::copy(ArchiveSample("splits"), Data("real"), fs::copy_options::recursive);
  fs::create_directories(Data("links"));
  fs::create_directory_symlink(Data("real/Train"), Data("links/train"));
  fs::create_directories(Data("links/test/dog"));
  fs::create_directory_symlink("../../real/Test/eel", Data("links/test/eel"));
  fs::create_symlink(Data("real/Test/dog/c.png"), Data("links/test/dog/c.png"));
  const auto dataset = Register("links", "links");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), kSplitsSha256);

  fs::create_directories(root_ + "/outside/dog");
  fs::copy(Data("real/Test/dog/c.png"), root_ + "/outside/dog/c.png");
  const auto expect_refused = [&](const std::string& shown) {
    ExpectError(Register("new", "links").status(), absl::StatusCode::kPermissionDenied,
                shown + ": \"");
  };
  fs::create_symlink(root_ + "/outside/dog/c.png", Data("links/test/dog/d.png"));
  expect_refused("test/dog/d.png");
  fs::remove(Data("links/test/dog/d.png"));
  fs::create_directory_symlink(root_ + "/outside/dog", Data("links/test/fox"));
  expect_refused("test/fox");
}

TEST_F(DatasetRegistryTest, UploadedFilesBecomeTheSameDataset) {
  v1::UploadHeader header;
  header.set_name("uploaded");
  auto upload = registry_->BeginUpload(header);
  ASSERT_TRUE(upload.ok()) << upload.status();
  for (const auto& [file, bytes] : SmallMnist()) {
    // In pieces.
    for (size_t at = 0; at < bytes.size(); at += 5) {
      ASSERT_TRUE((*upload)->Write(file, 0, std::string_view(bytes).substr(at, 5)).ok());
    }
  }
  const auto dataset = (*upload)->Commit();
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "uploaded");
  EXPECT_EQ(dataset->sha256(), kSmallMnistSha256);
  EXPECT_TRUE(fs::is_empty(State("tmp")));
  EXPECT_TRUE(registry_->Load("uploaded").ok());
  ExpectError((*upload)->Commit().status(), absl::StatusCode::kFailedPrecondition, "already");
}

TEST_F(DatasetRegistryTest, AnUploadThatIsDroppedLeavesNothingBehind) {
  const std::set<std::string> before = Everything();
  v1::UploadHeader header;
  header.set_name("x");
  {
    auto upload = registry_->BeginUpload(header);
    ASSERT_TRUE((*upload)->Write("f", 0, "bytes").ok());
    EXPECT_NE(Everything(), before);
  }
  EXPECT_EQ(Everything(), before);
}

TEST_F(DatasetRegistryTest, UploadsThatCantBeAreRefusedAndLeaveNothingBehind) {
  DataLimits limits;
  limits.upload_bytes = 100;
  Reopen(limits);
  const std::set<std::string> before = Everything();
  v1::UploadHeader header;
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kInvalidArgument, "name");
  header.set_name("x");
  for (const std::string& file : {std::string("../x"), std::string("/etc/x"), std::string(),
                                  std::string("a\0b", 3), std::string(300, 'a')}) {
    auto upload = registry_->BeginUpload(header);
    ExpectError((*upload)->Write(file, 0, "x"), absl::StatusCode::kInvalidArgument, "chunk.file");
    EXPECT_EQ(Everything(), before);
  }
  {
    auto upload = registry_->BeginUpload(header);
    ASSERT_TRUE((*upload)->Write("a", 0, std::string(60, 'x')).ok());
    ExpectError((*upload)->Write("b", 0, std::string(60, 'x')), absl::StatusCode::kInvalidArgument,
                "more than 100 bytes");
    EXPECT_EQ(Everything(), before);
    ExpectError((*upload)->Write("a", 0, "x"), absl::StatusCode::kInvalidArgument, "100");
    ExpectError((*upload)->Commit().status(), absl::StatusCode::kInvalidArgument, "100");
  }
  {
    auto upload = registry_->BeginUpload(header);
    ExpectError((*upload)->Commit().status(), absl::StatusCode::kInvalidArgument, "no files");
  }
  {
    auto upload = registry_->BeginUpload(header);
    ASSERT_TRUE((*upload)->Write("f", 0, "rubbish").ok());
    ExpectError((*upload)->Commit().status(), absl::StatusCode::kNotFound, "the upload: has no");
    EXPECT_EQ(Everything(), before);
  }
  {
    auto upload = registry_->BeginUpload(header);
    for (int i = 0; i < 64; ++i) ASSERT_TRUE((*upload)->Write(absl::StrCat("f", i), 0, "").ok());
    ExpectError((*upload)->Write("g", 0, ""), absl::StatusCode::kInvalidArgument, "at most 64");
  }
  header.add_files()->set_split("train");
  header.mutable_files(0)->add_images("../../x");
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kInvalidArgument,
              "header.files[0].images");
  EXPECT_EQ(Everything(), before);
}

TEST_F(DatasetRegistryTest, WithoutRoomNothingNewIsKept) {
  const int64_t bytes = Register("there", "mnist")->size_bytes();
  ASSERT_TRUE(registry_->Delete("there").ok());
  const std::set<std::string> before = Everything();
  room_ = bytes - 1;
  ExpectError(Register("mnist", "mnist").status(), absl::StatusCode::kResourceExhausted, "no room");
  EXPECT_EQ(Everything(), before);
  room_ = bytes;
  EXPECT_TRUE(Register("mnist", "mnist").ok());
  room_ = 0;
  // What is there already takes nothing more.
  EXPECT_TRUE(Register("mnist", "mnist").ok());
  EXPECT_TRUE(Register("another-name", "mnist").ok());
}

TEST_F(DatasetRegistryTest, AnUploadEndsWhereRoomDoes) {
  const std::set<std::string> before = Everything();
  v1::UploadHeader header;
  header.set_name("mnist");
  room_ = 10;
  std::unique_ptr<DatasetUpload> upload = *registry_->BeginUpload(header);
  EXPECT_TRUE(upload->Write("a", 0, std::string(10, 'x')).ok());
  ExpectError(upload->Write("a", 0, std::string(11, 'x')), absl::StatusCode::kResourceExhausted,
              "no room");
  EXPECT_EQ(Everything(), before);
  ExpectError(upload->Commit().status(), absl::StatusCode::kResourceExhausted, "no room");
  upload = nullptr;
  room_ = -1;
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kResourceExhausted,
              "no room");
}

TEST_F(DatasetRegistryTest, UploadsAtOnceAreBounded) {
  v1::UploadHeader header;
  header.set_name("x");
  std::vector<std::unique_ptr<DatasetUpload>> uploads;
  for (int i = 0; i < 8; ++i) uploads.push_back(*registry_->BeginUpload(header));
  ExpectError(registry_->BeginUpload(header).status(), absl::StatusCode::kResourceExhausted,
              "8 uploads already");
  uploads.pop_back();
  EXPECT_TRUE(registry_->BeginUpload(header).ok());
}

TEST_F(DatasetRegistryTest, DamagedDatasetsAreReportedAndDontHideTheOthers) {
  ASSERT_TRUE(Register("good", "other").ok());
  ASSERT_TRUE(Register("bad", "mnist").ok());
  const std::string images = State("datasets/") + kSmallMnistSha256 + "/train.images.npy";
  fs::resize_file(images, 100);
  Reopen();
  EXPECT_THAT(registry_->TakeWarnings(), Contains(HasSubstr("train.images.npy: has 100 bytes")));
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre("good"));
  ExpectError(registry_->Get("bad").status(), absl::StatusCode::kDataLoss, "\"bad\" is damaged");
  ExpectError(registry_->Load("bad").status(), absl::StatusCode::kDataLoss, "has 100 bytes");
  EXPECT_TRUE(registry_->Load("good").ok());
  // Registering it again mends it.
  ASSERT_TRUE(Register("bad", "mnist").ok());
  EXPECT_TRUE(registry_->Load("bad").ok());
  Reopen();
  EXPECT_THAT(registry_->TakeWarnings(), IsEmpty());
  EXPECT_THAT(Listed(), ElementsAre("bad", "good"));
}

TEST_F(DatasetRegistryTest, DamageAfterTheStartIsFoundWhenItIsLoaded) {
  ASSERT_TRUE(Register("mnist", "mnist").ok());
  const std::string folder = State("datasets/") + kSmallMnistSha256 + "/";
  const auto set_first_label = [&folder](char label) {
    std::fstream labels(folder + "train.labels.npy", std::ios::in | std::ios::out);
    labels.seekp(128);
    labels.put(label);
  };
  // A label beyond the classes, which training would use as an index.
  set_first_label(99);
  ExpectError(registry_->Load("mnist").status(), absl::StatusCode::kDataLoss,
              "label of sample 0 is 99; want 0 to 3");
  set_first_label(0);
  EXPECT_TRUE(registry_->Load("mnist").ok());
  fs::remove(folder + "test.images.npy");
  ExpectError(registry_->Load("mnist").status(), absl::StatusCode::kDataLoss, "test.images.npy");
  EXPECT_TRUE(registry_->Delete("mnist").ok());
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(DatasetRegistryTest, RecordsThatMakeNoSenseAreDamage) {
  ASSERT_TRUE(Register("mnist", "mnist").ok());
  const std::string path = State("datasets/") + kSmallMnistSha256 + "/dataset.textproto";
  const v1::Dataset good = *ReadDatasetRecord(FileSystem::Posix(), path);
  const auto changed = [&](auto change) {
    v1::Dataset record = good;
    change(record);
    return RecordText(record);
  };
  const std::string records[] = {
      "",
      "rubbish",
      changed([](auto& r) { r.set_sha256(std::string(64, 'a')); }),
      changed([](auto& r) {
        r.set_height(2'000'000'000);
        r.set_width(2'000'000'000);
      }),
      changed([](auto& r) { r.set_width(0); }),
      changed([](auto& r) { r.set_element_type(v1::ELEMENT_TYPE_UNSPECIFIED); }),
      changed([](auto& r) { r.clear_labels(); }),
      changed([](auto& r) { r.clear_splits(); }),
      changed([](auto& r) { r.mutable_splits(0)->set_name("../../../../etc/passwd"); }),
      changed([](auto& r) { r.mutable_splits(0)->set_samples(int64_t{1} << 62); }),
      changed([](auto& r) { r.mutable_splits(0)->set_samples(-1); }),
      changed([](auto& r) { r.mutable_splits(0)->set_name("test"); }),
      changed([](auto& r) { r.mutable_splits(0)->clear_class_counts(); }),
  };
  for (const std::string& record : records) {
    SCOPED_TRACE(record);
    Put(path, record);
    Reopen();
    EXPECT_THAT(registry_->TakeWarnings(), Contains(HasSubstr("damaged")));
    ExpectError(registry_->Load("mnist").status(), absl::StatusCode::kDataLoss, "damaged");
  }
}

TEST_F(DatasetRegistryTest, AnUnreadableNameIsNoReasonToDropData) {
  ASSERT_TRUE(Register("a", "mnist").ok());
  Put(State("datasets/names/a.textproto"), "rubbish");
  Reopen();
  EXPECT_THAT(registry_->TakeWarnings(), Contains(HasSubstr("\"a\" is damaged")));
  EXPECT_TRUE(fs::exists(State("datasets/") + kSmallMnistSha256));
  ExpectError(registry_->Get("a").status(), absl::StatusCode::kDataLoss, "can't be read");
  ASSERT_TRUE(Register("a", "mnist").ok());
  EXPECT_TRUE(registry_->Load("a").ok());
}

TEST_F(DatasetRegistryTest, WhatInterruptedCallsLeftIsRemovedAndNothingElse) {
  ASSERT_TRUE(Register("a", "mnist").ok());
  fs::create_directories(State("tmp/dataset-1-2"));
  Put(State("tmp/dataset-1-2/f"), "x");
  fs::create_directories(State("tmp/model-1-2"));
  Put(State("datasets/names/b.textproto.tmp"), "half");
  // A folder that no name stands for.
  fs::create_directories(State("datasets/" + std::string(64, 'a')));
  Put(State("datasets/notes.txt"), "mine");
  Reopen();
  EXPECT_FALSE(fs::exists(State("tmp/dataset-1-2")));
  EXPECT_TRUE(fs::exists(State("tmp/model-1-2")));
  EXPECT_FALSE(fs::exists(State("datasets/names/b.textproto.tmp")));
  EXPECT_FALSE(fs::exists(State("datasets/" + std::string(64, 'a'))));
  EXPECT_TRUE(fs::exists(State("datasets/notes.txt")));
  EXPECT_THAT(registry_->TakeWarnings(), AllOf(Contains(HasSubstr("dataset-1-2: removed")),
                                               Contains(HasSubstr("notes.txt: ignored"))));
  EXPECT_THAT(Listed(), ElementsAre("a"));
}

TEST_F(DatasetRegistryTest, AMissingDataDirIsNamedAtTheStart) {
  const absl::Status status =
      DatasetRegistry::Open(FileSystem::Posix(), clock_, root_ + "/state2", {root_ + "/none"})
          .status();
  ExpectError(status, absl::StatusCode::kNotFound, "--data-dir: ");
}

TEST_F(DatasetRegistryTest, ManyThreadsAtOnceSeeWholeDatasetsOrNone) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 10; ++i) {
        const std::string name = i % 2 == 0 ? "shared" : absl::StrCat("own", t);
        const auto registered = Register(name, "mnist");
        EXPECT_TRUE(registered.ok()) << registered.status();
        const auto loaded = registry_->Load(name);
        if (loaded.ok()) {
          EXPECT_THAT((*loaded)->Find("test")->images.labels, ElementsAre(1, 3));
        } else {
          EXPECT_TRUE(absl::IsNotFound(loaded.status())) << loaded.status();
        }
        const absl::Status deleted = registry_->Delete(name);
        EXPECT_TRUE(deleted.ok() || absl::IsNotFound(deleted)) << deleted;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(State("tmp")));
  EXPECT_FALSE(fs::exists(State("datasets/") + kSmallMnistSha256));
}

}  // namespace
}  // namespace convd
