// The main job through the real server with the real client: data in, training watched, figures and
// answers out.

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>

#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MainJobTest : public FashionServerTest {};

TEST_F(MainJobTest, ADatasetSaysWhatIsInIt) {
  const auto dataset = client_->GetDataset("fashion");
  ASSERT_STATUS_OK(dataset);
  EXPECT_EQ(dataset->height(), 28);
  EXPECT_EQ(dataset->width(), 28);
  EXPECT_EQ(dataset->channels(), 1);
  ASSERT_EQ(dataset->labels_size(), 10);
  ASSERT_EQ(dataset->splits_size(), 2);
  for (const v1::Split& split : dataset->splits()) {
    const LabelledPixels& pixels = split.name() == "train" ? data_.train : data_.test;
    EXPECT_EQ(split.samples(), pixels.count());
    ASSERT_EQ(split.class_counts_size(), 10);
    for (int c = 0; c < 10; ++c) {
      EXPECT_EQ(split.class_counts(c),
                std::count(pixels.labels.begin(), pixels.labels.end(), static_cast<char>(c)));
    }
  }
}

TEST_F(MainJobTest, AJobIsAcceptedWatchedAndPublished) {
  const auto submitted = client_->Train(SmallTraining("fashion", 3));
  ASSERT_STATUS_OK(submitted);
  // The lecture's table: four layers' figures and the total.
  for (const char* figure : {"320", "18496", "16010", "34826"}) {
    std::string digits = submitted->summary();
    digits.erase(std::remove(digits.begin(), digits.end(), ','), digits.end());
    EXPECT_THAT(digits, HasSubstr(figure));
  }
  // Every default is filled in at submission.
  EXPECT_EQ(submitted->request().optimizer().adam().learning_rate(), 0.001);
  EXPECT_TRUE(submitted->request().has_seed());
  EXPECT_TRUE(submitted->request().shuffle());

  std::vector<int64_t> epochs;
  bool progressed = false;
  const auto job = client_->Watch(submitted->id(), [&](const v1::JobEvent& event) {
    if (event.has_epoch()) epochs.push_back(event.epoch().epoch());
    if (event.has_progress()) {
      progressed = true;
      EXPECT_EQ(event.progress().epochs(), 3);
      EXPECT_EQ(event.progress().steps(), 20);  // 2,000 images by 100
      EXPECT_GE(event.progress().epoch(), 1);
      EXPECT_LE(event.progress().step(), 20);
    }
  });
  ASSERT_STATUS_OK(job);
  ASSERT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->error().message();
  EXPECT_TRUE(progressed);
  EXPECT_THAT(epochs, ElementsAre(1, 2, 3));
  ASSERT_EQ(job->history_size(), 3);
  EXPECT_LT(job->history(2).loss(), job->history(0).loss());
  // Chance is 0.1; PyTorch is at about 0.7 after 60 such steps.
  EXPECT_GT(job->history(2).val_accuracy(), 0.55);
  EXPECT_EQ(job->result().name(), "fashion");
  EXPECT_EQ(job->result().version(), 1);

  const auto model = client_->GetModel(job->result());
  ASSERT_STATUS_OK(model);
  EXPECT_EQ(model->card().parameters(), 34826);
  EXPECT_EQ(model->card().history_size(), 3);
  EXPECT_EQ(model->card().job_id(), job->id());
  EXPECT_EQ(model->path(), state() + "/models/fashion/1");
  for (const char* file : {"model.onnx", "model.textproto", "MANIFEST"}) {
    EXPECT_TRUE(std::filesystem::is_regular_file(model->path() + "/" + file)) << file;
  }
}

TEST_F(MainJobTest, EvaluateEqualsTheTrainersValidationAndIsKept) {
  const v1::Job job = TrainToTheEnd(SmallTraining("fashion", 1));
  v1::EvaluateRequest request;
  request.mutable_model()->set_name("fashion");
  request.mutable_dataset()->set_name("fashion");
  const auto response = client_->Evaluate(request);
  ASSERT_STATUS_OK(response);
  const v1::Metrics& metrics = response->evaluation().metrics();
  EXPECT_EQ(metrics.samples(), 500);
  EXPECT_EQ(metrics.loss(), job.history(0).val_loss());
  EXPECT_EQ(metrics.accuracy(), job.history(0).val_accuracy());
  ASSERT_EQ(metrics.confusion_size(), 100);
  int64_t right = 0, all = 0;
  for (int i = 0; i < 100; ++i) {
    all += metrics.confusion(i);
    if (i % 11 == 0) right += metrics.confusion(i);
  }
  EXPECT_EQ(all, 500);
  EXPECT_DOUBLE_EQ(metrics.accuracy(), right / 500.0);

  const auto model = client_->GetModel(job.result());
  ASSERT_STATUS_OK(model);
  ASSERT_EQ(model->evaluations_size(), 1);
  EXPECT_EQ(model->evaluations(0).metrics().accuracy(), metrics.accuracy());
}

