#ifndef CONVD_CORE_DATA_FILE_FORMAT_H_
#define CONVD_CORE_DATA_FILE_FORMAT_H_

#include <string>
#include <string_view>

namespace convd {

// What a file's first bytes say it is.
enum class FileFormat {
  kEmpty,
  kGzip,  // RFC 1952
  kZip,   // npz too
  kIdx,   // 00 00, an element type, a rank
  kNpy,
  kPng,
  kJpeg,
  kTar,      // POSIX's or GNU's, not compressed
  kWebPage,  // HTML or XML: what a failed download leaves
  kUnknown,  // CIFAR-10's and CIFAR-100's files have no magic
};

// Never looks at the name. Any thread may call.
FileFormat DetectFileFormat(std::string_view bytes);

// What was found, for "NAME: is ...; want ...": "a web page (HTML): the download may have failed",
// "a PNG image", "a GIF image" (which nothing here reads), or the first bytes in hex.
std::string DescribeFileFormat(std::string_view bytes);

}  // namespace convd

#endif  // CONVD_CORE_DATA_FILE_FORMAT_H_
