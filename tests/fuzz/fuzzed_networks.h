#ifndef CONVD_TESTS_FUZZ_FUZZED_NETWORKS_H_
#define CONVD_TESTS_FUZZ_FUZZED_NETWORKS_H_

#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"
#include "core/nn/network_text.h"

// What the seeds that make_corpus writes belong to.

namespace convd {

// A convolution and a dense layer, whose rows are in another order in a file.
inline const Graph& FuzzedGraph() {
  static const Graph* const graph = new Graph(
      *Graph::Create(*ParseNetwork("name: 'n' input { height: 4 width: 4 channels: 1 } "
                                   "layers { conv { filters: 2 kernel: 3 } } layers { flatten {} } "
                                   "layers { dense { units: 2 } }",
                                   "network")));
  return *graph;
}

// Of a run with early stopping, so that all arrays of a checkpoint can be there.
inline v1::TrainRequest FuzzedRequest() {
  v1::TrainRequest request;
  request.set_batch_size(3);
  request.set_epochs(3);
  v1::EarlyStopping& stopping = *request.mutable_early_stopping();
  stopping.set_monitor(v1::EarlyStopping::VAL_LOSS);
  stopping.set_patience(1);
  stopping.set_min_delta(0);
  stopping.set_restore_best(true);
  return request;
}
inline constexpr int64_t kFuzzedTrainSamples = 7;
inline constexpr int64_t kFuzzedValidationSamples = 2;

}  // namespace convd

#endif  // CONVD_TESTS_FUZZ_FUZZED_NETWORKS_H_
