#include <spng.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/data/image_decoder.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Of one ancillary chunk (a colour profile, say) and of all of them, unpacked.
constexpr size_t kMaxChunk = size_t{4} << 20;
constexpr size_t kMaxChunks = size_t{16} << 20;
constexpr uint32_t kMaxSide = uint32_t{1} << 24;

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

const char* ColourText(int type) {
  switch (type) {
    case SPNG_COLOR_TYPE_GRAYSCALE:
      return "grey";
    case SPNG_COLOR_TYPE_TRUECOLOR:
      return "RGB";
    case SPNG_COLOR_TYPE_INDEXED:
      return "palette";
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA:
      return "grey and alpha";
    default:
      return "RGB and alpha";
  }
}

class PngDecoder final : public ImageDecoder {
 public:
  PngDecoder(std::string_view file, const std::string& name) : file_(file), name_(name) {}

  absl::Status Open(const DataLimits& limits) {
    context_.reset(spng_ctx_new(0));
    if (context_ == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(name_, ": no memory to decode it"));
    }
    CONVD_RETURN_IF_ERROR(Check(spng_set_image_limits(context_.get(), kMaxSide, kMaxSide)));
    CONVD_RETURN_IF_ERROR(Check(spng_set_chunk_limits(context_.get(), kMaxChunk, kMaxChunks)));
    CONVD_RETURN_IF_ERROR(
        Check(spng_set_crc_action(context_.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR)));
    CONVD_RETURN_IF_ERROR(Check(spng_set_png_buffer(context_.get(), file_.data(), file_.size())));
    spng_ihdr header;
    CONVD_RETURN_IF_ERROR(Check(spng_get_ihdr(context_.get(), &header)));
    const bool alpha = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
                       header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    if (alpha || header.bit_depth == 16) {
      return absl::InvalidArgumentError(absl::StrCat(
          name_, ": is a PNG of ", ColourText(header.color_type), ", ", int{header.bit_depth},
          " bits; want 8-bit grey or RGB, a palette, or grey of fewer bits"));
    }
    const int channels = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE ? 1 : 3;
    CONVD_RETURN_IF_ERROR(CheckImageShape(name_, 1, header.height, header.width, channels, limits));
    // Reads all chunks up to the pixels.
    spng_trns transparent;
    const int found = spng_get_trns(context_.get(), &transparent);
    if (found == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(name_, ": is a PNG of ", ColourText(header.color_type),
                       " with transparent colours; want an opaque one"));
    }
    if (found != SPNG_ECHUNKAVAIL) CONVD_RETURN_IF_ERROR(Check(found));
    format_ = channels == 1 ? SPNG_FMT_G8 : SPNG_FMT_RGB8;
    height_ = static_cast<int>(header.height);
    width_ = static_cast<int>(header.width);
    channels_ = channels;
    return absl::OkStatus();
  }

  absl::Status Decode(uint8_t* pixels) override {
    const size_t want = size_t{1} * height_ * width_ * channels_;
    size_t size = 0;
    CONVD_RETURN_IF_ERROR(Check(spng_decoded_image_size(context_.get(), format_, &size)));
    if (size != want) {
      return absl::InternalError(
          absl::StrCat(name_, ": would decode to ", size, " bytes; want ", want));
    }
    CONVD_RETURN_IF_ERROR(Check(spng_decode_image(context_.get(), pixels, size, format_, 0)));
    // What follows the pixels may be damaged too, or missing.
    CONVD_RETURN_IF_ERROR(Check(spng_decode_chunks(context_.get())));
    return CheckEnd();
  }

 private:
  // libspng is content with an IEND chunk that is cut short. A chunk: length, type, data, CRC.
  absl::Status CheckEnd() const {
    constexpr size_t kSignature = 8, kAround = 12;
    for (size_t at = kSignature; at + kAround <= file_.size();) {
      uint32_t length = 0;
      for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(file_[at + i]);
      if (length > file_.size() - at - kAround) break;
      if (file_.substr(at + 4, 4) == "IEND") return absl::OkStatus();
      at += kAround + length;
    }
    return Check(SPNG_IO_EOF);
  }

  absl::Status Check(int error) const {
    if (error == 0) return absl::OkStatus();
    const std::string message = absl::StrCat(name_, ": the PNG of ", file_.size(),
                                             " bytes can't be decoded: ", spng_strerror(error));
    if (error == SPNG_EMEM) return absl::ResourceExhaustedError(message);
    return absl::InvalidArgumentError(message);
  }

  const std::string_view file_;
  const std::string name_;
  std::unique_ptr<spng_ctx, FreeContext> context_;
  int format_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ImageDecoder>> OpenPng(std::string_view file,
                                                      const std::string& name,
                                                      const DataLimits& limits) {
  auto decoder = std::make_unique<PngDecoder>(file, name);
  CONVD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace convd
