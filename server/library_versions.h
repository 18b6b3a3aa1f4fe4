#ifndef CONVD_SERVER_LIBRARY_VERSIONS_H_
#define CONVD_SERVER_LIBRARY_VERSIONS_H_

#include <map>
#include <string>

namespace convd {

// What a version's card says of the software that trained it: convd, oneDNN, ONNX, Protocol Buffers
// and gRPC, each with its version. Any thread may call.
std::map<std::string, std::string> LibraryVersions();

}  // namespace convd

#endif  // CONVD_SERVER_LIBRARY_VERSIONS_H_
