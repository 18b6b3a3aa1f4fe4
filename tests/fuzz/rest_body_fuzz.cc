#include <google/protobuf/util/message_differencer.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/error_response.h"
#include "server/http/message_json.h"
#include "server/http/predict_body.h"
#include "server/http/request_reader.h"
#include "server/predict/request_images.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

constexpr Shape kShape{2, 3, 1};
constexpr int64_t kMaxImages = 16;
constexpr HttpReadLimits kLimits = {.header_bytes = 4096, .body_bytes = 1 << 20};

void PromiseShort(const absl::Status& status) {
  Promise(absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status),
          "a refusal blames the request");
  // Messages repeat what came; the answer cuts them, and is JSON whatever they hold.
  Promise(ErrorResponse(status).body.size() < 32 << 10, "a refusal is bounded");
}

// A request as the server's reader hands it on, or none.
void Read(std::string_view target, std::string_view body) {
  auto reader = HttpRequestReader::New(kLimits);
  std::string bytes = "POST ";
  bytes.append(target);
  absl::StrAppend(&bytes, " HTTP/1.1\r\nHost: h\r\nContent-Length: ", body.size(), "\r\n\r\n");
  bytes.append(body);
  using State = HttpRequestReader::State;
  while (!bytes.empty() && (reader->state() == State::kHeader || reader->state() == State::kBody)) {
    const size_t taken = reader->Read({bytes.data(), bytes.size()});
    if (taken == 0) break;
    bytes.erase(0, taken);
  }
  if (reader->state() != State::kWhole) return;
  HttpRequest http = reader->Take();
  // As the router does for /v1/models/{name}/versions/{version}:predict.
  http.path_values = {{"name", "m"}, {"version", http.path.substr(1)}};
  const bool is_file = IsImageFile(http.body);

  v1::PredictRequest request;
  if (const absl::Status status = ReadPrediction(http, request); !status.ok()) {
    return PromiseShort(status);
  }
  Promise(request.model().name() == "m", "the path names the model");
  Promise(!is_file || request.images().encoded().files_size() == 1, "a file is an image");
  const absl::StatusOr<RequestImages> images =
      RequestImages::Create(request.images(), kShape, kMaxImages, FuzzedLimits());
  if (!images.ok()) {
    Promise(absl::StartsWith(images.status().message(), "images"), "an error names its field");
    PromiseShort(images.status());
  } else {
    Promise(images->count() >= 1 && images->count() <= kMaxImages, "images are bounded");
    const auto pixels = images->Read(0, images->count(), [] { return absl::OkStatus(); });
    if (!pixels.ok()) {
      Promise(absl::StartsWith(pixels.status().message(), "images"), "an error names its image");
      PromiseShort(pixels.status());
    }
  }
  // Said in JSON it is the same request; a label that isn't UTF-8 is no label, and refused later.
  request.mutable_model()->clear_label();
  const HttpResponse json = JsonResponse(request);
  v1::PredictRequest again;
  Promise(json.status == 200 && ParseJson(json.body, again).ok() &&
              google::protobuf::util::MessageDifferencer::Equals(request, again),
          "a request is the same in JSON");
}

}  // namespace
}  // namespace convd

// The target of the request in the first line, such as "/3?top_k=2"; the rest is its body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = convd::Bytes(data, size);
  const size_t end = bytes.find('\n');
  if (end == bytes.npos) return 0;
  convd::Read(bytes.substr(0, end), bytes.substr(end + 1));
  return 0;
}
