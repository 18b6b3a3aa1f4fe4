#include "tests/crash/requests.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

v1::TrainRequest Request(const std::string& model, int filters, int epochs, double dropout,
                         const std::string& rest) {
  const std::string conv = absl::StrCat("layers { conv { filters: ", filters,
                                        " kernel: 3 activation: ACTIVATION_RELU } }");
  std::string layers = absl::StrCat(conv, "layers { max_pool { size: 2 } }", conv,
                                    "layers { max_pool { size: 2 } } layers { flatten {} }");
  if (dropout > 0) absl::StrAppend(&layers, "layers { dropout { rate: ", dropout, " } }");
  const std::string text =
      absl::StrCat("network { name: 'small' input { height: 28 width: 28 channels: 1 } ", layers,
                   "layers { dense { units: 10 activation: ACTIVATION_SOFTMAX } } }"
                   "dataset { name: 'fashion' } model: '",
                   model, "' epochs: ", epochs, " ", rest);
  v1::TrainRequest request;
  if (!google::protobuf::TextFormat::ParseFromString(text, &request)) ADD_FAILURE() << text;
  return request;
}

}  // namespace

std::vector<JobKind> SmallJobKinds() {
  std::vector<JobKind> kinds;
  const auto add = [&kinds](v1::TrainRequest request) {
    kinds.emplace_back();
    kinds.back().request = std::move(request);
  };
  add(Request("adam", 8, 6, 0.25, "batch_size: 20 seed: 1"));
  add(Request("sgd", 8, 8, 0,
              "batch_size: 30 validation { none: true }"
              "optimizer { sgd { learning_rate: 0.05 momentum: 0.9 nesterov: true } }"));
  add(Request("in-order", 8, 5, 0,
              "batch_size: 50 shuffle: false validation { tail: 100 } seed: 3"));
  add(Request("varied", 8, 6, 0.5,
              "batch_size: 40 seed: 4 augmentation { horizontal_flip: true shift: 2 }"
              "early_stopping { patience: 3 restore_best: true }"));
  // Where it may be asked for, adam's first version is there.
  add(Request("tuned", 8, 4, 0.25,
              "batch_size: 50 seed: 6 initial_model { name: 'adam' version: 1 }"));
  // Its epochs take longer than --checkpoint-seconds, so it is saved within them, too.
  add(Request("slow", 96, 2, 0.1, "batch_size: 8 seed: 5 validation { split: 0.1 }"));
  return kinds;
}

v1::ModelCard Comparable(v1::ModelCard card) {
  card.mutable_model()->clear_version();
  card.clear_job_id();
  card.clear_created();
  card.clear_training_seconds();
  card.mutable_request()->clear_request_id();
  for (auto* const history : {card.mutable_history(), card.mutable_earlier_history()}) {
    for (v1::EpochRecord& record : *history) {
      record.clear_seconds();
      record.clear_images_per_second();
    }
  }
  return card;
}

bool SameFigures(const v1::EpochRecord& a, const v1::EpochRecord& b) {
  v1::EpochRecord first = a, second = b;
  for (v1::EpochRecord* record : {&first, &second}) {
    record->clear_seconds();
    record->clear_images_per_second();
  }
  // Bit for bit: Equals would take 0 and -0 for the same.
  return first.SerializeAsString() == second.SerializeAsString();
}

}  // namespace convd
