#include <algorithm>
#include <string>

#include "server/http/request_reader.h"
#include "tests/fuzz/promises.h"

namespace {

using namespace convd;

constexpr HttpReadLimits kLimits = {.header_bytes = 1024, .body_bytes = 2048};

// The requests that one way of cutting the bytes comes to, up to a refusal. A header that isn't
// whole may be refused already, or later, so that there was one says nothing.
std::string ReadIn(std::string_view bytes, size_t step) {
  std::string read;
  std::string in;
  auto reader = HttpRequestReader::New(kLimits);
  while (!bytes.empty()) {
    const std::string_view next = bytes.substr(0, step);
    bytes.remove_prefix(next.size());
    in.append(next);
    while (!in.empty()) {
      const size_t taken = reader->Read(in);
      Promise(taken <= in.size(), "no more is taken than there is");
      in.erase(0, taken);
      Promise(reader->body_bytes() <= static_cast<size_t>(kLimits.body_bytes),
              "a body is within its limit");
      if (reader->state() == HttpRequestReader::State::kRefused) {
        Promise(reader->refusal().status >= 400 && reader->refusal().body.size() < 8192,
                "a refusal is a short error");
        return read;
      }
      if (reader->state() != HttpRequestReader::State::kWhole) {
        Promise(in.size() < kLimits.header_bytes + 2 + step, "what waits is bounded");
        break;
      }
      const HttpRequest request = reader->Take();
      Promise(!request.method.empty() && !request.path.empty(), "a request asks for something");
      read += request.method + " " + request.path + " " + request.body + "\n";
      reader = HttpRequestReader::New(kLimits);
    }
  }
  return read;
}

}  // namespace

// However the network cuts the bytes, they say the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = Bytes(data, size);
  const std::string whole = ReadIn(bytes, std::max<size_t>(1, size));
  Promise(ReadIn(bytes, 1) == whole, "byte by byte is the same");
  Promise(ReadIn(bytes, 7) == whole, "in pieces is the same");
  return 0;
}
