#include "core/dnn/inference_model.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <new>
#include <numeric>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/operation.h"
#include "core/dnn/plan.h"
#include "core/dnn/plan_memory.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Plans for one image and for a few keep small requests quick; the largest is a call of about half
// a millisecond.
constexpr int64_t kFewImages = kLeastPieceImages;
// A tenth of a millisecond.
constexpr double kQuickFlop = kCallFlop / 5;

class CompiledModel : public InferenceModel {
 public:
  explicit CompiledModel(const Graph& graph)
      : graph_(graph), quick_(ImageFlop(graph) <= kQuickFlop) {}

  absl::Status Build(absl::Span<const float> parameters, const InferenceOptions& options) {
    for (const int64_t images : PredictionSizes(graph_)) {
      auto size = std::make_unique<Size>();
      CONVD_ASSIGN_OR_RETURN(size->plan,
                             Plan::Compile(graph_, {.training = false,
                                                    .images = images,
                                                    .precision = options.precision,
                                                    .quantization = options.quantization}));
      AlignedBuffer packed(size->plan->packed_size());
      CONVD_RETURN_IF_ERROR(size->plan->Pack(parameters, packed.data()));
      // The layouts are nearly always the same for all sizes: then one copy serves them.
      const AlignedBuffer* shared = nullptr;
      for (const AlignedBuffer& other : weights_) {
        if (other.size() == packed.size() &&
            std::memcmp(other.data(), packed.data(), packed.size() * 4) == 0) {
          shared = &other;
        }
      }
      if (shared == nullptr) {
        weights_.push_back(std::move(packed));
        shared = &weights_.back();
      }
      size->weights = shared->data();
      sizes_.push_back(std::move(size));
    }
    return absl::OkStatus();
  }

  const Graph& graph() const override { return graph_; }
  int64_t preferred_images() const override { return sizes_[0]->plan->images(); }

  bool quick() const override { return quick_; }

  absl::Status InferScattered(absl::Span<const ImagePixels> images, absl::Span<float> probabilities,
                              Executor& executor,
                              absl::FunctionRef<bool()> cancelled) const override {
    auto at_cut = [&] {
      executor.Cut();
      return !cancelled();
    };
    std::vector<uint32_t> samples(preferred_images());
    std::iota(samples.begin(), samples.end(), static_cast<uint32_t>(0));
    const int64_t count = static_cast<int64_t>(images.size());
    for (int64_t done = 0; done < count;) {
      const int64_t left = count - done;
      const Size* size = sizes_.back().get();
      for (const auto& candidate : sizes_) {
        if (candidate->plan->images() <= left) {
          size = candidate.get();
          break;
        }
      }
      const int64_t n = std::min(size->plan->images(), left);
      MicroBatch batch;
      batch.scattered = images.subspan(done, n);
      batch.samples = absl::MakeConstSpan(samples).subspan(0, n);
      batch.probabilities = probabilities.data() + done * graph_.classes();
      CONVD_ASSIGN_OR_RETURN(std::unique_ptr<Workspace> workspace, size->Take(at_cut));
      const absl::Status status = size->plan->RunPhase(0, *workspace, batch, at_cut);
      size->Return(std::move(workspace));
      CONVD_RETURN_IF_ERROR(status);
      done += n;
    }
    return absl::OkStatus();
  }

 private:
  // A plan for one number of images, and the workspaces that no task is using.
  struct Size {
    std::shared_ptr<const Plan> plan;
    const float* weights = nullptr;
    mutable absl::Mutex mutex;
    mutable std::vector<std::unique_ptr<Workspace>> idle ABSL_GUARDED_BY(mutex);

    absl::StatusOr<std::unique_ptr<Workspace>> Take(absl::FunctionRef<bool()> at_cut) const {
      {
        absl::MutexLock lock(&mutex);
        if (!idle.empty()) {
          std::unique_ptr<Workspace> workspace = std::move(idle.back());
          idle.pop_back();
          return workspace;
        }
      }
      return plan->NewWorkspace(weights, nullptr, at_cut);
    }
    void Return(std::unique_ptr<Workspace> workspace) const {
      absl::MutexLock lock(&mutex);
      idle.push_back(std::move(workspace));
    }
  };

  const Graph graph_;
  const bool quick_;
  std::list<AlignedBuffer> weights_;
  std::vector<std::unique_ptr<Size>> sizes_;  // largest first
};

}  // namespace

absl::Status InferenceModel::Infer(const ImageSet& images, absl::Span<float> probabilities,
                                   Executor& executor, absl::FunctionRef<bool()> cancelled) const {
  const Shape want = graph().input();
  if (images.height != want.height || images.width != want.width ||
      images.channels != want.channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("images: got ", images.height, "x", images.width, "x", images.channels,
                     "; the model takes ", want.height, "x", want.width, "x", want.channels));
  }
  if (static_cast<int64_t>(probabilities.size()) != images.count * graph().classes()) {
    return absl::InvalidArgumentError(absl::StrCat("probabilities: got room for ",
                                                   probabilities.size(), "; want ", images.count,
                                                   " x ", graph().classes()));
  }
  std::vector<ImagePixels> pixels;
  pixels.reserve(images.count);
  for (int64_t i = 0; i < images.count; ++i) pixels.push_back({images.image(i), images.type});
  return InferScattered(pixels, probabilities, executor, cancelled);
}

std::vector<int64_t> PredictionSizes(const Graph& graph) {
  std::vector<int64_t> sizes = {MostMicroBatchImages(graph)};
  for (const int64_t images : {kFewImages, int64_t{1}}) {
    if (images < sizes.back()) sizes.push_back(images);
  }
  return sizes;
}

int64_t EstimateInferenceMemory(const Graph& graph, v1::Precision precision, int workers) {
  double workspaces = 0, packed = 0;
  // A quick model answers on its callers' threads, too, of which there may be one in each worker's
  // place, while the workers begin again.
  const double at_once = workers * (ImageFlop(graph) <= kQuickFlop ? 2.0 : 1.0);
  for (const int64_t images : PredictionSizes(graph)) {
    const PlanMemory plan = EstimatePlanMemory(graph, {.images = images, .precision = precision});
    // Each of them may have been at each size.
    workspaces += static_cast<double>(plan.workspace_bytes) * at_once;
    packed = std::max(packed, static_cast<double>(plan.packed_bytes));
  }
  // What all sizes share, and one array more while they are compared, or where one differs.
  return static_cast<int64_t>(std::min(workspaces + 2 * packed, 0x1p62));
}

absl::StatusOr<std::shared_ptr<const InferenceModel>> CompileInferenceModel(
    const Graph& graph, absl::Span<const float> parameters, const InferenceOptions& options) {
  if (static_cast<int64_t>(parameters.size()) != graph.parameter_count()) {
    return absl::InvalidArgumentError(absl::StrCat("parameters: got ", parameters.size(),
                                                   "; the network has ", graph.parameter_count()));
  }
  try {
    auto model = std::make_shared<CompiledModel>(graph);
    CONVD_RETURN_IF_ERROR(model->Build(parameters, options));
    return std::shared_ptr<const InferenceModel>(std::move(model));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the model's weights");
  }
}

int64_t PieceImages(const InferenceModel& model, int64_t count, int workers) {
  const int64_t most = std::max<int64_t>(model.preferred_images(), 1);
  return std::clamp((count + workers - 1) / workers, std::min(kLeastPieceImages, most), most);
}

}  // namespace convd
