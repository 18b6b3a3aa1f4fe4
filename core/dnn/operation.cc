#include "core/dnn/operation.h"

#include "absl/strings/str_cat.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/kernels.h"

namespace convd {

CallInfo OwnCall(const std::string& layer, const char* pass, const std::string& layout,
                 int64_t flop, int64_t floats) {
  return {.layer = layer,
          .pass = pass,
          .kernel = absl::StrCat("own:", ActiveKernels().name),
          .layout = layout,
          .flop = flop,
          .bytes = floats * static_cast<int64_t>(sizeof(float)),
          .planned = true};
}

CallInfo OneDnnCall(const std::string& layer, const char* pass, const std::string& layout,
                    int64_t flop, int64_t floats, const std::string& impl_info, bool elementwise) {
  CallInfo info = OwnCall(layer, pass, layout, flop, floats);
  info.kernel = impl_info;
  info.planned = IsPlannedKernel(impl_info, InstructionSet(), elementwise);
  return info;
}

CallInfo ShareOf(const CallInfo& whole, int64_t begin, int64_t end, int64_t all) {
  // In doubles, whose products don't overflow.
  const auto share = [&](int64_t of) {
    const auto until = [&](int64_t at) {
      return static_cast<int64_t>(static_cast<double>(of) / static_cast<double>(all) *
                                  static_cast<double>(at));
    };
    return (end == all ? of : until(end)) - until(begin);
  };
  CallInfo part = whole;
  part.flop = share(whole.flop);
  part.bytes = share(whole.bytes);
  return part;
}

}  // namespace convd
