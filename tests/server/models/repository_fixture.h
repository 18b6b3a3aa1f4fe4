#ifndef CONVD_TESTS_SERVER_MODELS_REPOSITORY_FIXTURE_H_
#define CONVD_TESTS_SERVER_MODELS_REPOSITORY_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/nn/presets.h"
#include "server/models/repository.h"
#include "tests/server/models/memory_file_system.h"
#include "tests/server/predict/fake_inference_model.h"

namespace convd {

// Stands still until a test turns it.
class HandTurnedClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'700'000'000) + Monotonic(); }
  absl::Duration Monotonic() const override { return absl::Seconds(seconds.load()); }
  std::atomic<int64_t> seconds{1000};
};

inline v1::ModelVersion Id(const std::string& name, int64_t version = 0) {
  v1::ModelVersion id;
  id.set_name(name);
  id.set_version(version);
  return id;
}

inline v1::ModelCard Card(const std::string& name) {
  v1::ModelCard card;
  *card.mutable_model() = Id(name);
  card.set_job_id("job-7");
  card.set_data_sha256("abc");
  v1::EpochRecord* epoch = card.add_history();
  epoch->set_epoch(1);
  epoch->set_loss(1.0 / 3);
  (*card.mutable_library_versions())["onednn"] = "2.6.3";
  for (const char* label : {"T-shirt/top", "tro\"us\ner", "\xc3\xa4"}) card.add_labels(label);
  return card;
}

inline v1::Evaluation EvaluationOf(const v1::ModelVersion& model, double accuracy) {
  v1::Evaluation evaluation;
  *evaluation.mutable_model() = model;
  evaluation.mutable_metrics()->set_accuracy(accuracy);
  evaluation.mutable_metrics()->add_confusion(5);
  evaluation.mutable_metrics()->add_confusion(1);
  return evaluation;
}

// A repository in memory whose compiler is a fake, and what to publish there.
class ModelRepositoryTest : public ::testing::Test {
 protected:
  ModelRepositoryTest() : graph_(*Graph::Create(DenseNetwork(2, 2, 1, 3))) {
    for (int64_t i = 0; i < graph_.parameter_count(); ++i) {
      parameters_.push_back(static_cast<float>(i) * 0.1f - 0.5f);
    }
    Reopen();
  }

  CompileModel Compiler() {
    return [this](const Graph& graph, absl::Span<const float> parameters,
                  const InferenceOptions& options)
               -> absl::StatusOr<std::shared_ptr<const InferenceModel>> {
      ++compiled_;
      if (on_compile_) {
        if (absl::Status status = on_compile_(graph, options); !status.ok()) return status;
      }
      {
        absl::MutexLock lock(&mu_);
        read_parameters_.assign(parameters.begin(), parameters.end());
      }
      return std::make_shared<FakeInferenceModel>(graph);
    };
  }
  // Words as CheckPrecision's, of a CPU that the test chooses.
  PrecisionCheck Checker() {
    return [this](std::string_view field, v1::Precision precision) {
      const std::string got = absl::StrCat(absl::string_view(field.data(), field.size()), ": got ",
                                           static_cast<int>(precision));
      if (precision < v1::PRECISION_F32 || precision > v1::PRECISION_INT8) {
        return absl::InvalidArgumentError(got);
      }
      return precisions_.count(precision) > 0 ? absl::OkStatus()
                                              : absl::FailedPreconditionError(got);
    };
  }
  TakeMemory Taker() {
    return [this](const Graph& graph, v1::Precision precision, int64_t file_bytes) {
      return TakeMemoryToLoad(*memory_, kWorkers, graph, precision, file_bytes);
    };
  }
  void Reopen() {
    auto opened = ModelRepository::Open(*fs_, clock_, "/state", Compiler(), Checker(), Taker());
    ASSERT_TRUE(opened.ok()) << opened.status();
    repository_ = *std::move(opened);
  }
  v1::ModelVersion MustPublish(const std::string& name) {
    auto published = repository_->Publish(graph_, parameters_, Card(name));
    EXPECT_TRUE(published.ok()) << published.status();
    return published.ok() ? *published : v1::ModelVersion();
  }
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      const v1::ModelVersion& id, v1::Precision precision = v1::PRECISION_UNSPECIFIED) {
    return repository_->Load(id, precision);
  }
  std::shared_ptr<const LoadedModel> FindLoaded(
      const v1::ModelVersion& id, v1::Precision precision = v1::PRECISION_UNSPECIFIED) {
    return repository_->FindLoaded(id, precision);
  }
  std::vector<std::string> Listed(const std::string& name = "") {
    std::vector<std::string> ids;
    for (const v1::Model& model : repository_->List(name)) {
      ids.push_back(absl::StrCat(model.card().model().name(), "/", model.card().model().version()));
    }
    std::vector<std::string> versions;
    for (const v1::ModelVersion& id : repository_->Versions(name)) {
      versions.push_back(absl::StrCat(id.name(), "/", id.version()));
    }
    EXPECT_EQ(ids, versions);
    return ids;
  }

  std::unique_ptr<MemoryFileSystem> fs_ = std::make_unique<MemoryFileSystem>();
  HandTurnedClock clock_;
  static constexpr int kWorkers = 2;
  // Without a limit, until a test has another one.
  std::unique_ptr<MemoryLedger> memory_ = std::make_unique<MemoryLedger>(MemoryLedger::Limits{});
  const Graph graph_;
  std::vector<float> parameters_;
  std::atomic<int> compiled_{0};
  std::function<absl::Status(const Graph&, const InferenceOptions&)> on_compile_;
  // What the CPU has.
  std::set<v1::Precision> precisions_ = {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8};
  absl::Mutex mu_;
  std::vector<float> read_parameters_;
  std::unique_ptr<ModelRepository> repository_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_MODELS_REPOSITORY_FIXTURE_H_
