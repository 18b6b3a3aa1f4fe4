#ifndef CONVD_CLIENT_CONVCTL_BENCH_REQUESTS_H_
#define CONVD_CLIENT_CONVCTL_BENCH_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/images.pb.h"

namespace convd {

// The images of different requests, `per_request` each, as many as a load sends in turn: up to 64,
// and 64 MiB in all. A load's requests differ so that no cache stands in for the work. Usage errors
// (exit_code.h) say what would be right; one where a request alone is larger than a message may be.

// Random uint8 pixels, the same for the same seed. REQUIRES: per_request >= 1.
absl::StatusOr<std::vector<v1::Images>> RandomRequests(int64_t height, int64_t width,
                                                       int64_t channels, int64_t per_request,
                                                       uint64_t seed);

// A local IDX, CIFAR or npz file's images one after the other, or PNG and JPEG files as they are;
// from the front again where there are too few. REQUIRES: there is a file, per_request >= 1.
absl::StatusOr<std::vector<v1::Images>> RequestsOfFiles(const std::vector<std::string>& files,
                                                        int64_t per_request);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_BENCH_REQUESTS_H_
