// Versions in the hands of people: labelled, compared, moved between servers, swapped under load,
// copied in by hand.

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
constexpr bool kSanitized = true;  // which keeps what was freed
#else
constexpr bool kSanitized = false;
#endif

class ModelsTest : public FashionServerTest {
 protected:
  // Versions 1 and 2 of "m", with different weights.
  void TrainTwo() {
    TrainToTheEnd(SmallTraining("m", 1));
    v1::TrainRequest other = SmallTraining("m", 1);
    other.set_seed(7);
    TrainToTheEnd(other);
  }
  Finished MustConvctl(const std::vector<std::string>& arguments) {
    Finished finished = server_->Convctl(arguments);
    EXPECT_EQ(finished.code, 0) << finished.err;
    return finished;
  }
  v1::PredictRequest ToPredict(int64_t version, const std::string& label = "") {
    v1::PredictRequest request;
    request.mutable_model()->set_name("m");
    request.mutable_model()->set_version(version);
    request.mutable_model()->set_label(label);
    *request.mutable_images() = data_.test.Raw(0, 3);
    return request;
  }
  // What the version says of three images.
  std::string Answer(int64_t version) {
    const auto response = client_->Predict(ToPredict(version));
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? Bits(*response) : "";
  }
  static std::string Bits(const v1::PredictResponse& response) {
    std::string bits;
    for (const auto& prediction : response.predictions()) bits += prediction.SerializeAsString();
    return bits;
  }
  int64_t ServerRssKb() {
    const std::string status =
        ReadFile(absl::StrCat("/proc/", server_->process().pid(), "/status"));
    const std::string line = status.substr(status.find("VmRSS:") + 6);
    int64_t kb = 0;
    EXPECT_TRUE(absl::SimpleAtoi(absl::StripAsciiWhitespace(line.substr(0, line.find("kB"))), &kb));
    return kb;
  }
};

