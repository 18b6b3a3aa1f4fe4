// The recipes of docs/results.md on whole datasets, through the real server. Label "long": minutes
// on two cores.
//
// Fashion-MNIST is Debian's package. MNIST's IDX files are looked for in CONVD_MNIST, or
// ../shared/data/mnist; CIFAR-10's binary batches in CONVD_CIFAR10, or made by
// ../shared/data/cifar10/unpack. A recipe whose files aren't there is skipped, and says so. With
// CONVD_PRECISION=bf16 they are trained in bf16.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

namespace fs = std::filesystem;

std::string FromEnvironment(const char* name, const std::string& otherwise) {
  const char* value = getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

class RecipesTest : public ::testing::Test {
 protected:
  void Serve(const std::string& data) {
    server_ = ServerProcess::Start(folder_ / "state", {"--data-dir", data});
    ASSERT_NE(server_, nullptr);
    // Without the end-to-end tests' limit of time: a recipe may take longer.
    auto client = Client::Connect(server_->address(), ClientOptions());
    ASSERT_STATUS_OK(client);
    client_ = *std::move(client);
    v1::RegisterDatasetRequest request;
    request.set_name("data");
    request.set_path(data);
    ASSERT_STATUS_OK(client_->RegisterDataset(request));
  }

  // Skips the test where MNIST isn't there.
  void ServeMnist() {
    const std::string data =
        FromEnvironment("CONVD_MNIST", CONVD_SOURCE_DIR "/../shared/data/mnist");
    if (!fs::exists(data + "/train-images-idx3-ubyte.gz")) {
      GTEST_SKIP() << data
                   << " has no train-images-idx3-ubyte.gz; CONVD_MNIST names a folder that has";
    }
    Serve(fs::canonical(data));
  }

  // A job of Adam's defaults, and its history as a line of docs/results.md.
  v1::Job Train(const std::string& preset, int64_t batch, int64_t epochs, uint64_t seed) {
    v1::TrainRequest request;
    request.set_model("recipe");
    request.set_preset(preset);
    request.mutable_dataset()->set_name("data");
    request.mutable_optimizer()->mutable_adam();
    request.set_batch_size(batch);
    request.set_epochs(epochs);
    request.set_seed(seed);
    request.set_precision(FromEnvironment("CONVD_PRECISION", "f32") == "bf16" ? v1::PRECISION_BF16
                                                                              : v1::PRECISION_F32);
    const auto submitted = client_->Train(request);
    if (!submitted.ok()) {
      ADD_FAILURE() << submitted.status();
      return {};
    }
    const auto job = client_->Watch(submitted->id(), [](const v1::JobEvent&) {});
    if (!job.ok() || job->state() != v1::JOB_STATE_SUCCEEDED || job->history_size() != epochs) {
      ADD_FAILURE() << job.status() << (job.ok() ? job->error().message() : "");
      return {};
    }
    const v1::EpochRecord& last = *job->history().rbegin();
    double seconds = 0;
    for (const v1::EpochRecord& epoch : job->history()) seconds += epoch.seconds();
    std::printf("| %s | %ld | %lu | %.4f | %.4f | %.4f | %.4f | %.2f |\n", preset.c_str(),
                static_cast<long>(batch), static_cast<unsigned long>(seed), last.accuracy(),
                last.val_loss(), last.val_accuracy(), BestValidation(*job),
                seconds / static_cast<double>(epochs));
    ExpectServedAlike(job->result());
    std::fflush(stdout);
    return *job;
  }

  // Prints what the version is worth at each precision that this CPU has. int8 may lose 0.3 points.
  void ExpectServedAlike(const v1::ModelVersion& version) {
    const auto model = client_->GetModel(version);
    ASSERT_STATUS_OK(model);
    double f32 = 0;
    for (const v1::ServedAccuracy& served : model->card().served()) {
      std::printf("  served at %s: loss %.4f, accuracy %.4f\n",
                  v1::Precision_Name(served.precision()).c_str(), served.loss(), served.accuracy());
      if (served.precision() == v1::PRECISION_F32) f32 = served.accuracy();
      EXPECT_GE(served.accuracy(), f32 - 0.003) << v1::Precision_Name(served.precision());
    }
    EXPECT_GT(f32, 0) << "f32 comes first, and is everywhere";
  }

  static double BestValidation(const v1::Job& job) {
    double best = 0;
    for (const v1::EpochRecord& epoch : job.history()) best = std::max(best, epoch.val_accuracy());
    return best;
  }

  static void PrintHead() {
    std::printf(
        "| preset | batch | seed | accuracy | val_loss | val_accuracy | best | s/epoch |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|\n");
  }

  const TempFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

// PyTorch with Glorot's initial weights: 0.9862, 0.9859, 0.9860 for seeds 1 to 3; the lecture:
// 0.9859. Training accuracy there, dropout on: 0.9785 to 0.9787; the lecture: 0.9799.
TEST_F(RecipesTest, MnistAtBatch1000ForTenEpochs) {
  ServeMnist();
  if (IsSkipped()) return;
  PrintHead();
  double sum = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const v1::Job job = Train("keras-mnist", 1000, 10, seed);
    ASSERT_EQ(job.history_size(), 10);
    EXPECT_GE(job.history(9).val_accuracy(), 0.984) << "seed " << seed;
    EXPECT_NEAR(job.history(9).accuracy(), 0.9786, 0.003) << "seed " << seed;
    sum += job.history(9).val_accuracy();
  }
  EXPECT_GE(sum / 5, 0.9855);
}

// The third preset, for what int8 costs it.
TEST_F(RecipesTest, MnistByLenet5) {
  ServeMnist();
  if (IsSkipped()) return;
  PrintHead();
  const v1::Job job = Train("lenet5", 128, 5, 1);
  ASSERT_EQ(job.history_size(), 5);
  EXPECT_GE(job.history(4).val_accuracy(), 0.98);
}

// PyTorch, seed 1: 0.8736.
TEST_F(RecipesTest, FashionMnistAtBatch1000ForTenEpochs) {
  Serve("/usr/share/datasets/fashion-mnist");
  PrintHead();
  const v1::Job job = Train("keras-mnist", 1000, 10, 1);
  ASSERT_EQ(job.history_size(), 10);
  EXPECT_GE(job.history(9).val_accuracy(), 0.870);
}

// PyTorch on the same files, seed 1, tenth epoch: 0.6650.
TEST_F(RecipesTest, Cifar10AtBatch128IsAtItsBestWithinTenEpochs) {
  std::string data = FromEnvironment("CONVD_CIFAR10", "");
  if (data.empty()) {
    const std::string unpack = CONVD_SOURCE_DIR "/../shared/data/cifar10/unpack";
    if (!fs::exists(unpack)) {
      GTEST_SKIP() << "CONVD_CIFAR10 names no folder with CIFAR-10's binary batches";
    }
    const Finished unpacked = RunProgram({unpack, folder_ / "cifar10"});
    ASSERT_EQ(unpacked.code, 0) << unpacked.err;
    data = folder_ / "cifar10" + "/cifar-10-batches-bin";
  }
  Serve(fs::canonical(data));
  PrintHead();
  const v1::Job job = Train("classic-cifar10", 128, 10, 1);
  ASSERT_EQ(job.history_size(), 10);
  EXPECT_GE(BestValidation(job), 0.66);
}

}  // namespace
}  // namespace convd