TEST_F(MainJobTest, PredictEqualsEvaluateBitForBitWhateverTheBatch) {
  TrainToTheEnd(SmallTraining("fashion", 1));
  v1::EvaluateRequest evaluate;
  evaluate.mutable_model()->set_name("fashion");
  evaluate.mutable_dataset()->set_name("fashion");
  evaluate.mutable_dataset()->set_split("test");
  evaluate.set_probabilities(true);
  const auto evaluated = client_->Evaluate(evaluate);
  ASSERT_STATUS_OK(evaluated);
  ASSERT_EQ(evaluated->probabilities_size(), 500 * 10);

  int64_t begin = 0;
  for (const int64_t batch : {1, 2, 7, 64, 101, 325}) {
    v1::PredictRequest predict;
    predict.mutable_model()->set_name("fashion");
    *predict.mutable_images() = data_.test.Raw(begin, batch);
    predict.set_probabilities(true);
    predict.set_top_k(10);
    const auto predicted = client_->Predict(predict);
    ASSERT_STATUS_OK(predicted);
    ASSERT_EQ(predicted->predictions_size(), batch);
    for (int64_t i = 0; i < batch; ++i) {
      const v1::Prediction& prediction = predicted->predictions(static_cast<int>(i));
      ASSERT_EQ(prediction.probabilities_size(), 10);
      EXPECT_EQ(
          std::memcmp(prediction.probabilities().data(),
                      evaluated->probabilities().data() + (begin + i) * 10, 10 * sizeof(float)),
          0)
          << "image " << begin + i << " in a batch of " << batch;
      for (int k = 1; k < 10; ++k) {
        EXPECT_GE(prediction.top(k - 1).probability(), prediction.top(k).probability());
      }
    }
    begin += batch;
  }
  EXPECT_EQ(begin, 500);
}

TEST_F(MainJobTest, TheSameRequestGivesTheSameModelFile) {
  TrainToTheEnd(SmallTraining("fashion", 1));
  TrainToTheEnd(SmallTraining("fashion", 1));
  v1::TrainRequest other = SmallTraining("fashion", 1);
  other.set_seed(1);
  TrainToTheEnd(other);
  const std::string models = state() + "/models/fashion/";
  const std::string first = ReadFile(models + "1/model.onnx");
  EXPECT_FALSE(first.empty());
  EXPECT_TRUE(first == ReadFile(models + "2/model.onnx"));
  EXPECT_FALSE(first == ReadFile(models + "3/model.onnx"));
}

TEST_F(MainJobTest, ARestartKeepsModelsAndDatasets) {
  TrainToTheEnd(SmallTraining("fashion", 1));
  v1::PredictRequest predict;
  predict.mutable_model()->set_name("fashion");
  *predict.mutable_images() = data_.test.Raw(0, 20);
  predict.set_probabilities(true);
  const auto before = client_->Predict(predict);
  ASSERT_STATUS_OK(before);
  const auto dataset_before = client_->GetDataset("fashion");
  ASSERT_STATUS_OK(dataset_before);

  client_.reset();
  server_->process().Signal(SIGTERM);
  ASSERT_EQ(server_->process().Wait(), 0) << server_->process().err();
  server_ = ServerProcess::Start(state());
  ASSERT_NE(server_, nullptr);
  client_ = server_->Connect();
  ASSERT_NE(client_, nullptr);

  const auto after = client_->Predict(predict);
  ASSERT_STATUS_OK(after);
  EXPECT_EQ(after->SerializeAsString(), before->SerializeAsString());
  const auto dataset_after = client_->GetDataset("fashion");
  ASSERT_STATUS_OK(dataset_after);
  EXPECT_EQ(dataset_after->SerializeAsString(), dataset_before->SerializeAsString());
  // The next version goes on from the last.
  EXPECT_EQ(TrainToTheEnd(SmallTraining("fashion", 1)).result().version(), 2);
}

TEST_F(MainJobTest, UploadedFilesAreTheSameDataset) {
  std::vector<LocalFile> files;
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    files.push_back({name, data_dir() + "/" + name});
  }
  v1::UploadHeader header;
  header.set_name("uploaded");
  const auto uploaded = client_->UploadDataset(header, files);
  ASSERT_STATUS_OK(uploaded);
  const auto registered = client_->GetDataset("fashion");
  ASSERT_STATUS_OK(registered);
  EXPECT_EQ(uploaded->sha256(), registered->sha256());
  ASSERT_STATUS_OK(client_->DeleteDataset("fashion"));
  EXPECT_EQ(client_->GetDataset("fashion").status().code(), absl::StatusCode::kNotFound);
  ASSERT_STATUS_OK(client_->GetDataset("uploaded"));
}

}  // namespace
}  // namespace convd
