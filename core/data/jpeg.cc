#include <csetjmp>
#include <cstddef>
#include <cstdio>
// After stdio.h, whose types it uses.
#include <jerror.h>
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "core/data/exif.h"
#include "core/data/heap_array.h"
#include "core/data/image_decoder.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// A progressive file may go over its pixels in any number of scans; a few bytes each would take
// minutes.
constexpr int kMaxScans = 100;

constexpr int kCmyk = 4;

// Adobe's programs write inks inverted, 255 for none, and so do all others by now, whether a file
// says that it is Adobe's or not. So a colour is what the ink and black leave of white.
void CmykToRgb(const uint8_t* cmyk, int pixels, uint8_t* rgb) {
  for (int i = 0; i < pixels; ++i, cmyk += kCmyk) {
    for (int c = 0; c < 3; ++c) *rgb++ = static_cast<uint8_t>((cmyk[c] * cmyk[3] + 127) / 255);
  }
}

// The library reports an error by a function that may not return. It jumps back to the method that
// called the library, over C frames only; what such a method must remember lies in members, and it
// has no locals with destructors.
class JpegDecoder final : public ImageDecoder {
 public:
  JpegDecoder(std::string_view file, const std::string& name) : file_(file), name_(name) {}
  ~JpegDecoder() override {
    if (created_) jpeg_destroy_decompress(&jpeg_);
  }

  absl::Status Open(const DataLimits& limits) {
    if (!ReadHeader()) return Failure();
    if (jpeg_.num_components != 1 && jpeg_.num_components != 3 && jpeg_.num_components != kCmyk) {
      return absl::InvalidArgumentError(
          absl::StrCat(name_, ": is a JPEG of ", jpeg_.num_components,
                       " components; want 1 (grey), 3 (colours) or 4 (CMYK)"));
    }
    CONVD_RETURN_IF_ERROR(CheckImageShape(name_, 1, jpeg_.image_height, jpeg_.image_width,
                                          jpeg_.num_components, limits));
    height_ = static_cast<int>(jpeg_.image_height);
    width_ = static_cast<int>(jpeg_.image_width);
    channels_ = jpeg_.num_components == 1 ? 1 : 3;
    orientation_ = JpegOrientation(file_);
    // Of several scans the library keeps all coefficients, 64 to a block.
    for (int i = 0; i < jpeg_.num_components && jpeg_has_multiple_scans(&jpeg_); ++i) {
      const jpeg_component_info& component = jpeg_.comp_info[i];
      library_bytes_ += int64_t{component.width_in_blocks} * component.height_in_blocks *
                        static_cast<int64_t>(sizeof(JBLOCK));
    }
    return absl::OkStatus();
  }

  absl::Status Decode(uint8_t* pixels) override {
    if (jpeg_.num_components == kCmyk) {
      CONVD_ASSIGN_OR_RETURN(cmyk_row_,
                             HeapArray<uint8_t>::Allocate(int64_t{width_} * kCmyk, name_));
    }
    if (!ReadPixels(pixels)) return Failure();
    // The library makes up what is missing or damaged, and only warns.
    if (errors_.num_warnings > 0) return Failure();
    return absl::OkStatus();
  }

 private:
  bool ReadHeader() {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    errors_.output_message = [](j_common_ptr) {};
    jpeg_.client_data = this;
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    created_ = true;
    jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(file_.data()), file_.size());
    return jpeg_read_header(&jpeg_, TRUE) == JPEG_HEADER_OK;
  }

  bool ReadPixels(uint8_t* pixels) {
    progress_.progress_monitor = OnProgress;
    jpeg_.progress = &progress_;
    if (setjmp(jump_) != 0) return false;
    const bool cmyk = jpeg_.num_components == kCmyk;
    jpeg_.out_color_space = cmyk ? JCS_CMYK : channels_ == 1 ? JCS_GRAYSCALE : JCS_RGB;
    if (!jpeg_start_decompress(&jpeg_)) return false;
    if (static_cast<int>(jpeg_.output_height) != height_ ||
        static_cast<int>(jpeg_.output_width) != width_ ||
        jpeg_.output_components != (cmyk ? kCmyk : channels_)) {
      return false;
    }
    while (jpeg_.output_scanline < jpeg_.output_height) {
      uint8_t* const to = pixels + size_t{jpeg_.output_scanline} * width_ * channels_;
      JSAMPROW row = cmyk ? cmyk_row_.data() : to;
      if (jpeg_read_scanlines(&jpeg_, &row, 1) != 1) return false;
      if (cmyk) CmykToRgb(row, width_, to);
    }
    return jpeg_finish_decompress(&jpeg_);
  }

  absl::Status Failure() const {
    const std::string message = absl::StrCat(
        name_, ": the JPEG of ", file_.size(),
        " bytes can't be decoded: ", message_[0] != '\0' ? message_ : "it ends too early");
    if (errors_.msg_code == JERR_OUT_OF_MEMORY) return absl::ResourceExhaustedError(message);
    return absl::InvalidArgumentError(message);
  }

  static JpegDecoder& Self(j_common_ptr jpeg) {
    return *static_cast<JpegDecoder*>(jpeg->client_data);
  }
  // The first message is the cause of the others.
  void Keep(j_common_ptr jpeg) {
    if (message_[0] == '\0') jpeg->err->format_message(jpeg, message_);
  }
  [[noreturn]] static void OnError(j_common_ptr jpeg) {
    Self(jpeg).Keep(jpeg);
    std::longjmp(Self(jpeg).jump_, 1);
  }
  static void OnMessage(j_common_ptr jpeg, int level) {
    if (level >= 0) return;  // a trace
    ++jpeg->err->num_warnings;
    Self(jpeg).Keep(jpeg);
  }
  static void OnProgress(j_common_ptr jpeg) {
    JpegDecoder& self = Self(jpeg);
    if (self.jpeg_.input_scan_number <= kMaxScans) return;
    if (self.message_[0] == '\0') {
      std::snprintf(self.message_, sizeof(self.message_), "it has more than %d scans", kMaxScans);
    }
    std::longjmp(self.jump_, 1);
  }

  const std::string_view file_;
  const std::string name_;
  jpeg_decompress_struct jpeg_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  HeapArray<uint8_t> cmyk_row_;
  bool created_ = false;
  char message_[JMSG_LENGTH_MAX] = "";
  std::jmp_buf jump_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ImageDecoder>> OpenJpeg(std::string_view file,
                                                       const std::string& name,
                                                       const DataLimits& limits) {
  auto decoder = std::make_unique<JpegDecoder>(file, name);
  CONVD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace convd
