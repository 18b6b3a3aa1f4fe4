#include "client/convctl/progress_bar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

v1::Progress HalfWay() {
  v1::Progress progress;
  progress.set_epoch(1);
  progress.set_epochs(3);
  progress.set_step(30);
  progress.set_steps(60);
  progress.set_loss(0.52159);
  progress.set_accuracy(0.8411);
  progress.set_images_per_second(12345);
  progress.set_seconds_left(34.2);
  return progress;
}

TEST(ProgressBarTest, ShowsAllWhereThereIsRoom) {
  EXPECT_EQ(ProgressLine(HalfWay(), 120, false),
            "Epoch 1/3  [===============>..............]  30/60  loss 0.5216  accuracy 0.8411  "
            "12,345 images/s  34s left");
  EXPECT_EQ(ProgressLine(HalfWay(), 79, false),
            "Epoch 1/3  [======>.....]  30/60  loss 0.5216  accuracy 0.8411  12,345 images/s");
}

TEST(ProgressBarTest, DropsTheLastPartsFirstAndNeverOutgrowsTheLine) {
  for (const bool utf8 : {false, true}) {
    for (int width = 0; width <= 200; ++width) {
      const std::string line = ProgressLine(HalfWay(), width, utf8);
      EXPECT_LE(DisplayWidth(line), static_cast<size_t>(width)) << line;
      if (width >= 9) {
        EXPECT_EQ(line.substr(0, 9), "Epoch 1/3");
      }
    }
  }
}

TEST(ProgressBarTest, UnicodeBarsFillToo) {
  v1::Progress progress = HalfWay();
  progress.set_step(0);
  EXPECT_EQ(ProgressLine(progress, 27, true), "Epoch 1/3  ─────────   0/60");
  progress.set_step(60);
  EXPECT_EQ(ProgressLine(progress, 27, true), "Epoch 1/3  ━━━━━━━━━  60/60");
}

TEST(ProgressBarTest, ValidatingStandsWhereTheStepsDo) {
  v1::Progress progress = HalfWay();
  progress.set_validating(true);
  EXPECT_NE(ProgressLine(progress, 100, false).find("validating"), std::string::npos);
}

TEST(ProgressBarTest, HostileFiguresStayALine) {
  v1::Progress progress;
  progress.set_epoch(-5);
  progress.set_step(std::numeric_limits<int64_t>::max());
  progress.set_steps(std::numeric_limits<int64_t>::min());
  progress.set_loss(-std::numeric_limits<double>::infinity());
  progress.set_images_per_second(std::numeric_limits<double>::quiet_NaN());
  progress.set_seconds_left(std::numeric_limits<double>::infinity());
  EXPECT_LE(DisplayWidth(ProgressLine(progress, 79, true)), 79u);
}

TEST(EpochLineTest, ReadsAsKerasListsIt) {
  v1::EpochRecord record;
  record.set_epoch(1);
  record.set_seconds(4.2);
  record.set_loss(0.5216);
  record.set_accuracy(0.8411);
  EXPECT_EQ(EpochLine(record, 3), "Epoch 1/3 - 4.2s - loss: 0.5216 - accuracy: 0.8411");
  record.set_val_loss(0.4);
  record.set_val_accuracy(0.9859);
  EXPECT_EQ(EpochLine(record, 3),
            "Epoch 1/3 - 4.2s - loss: 0.5216 - accuracy: 0.8411 - val_loss: 0.4000 - "
            "val_accuracy: 0.9859");
}

TEST(ResultLineTest, GivesAccuracyToFourPlacesAndSecondsAnEpoch) {
  v1::Job job;
  EXPECT_EQ(ResultLine(job), "");
  job.mutable_result()->set_name("fashion");
  job.mutable_result()->set_version(2);
  for (const double seconds : {4.0, 5.0}) {
    v1::EpochRecord& record = *job.add_history();
    record.set_seconds(seconds);
    record.set_accuracy(0.97991);
  }
  EXPECT_EQ(ResultLine(job), "fashion@2: training accuracy 0.9799, 4.50 seconds an epoch");
  job.mutable_history(1)->set_val_accuracy(0.98591);
  EXPECT_EQ(ResultLine(job), "fashion@2: validation accuracy 0.9859, 4.50 seconds an epoch");
}

TEST(ResultLineTest, OfAnEarlyStopIsOfTheEpochThatWasPublished) {
  v1::Job job;
  job.mutable_result()->set_name("m");
  job.mutable_result()->set_version(1);
  job.mutable_request()->set_epochs(50);
  // What epoch 4 is better by doesn't count.
  const double val_losses[] = {0.5, 0.3, 0.4, 0.295};
  for (int i = 0; i < 4; ++i) {
    v1::EpochRecord& record = *job.add_history();
    record.set_epoch(i + 1);
    record.set_seconds(2);
    record.set_loss(0.5 - 0.1 * i);
    record.set_accuracy(0.8 - 0.1 * i);
    record.set_val_loss(val_losses[i]);
    record.set_val_accuracy(0.5 + 0.1 * i);
  }
  v1::EarlyStopping& early_stopping = *job.mutable_request()->mutable_early_stopping();
  early_stopping.set_monitor(v1::EarlyStopping::VAL_LOSS);
  early_stopping.set_min_delta(0.01);
  EXPECT_EQ(ResultLine(job),
            "m@1: validation accuracy 0.8000, 2.00 seconds an epoch, stopped early at epoch 4");
  early_stopping.set_restore_best(true);
  EXPECT_EQ(ResultLine(job),
            "m@1: validation accuracy 0.6000 of epoch 2, 2.00 seconds an epoch, stopped early at "
            "epoch 4");
  early_stopping.set_monitor(v1::EarlyStopping::ACCURACY);
  EXPECT_THAT(ResultLine(job), ::testing::HasSubstr("0.5000 of epoch 1,"));
  early_stopping.set_monitor(v1::EarlyStopping::VAL_ACCURACY);
  EXPECT_THAT(ResultLine(job), ::testing::HasSubstr("0.8000, 2.00"));
  early_stopping.set_monitor(v1::EarlyStopping::LOSS);
  job.mutable_request()->set_epochs(4);
  EXPECT_EQ(ResultLine(job), "m@1: validation accuracy 0.8000, 2.00 seconds an epoch");
}

TEST(UploadLineTest, SaysHowMuchIsThrough) {
  EXPECT_EQ(UploadLine("mnist", 512, 1024, 42, false),
            "mnist  [=======>.......]  512 B of 1.0 KiB");
}

}  // namespace
}  // namespace convd
