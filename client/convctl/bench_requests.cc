#include "client/convctl/bench_requests.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/local_file.h"
#include "client/convctl/local_images.h"
#include "core/data/file_format.h"
#include "core/data/image_storage.h"
#include "core/data/limits.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kMostRequests = 64;
constexpr int64_t kMostBytes = int64_t{64} << 20;
constexpr int64_t kLargestImageFile = int64_t{64} << 20;

// How many requests of that size to have.
absl::StatusOr<int64_t> CountRequests(int64_t per_request, int64_t image_bytes) {
  const int64_t largest = ClientOptions().max_message_bytes;
  if (per_request > largest / std::max<int64_t>(1, image_bytes)) {
    return UsageError(absl::StrCat("--images ", per_request, " of ", image_bytes,
                                   " bytes don't fit into a message; want at most ",
                                   largest / std::max<int64_t>(1, image_bytes)));
  }
  const int64_t bytes = std::max<int64_t>(1, per_request * image_bytes);
  return std::clamp<int64_t>(kMostBytes / bytes, 1, kMostRequests);
}

bool IsEncoded(std::string_view bytes) {
  const FileFormat format = DetectFileFormat(bytes);
  return format == FileFormat::kPng || format == FileFormat::kJpeg;
}

absl::StatusOr<std::vector<v1::Images>> EncodedRequests(const std::vector<std::string>& paths,
                                                        int64_t per_request) {
  std::vector<std::string> files;
  int64_t largest = 0, bytes = 0;
  for (const std::string& path : paths) {
    CONVD_ASSIGN_OR_RETURN(files.emplace_back(), ReadLocalFile(path, kLargestImageFile));
    if (!IsEncoded(files.back())) {
      return UsageError(absl::StrCat(path, " is no PNG or JPEG file, as the first one is"));
    }
    largest = std::max(largest, static_cast<int64_t>(files.back().size()));
    bytes += static_cast<int64_t>(files.back().size());
    if (bytes > kMostBytes) {
      return UsageError(absl::StrCat("--from: the files are larger than ", kMostBytes,
                                     " bytes together; name fewer"));
    }
  }
  CONVD_ASSIGN_OR_RETURN(const int64_t count, CountRequests(per_request, largest));
  std::vector<v1::Images> requests(count);
  size_t next = 0;
  for (v1::Images& request : requests) {
    for (int64_t i = 0; i < per_request; ++i) {
      request.mutable_encoded()->add_files(files[next++ % files.size()]);
    }
  }
  return requests;
}

}  // namespace

absl::StatusOr<std::vector<v1::Images>> RandomRequests(int64_t height, int64_t width,
                                                       int64_t channels, int64_t per_request,
                                                       uint64_t seed) {
  // The shape may be a server's word.
  if (absl::Status status =
          CheckImageShape("images", per_request, height, width, channels, DataLimits());
      !status.ok()) {
    return UsageError(std::string_view(status.message().data(), status.message().size()));
  }
  CONVD_ASSIGN_OR_RETURN(const int64_t count,
                         CountRequests(per_request, height * width * channels));
  std::mt19937_64 random(seed);
  std::vector<v1::Images> requests(count);
  for (v1::Images& request : requests) {
    v1::RawImages& raw = *request.mutable_uint8();
    raw.set_count(per_request);
    raw.set_height(static_cast<int32_t>(height));
    raw.set_width(static_cast<int32_t>(width));
    raw.set_channels(static_cast<int32_t>(channels));
    std::string& data = *raw.mutable_data();
    data.resize(per_request * height * width * channels);
    for (char& byte : data) byte = static_cast<char>(random() >> 56);
  }
  return requests;
}

absl::StatusOr<std::vector<v1::Images>> RequestsOfFiles(const std::vector<std::string>& files,
                                                        int64_t per_request) {
  const absl::StatusOr<std::string> first = ReadLocalFile(files.front(), kLargestImageFile);
  if (first.ok() && IsEncoded(*first)) return EncodedRequests(files, per_request);
  if (files.size() > 1) {
    return UsageError(absl::StrCat("--from takes PNG and JPEG files, or one file of images; ",
                                   files.front(), " is no PNG or JPEG file"));
  }
  CONVD_ASSIGN_OR_RETURN(const ImageSet images, ReadLocalImages(files.front(), ""));
  if (images.count == 0) return UsageError(absl::StrCat(files.front(), " has no images"));
  CONVD_ASSIGN_OR_RETURN(const int64_t count, CountRequests(per_request, images.image_bytes()));
  std::vector<v1::Images> requests(count);
  int64_t next = 0;
  for (v1::Images& request : requests) {
    request = RawImagesOf(images.Slice(next, 0));
    v1::RawImages& raw =
        request.has_uint8() ? *request.mutable_uint8() : *request.mutable_float32();
    raw.set_count(per_request);
    for (int64_t i = 0; i < per_request; ++i) {
      raw.mutable_data()->append(images.image(next), images.image_bytes());
      next = (next + 1) % images.count;
    }
  }
  return requests;
}

}  // namespace convd
