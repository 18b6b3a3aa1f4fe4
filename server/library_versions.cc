#include "server/library_versions.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>
#include <onnx/common/version.h>

#include "core/dnn/engine_info.h"
#include "server/version.h"

namespace convd {

std::map<std::string, std::string> LibraryVersions() {
  return {
      {"convd", kVersion},
      {"gRPC", grpc::Version()},
      {"oneDNN", OneDnnVersion()},
      {"ONNX", onnx::LAST_RELEASE_VERSION},
      {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
  };
}

}  // namespace convd
