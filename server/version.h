#ifndef CONVD_SERVER_VERSION_H_
#define CONVD_SERVER_VERSION_H_

namespace convd {

// The project's, as CMakeLists.txt has it: "0.1.0".
inline constexpr char kVersion[] = CONVD_VERSION;

}  // namespace convd

#endif  // CONVD_SERVER_VERSION_H_