TEST_F(ModelsTest, PeopleLabelCompareMoveAndDeleteVersions) {
  TrainTwo();
  EXPECT_THAT(MustConvctl({"models", "label", "m@1", "stable"}).out, HasSubstr("stable"));
  MustConvctl({"models", "policy", "m", "--default", "stable"});
  EXPECT_EQ(client_->Predict(ToPredict(0))->model().version(), 1);
  EXPECT_EQ(client_->Predict(ToPredict(0, "latest"))->model().version(), 2);
  EXPECT_THAT(MustConvctl({"models"}).out, HasSubstr("stable, (default)"));
  MustConvctl({"models", "label", "m", "stable"});
  EXPECT_EQ(client_->Predict(ToPredict(0))->model().version(), 2);
  EXPECT_THAT(MustConvctl({"models", "rollback", "m"}).out, HasSubstr("stable"));
  EXPECT_EQ(client_->Predict(ToPredict(0))->model().version(), 1);

  const std::string diff = MustConvctl({"models", "diff", "m@1", "m@latest"}).out;
  EXPECT_THAT(diff, AllOf(HasSubstr("request.seed"), HasSubstr("m@1"), HasSubstr("m@2"),
                          Not(HasSubstr("network"))));
  const auto json =
      nlohmann::json::parse(MustConvctl({"models", "diff", "m@1", "m@2", "--json"}).out);
  EXPECT_EQ(json["a"], "m@1");
  EXPECT_FALSE(json["differences"].empty());
  EXPECT_THAT(MustConvctl({"models", "diff", "m@1", "m@stable"}).out, HasSubstr("say the same"));

  // What it is for to be deleted, and what is not.
  Finished refused = server_->Convctl({"models", "delete", "m@1"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("labelled stable"));
  v1::TrainRequest further = SmallTraining("further", 100'000);
  further.mutable_initial_model()->set_name("m");
  further.mutable_initial_model()->set_version(2);
  const auto job = client_->Train(further);
  ASSERT_STATUS_OK(job);
  refused = server_->Convctl({"models", "delete", "m@2"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr(job->id()));
  ASSERT_STATUS_OK(client_->CancelJob(job->id()));
  ASSERT_STATUS_OK(client_->Watch(job->id(), [](const v1::JobEvent&) {}));
  MustConvctl({"models", "delete", "m@2"});
  EXPECT_EQ(client_->Predict(ToPredict(2)).status().code(), absl::StatusCode::kNotFound);
  for (const auto& [arguments, code] : std::vector<std::pair<std::vector<std::string>, int>>{
           {{"models", "delete", "m"}, 2},
           {{"models", "label", "m@1", "7"}, 1},
           {{"models", "label", "m@1", "latest"}, 1},
           {{"models", "rollback", "m", "canary"}, 1},
           {{"models", "policy", "m", "--keep", "-1"}, 2},
           {{"models", "show", "m@canary"}, 1}}) {
    EXPECT_EQ(server_->Convctl(arguments).code, code) << arguments[1];
  }
}

TEST_F(ModelsTest, AnExportedVersionIsThatVersionElsewhere) {
  TrainToTheEnd(SmallTraining("m", 1));
  const std::string file = folder_ / "m.tar";
  MustConvctl({"models", "export", "m", file});
  EXPECT_EQ(server_->Convctl({"models", "export", "m", file}).code, 2) << "it is there already";
  // tar reads it without us, and finds the files themselves.
  const Finished listed = RunProgram({"/bin/tar", "tf", file});
  EXPECT_EQ(listed.code, 0) << listed.err;
  EXPECT_EQ(listed.out, "m/1/MANIFEST\nm/1/model.textproto\nm/1/model.onnx\n");
  EXPECT_EQ(RunProgram({"/bin/tar", "xf", file, "-C", folder_.path()}).code, 0);
  EXPECT_TRUE(ReadFile(folder_ / "m/1/model.onnx") == ReadFile(state() + "/models/m/1/model.onnx"));

  // The one file alone, as it is and in another form.
  const std::string onnx = folder_ / "m.onnx";
  MustConvctl({"models", "export", "m", "--onnx", onnx});
  EXPECT_TRUE(ReadFile(onnx) == ReadFile(state() + "/models/m/1/model.onnx"));
  MustConvctl({"models", "export", "m@1", "--onnx", onnx, "--force", "--opset", "17", "--entry",
               "float32-nhwc"});
  EXPECT_FALSE(ReadFile(onnx) == ReadFile(state() + "/models/m/1/model.onnx"));
  const std::string none = folder_ / "none.onnx";
  const Finished opset =
      server_->Convctl({"models", "export", "m", "--onnx", none, "--opset", "12"});
  EXPECT_EQ(opset.code, 1);
  EXPECT_THAT(opset.err, HasSubstr("opset: got 12; want 13 to 17"));
  EXPECT_FALSE(std::filesystem::exists(none));
  const Finished entry =
      server_->Convctl({"models", "export", "m", "--onnx", none, "--entry", "uint8"});
  EXPECT_EQ(entry.code, 2);
  EXPECT_THAT(entry.err, HasSubstr("want one of uint8-nhwc, uint8-nchw, float32-nhwc"));
  EXPECT_EQ(server_->Convctl({"models", "export", "m", "--opset", "13"}).code, 2);

  const auto other = ServerProcess::Start(folder_ / "other");
  ASSERT_NE(other, nullptr);
  // And what tar packs is taken, too.
  const std::string packed = folder_ / "packed.tar";
  ASSERT_EQ(RunProgram({"/bin/tar", "cf", packed, "-C", folder_.path(), "m/1"}).code, 0);
  for (const std::string& archive : {file, packed}) {
    const Finished imported = other->Convctl({"models", "import", archive, "--name", "there"});
    ASSERT_EQ(imported.code, 0) << imported.err;
  }
  const auto client = other->Connect();
  ASSERT_NE(client, nullptr);
  v1::PredictRequest request = ToPredict(0);
  request.mutable_model()->set_name("there");
  const auto predicted = client->Predict(request);
  ASSERT_STATUS_OK(predicted);
  EXPECT_EQ(predicted->model().version(), 2);
  EXPECT_TRUE(Bits(*predicted) == Answer(1));
  EXPECT_THAT(other->Convctl({"models", "show", "there@1"}).out,
              AllOf(HasSubstr("Imported"), HasSubstr("m@1"), HasSubstr("m.tar")));

  std::string bytes = ReadFile(file);
  bytes[bytes.size() / 2] ^= 1;
  WriteFile(file, bytes);
  const Finished damaged = other->Convctl({"models", "import", file});
  EXPECT_EQ(damaged.code, 1);
  EXPECT_THAT(damaged.err, HasSubstr("SHA-256"));
  EXPECT_EQ(other->Convctl({"models", "import", folder_ / "nothing.tar"}).code, 2);
  EXPECT_EQ(other->Convctl({"models", "import", "/bin/sh"}).code, 1);
}

TEST_F(ModelsTest, TwoHundredSwapsUnderLoadLoseNoPrediction) {
  TrainTwo();
  MustConvctl({"models", "label", "m@1", "stable"});
  std::map<int64_t, std::string> answers;
  for (const int64_t version : {1, 2}) answers[version] = Answer(version);
  ASSERT_NE(answers[1], answers[2]);

  std::atomic<bool> done{false};
  std::atomic<int64_t> predictions{0}, failures{0}, mixed{0};
  std::map<int64_t, std::atomic<int64_t>> by_version;
  by_version[1] = by_version[2] = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const auto client = server_->Connect();
      ASSERT_NE(client, nullptr);
      // By a label that moves, and by a number that comes and goes.
      const v1::PredictRequest request = t == 2 ? ToPredict(1) : ToPredict(0, "stable");
      while (!done) {
        const auto response = client->Predict(request);
        ++predictions;
        if (!response.ok()) {
          ++failures;
          ADD_FAILURE() << response.status();
          continue;
        }
        ++by_version[response->model().version()];
        if (Bits(*response) != answers[response->model().version()]) ++mixed;
      }
    });
  }
  int64_t rss_at_50 = 0;
  for (int cycle = 0; cycle < 200; ++cycle) {
    v1::MoveLabelRequest move;
    move.set_name("m");
    move.set_label("stable");
    move.set_version(cycle % 2 == 0 ? 2 : 1);
    EXPECT_TRUE(client_->MoveLabel(move).ok());
    v1::ModelVersion before;
    before.set_name("m");
    before.set_version(cycle % 2 == 0 ? 1 : 2);
    EXPECT_TRUE(client_->UnloadModel(before).ok());
    if (cycle == 50) rss_at_50 = ServerRssKb();
  }
  const int64_t rss_at_200 = ServerRssKb();
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_GT(by_version[1], 100);
  EXPECT_GT(by_version[2], 100);
  if (!kSanitized) {
    EXPECT_LT(rss_at_200 - rss_at_50, 16 << 10) << "kB, over 150 cycles";
  }
  RecordProperty("predictions", std::to_string(predictions));
  RecordProperty("rss_growth_kb", std::to_string(rss_at_200 - rss_at_50));
}

