#include "core/data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/data/file_format.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// zlib counts in 32 bits.
constexpr int64_t kMaxPiece = int64_t{1} << 30;
// Deflate can't do better than 258 bytes in 2 bits.
constexpr int64_t kMaxRatio = 1032;
constexpr int64_t kMinCapacity = 4096;

// What the last member says it unpacks to (modulo 2^32), as far as it can be true. A hint.
int64_t SizeHint(std::string_view bytes) {
  if (bytes.size() < 18) return 0;
  int64_t size = 0;
  for (int i = 1; i <= 4; ++i) {
    size = size << 8 | static_cast<unsigned char>(bytes[bytes.size() - i]);
  }
  return std::min(size, static_cast<int64_t>(bytes.size()) * kMaxRatio);
}

}  // namespace

absl::StatusOr<HeapArray<char>> InflateGzip(std::string_view bytes, const std::string& name,
                                            int64_t limit, ArrayMemory* arrays) {
  if (DetectFileFormat(bytes) != FileFormat::kGzip) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is ", DescribeFileFormat(bytes), "; want a gzip file"));
  }
  z_stream stream = {};
  // 15: the largest window; 16: gzip's header and trailer, and no others.
  if (inflateInit2(&stream, 15 + 16) != Z_OK) {
    return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory to inflate it"));
  }
  absl::Cleanup end = [&stream] { inflateEnd(&stream); };

  const int64_t size = static_cast<int64_t>(bytes.size());
  int64_t in = 0;
  int64_t out = 0;
  // One more than the limit shows that there is more.
  const int64_t most = limit + 1;
  HeapArray<char> plain(arrays);
  CONVD_RETURN_IF_ERROR(
      plain.Resize(std::min(most, std::max(SizeHint(bytes) + 1, kMinCapacity)), name));
  while (true) {
    if (out == plain.size()) {
      CONVD_RETURN_IF_ERROR(plain.Resize(std::min(most, 2 * plain.size()), name));
    }
    const int64_t in_piece = std::min(size - in, kMaxPiece);
    const int64_t out_piece = std::min(plain.size() - out, kMaxPiece);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + in));
    stream.avail_in = static_cast<uInt>(in_piece);
    stream.next_out = reinterpret_cast<Bytef*>(plain.data() + out);
    stream.avail_out = static_cast<uInt>(out_piece);
    const int result = inflate(&stream, Z_NO_FLUSH);
    in += in_piece - stream.avail_in;
    out += out_piece - stream.avail_out;
    if (out > limit) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": its ", size, " bytes unpack to more than the limit of ", limit, " bytes"));
    }
    if (result == Z_OK) continue;
    if (result == Z_BUF_ERROR && in == size) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": the gzip file is cut short: it ends at offset ", size, " after ",
                       out, " unpacked bytes, inside a member"));
    }
    if (result == Z_BUF_ERROR) continue;  // there was no room for a byte
    if (result == Z_MEM_ERROR) {
      return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory to inflate it"));
    }
    if (result != Z_STREAM_END) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": the gzip file is damaged at offset ", in, ", after ", out, " unpacked bytes: ",
          stream.msg != nullptr ? stream.msg : "it wants a preset dictionary"));
    }
    if (in == size) break;
    if (DetectFileFormat(bytes.substr(static_cast<size_t>(in))) != FileFormat::kGzip) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", size - in, " bytes that aren't gzip's follow its end at offset ",
                       in, "; want none"));
    }
    if (inflateReset(&stream) != Z_OK) {
      return absl::InternalError(absl::StrCat(name, ": zlib can't go on at offset ", in));
    }
  }
  CONVD_RETURN_IF_ERROR(plain.Resize(out, name));
  return plain;
}

std::string GzipPrefix(std::string_view bytes, size_t n) {
  z_stream stream = {};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return "";
  absl::Cleanup end = [&stream] { inflateEnd(&stream); };
  std::string prefix(n, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(std::min<size_t>(bytes.size(), kMaxPiece));
  stream.next_out = reinterpret_cast<Bytef*>(prefix.data());
  stream.avail_out = static_cast<uInt>(n);
  inflate(&stream, Z_NO_FLUSH);  // however it ends, what came out is the answer
  prefix.resize(n - stream.avail_out);
  return prefix;
}

absl::StatusOr<PlainBytes> InflateIfGzip(std::string_view bytes, const std::string& name,
                                         int64_t limit, ArrayMemory* arrays) {
  PlainBytes plain;
  if (DetectFileFormat(bytes) != FileFormat::kGzip) {
    plain.view = bytes;
    return plain;
  }
  CONVD_ASSIGN_OR_RETURN(plain.inflated, InflateGzip(bytes, name, limit, arrays));
  plain.view = std::string_view(plain.inflated.data(), static_cast<size_t>(plain.inflated.size()));
  return plain;
}

}  // namespace convd
