// The ceiling of Predict: a gRPC server with convd's service, messages and settings that computes
// nothing. `echo --help` lists the options; `convctl bench --server ADDRESS --shape 28x28x1 any`
// drives it.

#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "convd/v1/predictor.grpc.pb.h"
#include "server/rpc/arena_messages.h"

namespace convd {
namespace {

struct Options {
  std::string address = "127.0.0.1:0";
  bool arenas = false;
  int busy = 0;
  int nice = 0;
};

class Echo final : public v1::Predictor::CallbackService {
 public:
  // One ready-made top class an image, as many as the request has.
  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::PredictRequest* request,
                                    v1::PredictResponse* response) override {
    const v1::Images& images = request->images();
    const int64_t count = images.has_encoded() ? images.encoded().files_size()
                          : images.has_uint8() ? images.uint8().count()
                                               : images.float32().count();
    // A count is only a number, which a caller may make up.
    const int64_t most =
        static_cast<int64_t>(images.uint8().data().size() + images.float32().data().size()) +
        images.encoded().files_size();
    *response->mutable_model() = request->model();
    response->mutable_model()->set_version(1);
    response->set_precision(v1::PRECISION_F32);
    for (int64_t i = 0; i < std::min(count, most); ++i) {
      v1::ClassScore& top = *response->add_predictions()->add_top();
      top.set_index(9);
      top.set_label("Ankle boot");
      top.set_probability(0.97f);
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// As a training would hold the cores: at the workers' nice value, without a pause.
void BurnCpu(int nice, const std::atomic<bool>& stop) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  volatile double sum = 1;
  while (!stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 10000; ++i) sum = sum * 1.0000001 + 1e-9;
  }
}

int Serve(const Options& options) {
  // Before any thread is made, so that each has it blocked and sigwait alone takes it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Echo echo;
  ArenaMessages<v1::PredictRequest, v1::PredictResponse> allocator;
  if (options.arenas) echo.SetMessageAllocatorFor_Predict(&allocator);
  // What server/rpc/listening.cc sets and a call can feel.
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&echo);
  builder.SetMaxReceiveMessageSize(256 << 20);
  builder.SetMaxSendMessageSize(256 << 20);
  grpc::ResourceQuota quota("echo");
  quota.Resize(size_t{3} << 30);
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1000);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "echo: can't listen on %s\n", options.address.c_str());
    return 1;
  }
  std::atomic<bool> stop = false;
  std::vector<std::thread> burners;
  for (int i = 0; i < options.busy; ++i) {
    burners.emplace_back([&] { BurnCpu(options.nice, stop); });
  }
  const std::string host = options.address.substr(0, options.address.rfind(':'));
  std::printf("%s:%d\n", host.c_str(), port);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  stop = true;
  for (std::thread& burner : burners) burner.join();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  return 0;
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
#ifdef NDEBUG
  // Debian's Abseil looks for deadlocks at every lock, since it is built without NDEBUG.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  convd::Options options;
  CLI::App app(
      "Answers Predict without computing anything, until SIGTERM; prints its address first.");
  app.add_option("--address", options.address, "HOST:PORT; port 0 takes a free one")
      ->capture_default_str();
  app.add_flag("--arenas", options.arenas, "each call's messages on an arena");
  app.add_option("--busy", options.busy, "threads that burn CPU beside the calls")
      ->check(CLI::Range(0, 1024));
  app.add_option("--nice", options.nice, "of those threads")->check(CLI::Range(0, 19));
  CLI11_PARSE(app, argc, argv);
  return convd::Serve(options);
}
