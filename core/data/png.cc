#include <spng.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/data/exif.h"
#include "core/data/heap_array.h"
#include "core/data/image_decoder.h"
#include "core/data/image_resize.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Of one ancillary chunk (a colour profile, say) and of all of them, unpacked.
constexpr size_t kMaxChunk = size_t{4} << 20;
constexpr size_t kMaxChunks = size_t{16} << 20;

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

int EightBits(uint8_t value) { return value; }
// To the nearest: a 257th, as 65535 is 257 * 255.
int EightBits(uint16_t value) { return (value + 128) / 257; }

// Writes RGBA pixels (of a grey image, its first channel) blended onto white, `step` bytes apart.
template <typename T>
void BlendOntoWhite(const T* rgba, int pixels, int channels, ptrdiff_t step, uint8_t* to) {
  for (int i = 0; i < pixels; ++i, rgba += 4, to += step) {
    const int alpha = EightBits(rgba[3]);
    for (int c = 0; c < channels; ++c) {
      // To the nearest; 255 is odd, so there are no halves.
      to[c] = static_cast<uint8_t>((EightBits(rgba[c]) * alpha + 255 * (255 - alpha) + 127) / 255);
    }
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
    CONVD_RETURN_IF_ERROR(Check(spng_set_chunk_limits(context_.get(), kMaxChunk, kMaxChunks)));
    CONVD_RETURN_IF_ERROR(
        Check(spng_set_crc_action(context_.get(), SPNG_CRC_ERROR, SPNG_CRC_ERROR)));
    CONVD_RETURN_IF_ERROR(Check(spng_set_png_buffer(context_.get(), file_.data(), file_.size())));
    spng_ihdr header;
    CONVD_RETURN_IF_ERROR(Check(spng_get_ihdr(context_.get(), &header)));
    if (header.width > kMaxResizedSide || header.height > kMaxResizedSide) {
      return absl::InvalidArgumentError(absl::StrCat(name_, ": says an image of ", header.height,
                                                     "x", header.width, "; the limit is ",
                                                     kMaxResizedSide, " a side"));
    }
    const bool grey = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE ||
                      header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA;
    channels_ = grey ? 1 : 3;
    CONVD_RETURN_IF_ERROR(
        CheckImageShape(name_, 1, header.height, header.width, channels_, limits));
    height_ = static_cast<int>(header.height);
    width_ = static_cast<int>(header.width);
    CONVD_RETURN_IF_ERROR(ReadChunks());
    // Reads all chunks up to the pixels.
    spng_trns transparent;
    const int found = spng_get_trns(context_.get(), &transparent);
    if (found != SPNG_ECHUNKAVAIL) CONVD_RETURN_IF_ERROR(Check(found));
    if (header.bit_depth == 16) {
      format_ = SPNG_FMT_RGBA16;
    } else if (found == 0 || header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
               header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA) {
      format_ = SPNG_FMT_RGBA8;
    } else {
      format_ = grey ? SPNG_FMT_G8 : SPNG_FMT_RGB8;
    }
    return absl::OkStatus();
  }

  absl::Status Decode(uint8_t* pixels) override {
    if (format_ == SPNG_FMT_RGBA8) {
      CONVD_RETURN_IF_ERROR(DecodeRows<uint8_t>(pixels));
    } else if (format_ == SPNG_FMT_RGBA16) {
      CONVD_RETURN_IF_ERROR(DecodeRows<uint16_t>(pixels));
    } else {
      CONVD_RETURN_IF_ERROR(DecodeWhole(pixels));
    }
    // What follows the pixels may be damaged, too.
    return Check(spng_decode_chunks(context_.get()));
  }

 private:
  absl::Status DecodeWhole(uint8_t* pixels) {
    const size_t want = size_t{1} * height_ * width_ * channels_;
    size_t size = 0;
    CONVD_RETURN_IF_ERROR(Check(spng_decoded_image_size(context_.get(), format_, &size)));
    if (size != want) {
      return absl::InternalError(
          absl::StrCat(name_, ": would decode to ", size, " bytes; want ", want));
    }
    return Check(spng_decode_image(context_.get(), pixels, size, format_, 0));
  }

  // Row by row, so that the wider pixels are never there all at once.
  template <typename T>
  absl::Status DecodeRows(uint8_t* pixels) {
    CONVD_ASSIGN_OR_RETURN(auto row, HeapArray<T>::Allocate(int64_t{4} * width_, name_));
    CONVD_RETURN_IF_ERROR(Check(spng_decode_image(context_.get(), nullptr, 0, format_,
                                                  SPNG_DECODE_PROGRESSIVE | SPNG_DECODE_TRNS)));
    spng_ihdr header;
    CONVD_RETURN_IF_ERROR(Check(spng_get_ihdr(context_.get(), &header)));
    const bool interlaced = header.interlace_method != SPNG_INTERLACE_NONE;
    // Of the seven passes of an interlaced image: where a row begins, and between its pixels.
    constexpr int kFirst[] = {0, 4, 0, 2, 0, 1, 0}, kStep[] = {8, 8, 4, 4, 2, 2, 1};
    for (int error = 0; error != SPNG_EOI;) {
      spng_row_info info;
      CONVD_RETURN_IF_ERROR(Check(spng_get_row_info(context_.get(), &info)));
      error = spng_decode_scanline(context_.get(), row.data(), row.size() * sizeof(T));
      if (error != SPNG_EOI) CONVD_RETURN_IF_ERROR(Check(error));
      const int first = interlaced ? kFirst[info.pass] : 0;
      const int step = interlaced ? kStep[info.pass] : 1;
      const int count = (width_ - first + step - 1) / step;
      BlendOntoWhite(row.data(), count, channels_, ptrdiff_t{step} * channels_,
                     pixels + (int64_t{info.row_num} * width_ + first) * channels_);
    }
    return absl::OkStatus();
  }

  // Finds the EXIF block, which may also lie after the pixels. libspng is content with an IEND
  // chunk that is cut short; this isn't. A chunk: length, type, data, CRC.
  absl::Status ReadChunks() {
    constexpr size_t kSignature = 8, kAround = 12;
    for (size_t at = kSignature; at + kAround <= file_.size();) {
      uint32_t length = 0;
      for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(file_[at + i]);
      if (length > file_.size() - at - kAround) break;
      const std::string_view type = file_.substr(at + 4, 4);
      if (type == "IEND") return absl::OkStatus();
      if (type == "eXIf") orientation_ = ExifOrientation(file_.substr(at + 8, length));
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
