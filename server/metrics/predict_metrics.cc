#include "server/metrics/predict_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <vector>

#include "server/metrics/buckets.h"

namespace convd {
namespace {

// Label sets are found once, here; what workers do is one observation each.
class Observed final : public PredictObserver {
 public:
  explicit Observed(prometheus::Registry& registry)
      : Observed(prometheus::BuildHistogram()
                     .Name("convd_predict_stage_seconds")
                     .Help("Time that predictions spend in each stage: receive (from the call's "
                           "headers to the queue), decode (a piece of a request), queue (from "
                           "there to a batch), compute and encode (a batch).")
                     .Register(registry),
                 prometheus::BuildHistogram()
                     .Name("convd_predict_batch_images")
                     .Help("Images that were computed together.")
                     .Register(registry),
                 prometheus::BuildCounter()
                     .Name("convd_predict_images_total")
                     .Help("Images that were computed.")
                     .Register(registry)) {}

  void Received(absl::Duration took) override { Add(receive_, took); }
  void Decoded(int64_t, absl::Duration took) override { Add(decode_, took); }
  void Waited(absl::Duration took) override { Add(queue_, took); }
  void Computed(const LoadedModel& model, int64_t images, absl::Duration took) override {
    Add(compute_, took);
    batch_.Observe(static_cast<double>(images));
    prometheus::Counter& count = model.precision == v1::PRECISION_INT8   ? int8_
                                 : model.precision == v1::PRECISION_BF16 ? bf16_
                                                                         : f32_;
    count.Increment(static_cast<double>(images));
  }
  void Encoded(absl::Duration took) override { Add(encode_, took); }

 private:
  Observed(prometheus::Family<prometheus::Histogram>& stages,
           prometheus::Family<prometheus::Histogram>& batches,
           prometheus::Family<prometheus::Counter>& images)
      : receive_(stages.Add({{"stage", "receive"}}, SecondsBuckets())),
        decode_(stages.Add({{"stage", "decode"}}, SecondsBuckets())),
        queue_(stages.Add({{"stage", "queue"}}, SecondsBuckets())),
        compute_(stages.Add({{"stage", "compute"}}, SecondsBuckets())),
        encode_(stages.Add({{"stage", "encode"}}, SecondsBuckets())),
        batch_(batches.Add({}, std::vector<double>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512})),
        f32_(images.Add({{"precision", "f32"}})),
        bf16_(images.Add({{"precision", "bf16"}})),
        int8_(images.Add({{"precision", "int8"}})) {}

  static void Add(prometheus::Histogram& stage, absl::Duration took) {
    stage.Observe(absl::ToDoubleSeconds(took));
  }

  prometheus::Histogram &receive_, &decode_, &queue_, &compute_, &encode_, &batch_;
  prometheus::Counter &f32_, &bf16_, &int8_;
};

}  // namespace

std::unique_ptr<PredictObserver> NewPredictMetrics(prometheus::Registry& registry) {
  return std::make_unique<Observed>(registry);
}

}  // namespace convd