TEST_F(ModelsTest, AVersionCopiedInFileByFileIsNeverServedEarly) {
  TrainTwo();
  namespace fs = std::filesystem;
  const std::string two = state() + "/models/m/2";
  const std::string aside = folder_ / "aside";
  // Elsewhere it is whole; here it comes piece by piece.
  fs::copy(two, aside);
  const std::string answer = Answer(1);
  ASSERT_STATUS_OK([&] {
    v1::ModelVersion id;
    id.set_name("m");
    id.set_version(2);
    return client_->DeleteModel(id);
  }());
  std::atomic<bool> whole{false}, done{false};
  std::thread load([&] {
    const auto client = server_->Connect();
    ASSERT_NE(client, nullptr);
    while (!done) {
      const bool may_be_two = whole;
      const auto response = client->Predict(ToPredict(0));
      ASSERT_STATUS_OK(response);
      if (!may_be_two && response->model().version() != 1) {
        // Between the look at `whole` and the answer it may have become so.
        ASSERT_TRUE(whole) << "served early";
      }
      if (response->model().version() == 1) {
        EXPECT_TRUE(Bits(*response) == answer);
      }
    }
  });
  const auto copy = [&](const std::string& file, int64_t bytes) {
    const std::string data = ReadFile(aside + "/" + file);
    WriteFile(two + "/" + file, bytes < 0 ? data : data.substr(0, static_cast<size_t>(bytes)));
  };
  fs::create_directory(two);
  EXPECT_TRUE(server_->process().WaitForError("m version 2 is left out"));
  copy("model.textproto", -1);
  copy("MANIFEST", -1);
  EXPECT_TRUE(server_->process().WaitForError("model.onnx: is missing"));
  copy("model.onnx", 1000);
  EXPECT_TRUE(server_->process().WaitForError("model.onnx: has 1000 bytes"));
  whole = true;
  copy("model.onnx", -1);
  const absl::Time until = absl::Now() + kPatience;
  int64_t version = 1;
  while (version == 1 && absl::Now() < until) {
    const auto response = client_->Predict(ToPredict(0));
    ASSERT_STATUS_OK(response);
    version = response->model().version();
  }
  EXPECT_EQ(version, 2);
  done = true;
  load.join();
}

}  // namespace
}  // namespace convd
