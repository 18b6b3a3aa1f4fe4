#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/presets.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"

// Counts what operator new gives, on all threads of the process; not what AlignedBuffer takes,
// whose owners allocate beside it. The operators are not inlined, so that gcc doesn't see a pointer
// of one's go to free().

namespace {

std::atomic<int64_t> allocations{0};

void* Counted(std::size_t bytes, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) != 0) {
    std::abort();
  }
  return memory;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return Counted(bytes, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
  return Counted(bytes, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return Counted(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return Counted(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace convd {
namespace {

// The count at the end of each step.
class CountingObserver : public TrainingObserver {
 public:
  explicit CountingObserver(size_t steps) { counts.reserve(steps + 8); }
  void OnProgress(const TrainingProgress&) override {
    counts.push_back(allocations.load(std::memory_order_relaxed));
  }
  void OnEpoch(const v1::EpochRecord&) override {}
  bool Cancelled() const override { return false; }

  std::vector<int64_t> counts;
};

void ExpectAllocatesNothingInASteadyState(const v1::Augmentation& augmentation) {
  const Graph graph = *Graph::Create(*Preset("keras-mnist"));
  constexpr int kSteps = 12, kBatch = 64;
  const std::vector<uint8_t> pixels(kSteps * kBatch * 28 * 28, 77);
  const std::vector<int32_t> labels(kSteps * kBatch, 3);
  TrainingData data;
  data.train.count = kSteps * kBatch;
  data.train.height = data.train.width = 28;
  data.train.channels = 1;
  data.train.type = ElementType::kUint8;
  data.train.pixels = pixels.data();
  data.train.labels = labels;
  for (int i = 0; i < 10; ++i) data.labels.push_back(std::to_string(i));
  v1::TrainRequest request;
  request.set_batch_size(kBatch);
  request.set_epochs(1);
  *request.mutable_augmentation() = augmentation;
  ASSERT_TRUE(ResolveTraining(request).ok());
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  auto trainer = Trainer::Create(graph, request, data, *executor, Clock::Real());
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  CountingObserver observer(kSteps);
  ASSERT_TRUE((*trainer)->Run(observer).ok());
  ASSERT_EQ(observer.counts.size(), kSteps);
  // A step may be the first on which both workers had a workspace, or as many gradients were
  // waiting for their neighbours as ever do; so not each, but most of the later ones have to be
  // without.
  int without = 0;
  for (int step = 4; step < kSteps; ++step)
    without += observer.counts[step] == observer.counts[step - 1];
  EXPECT_GE(without, (kSteps - 4) / 2);
}

TEST(Training, AllocatesNothingInASteadyState) { ExpectAllocatesNothingInASteadyState({}); }

TEST(Training, AllocatesNothingInASteadyStateWithAugmentation) {
  v1::Augmentation augmentation;
  augmentation.set_horizontal_flip(true);
  augmentation.set_shift(4);
  ExpectAllocatesNothingInASteadyState(augmentation);
}

}  // namespace
}  // namespace convd
