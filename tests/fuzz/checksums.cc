#include "tests/fuzz/checksums.h"

#include <zlib.h>

#include <cstring>

namespace convd {
namespace {

uint32_t LittleEndian(const uint8_t* data, int bytes) {
  uint32_t value = 0;
  for (int i = bytes; i-- > 0;) value = value << 8 | data[i];
  return value;
}

void WriteLittleEndian(uint32_t value, uint8_t* data) {
  for (int i = 0; i < 4; ++i) data[i] = static_cast<uint8_t>(value >> (8 * i));
}

// What a raw deflate stream at the beginning of `data` unpacks to, as far as its checksums go.
struct Inflated {
  bool whole = false;
  size_t packed = 0;
  uint32_t size = 0;
  uint32_t crc = 0;
};

Inflated Inflate(uint8_t* data, size_t size) {
  Inflated result;
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return result;
  stream.next_in = data;
  stream.avail_in = static_cast<uInt>(size);
  uint8_t buffer[16384];
  int status = Z_OK;
  while (status == Z_OK && stream.total_out < (1 << 21)) {
    stream.next_out = buffer;
    stream.avail_out = sizeof(buffer);
    status = inflate(&stream, Z_NO_FLUSH);
    result.crc = static_cast<uint32_t>(
        crc32(result.crc, buffer, static_cast<uInt>(sizeof(buffer) - stream.avail_out)));
  }
  result.whole = status == Z_STREAM_END;
  result.packed = stream.total_in;
  result.size = static_cast<uint32_t>(stream.total_out);
  inflateEnd(&stream);
  return result;
}

}  // namespace

void RepairGzip(uint8_t* data, size_t size) {
  // A header without optional fields.
  constexpr size_t kHeader = 10, kTrailer = 8;
  for (size_t at = 0; at + kHeader + kTrailer <= size && data[at + 3] == 0;) {
    const Inflated member = Inflate(data + at + kHeader, size - at - kHeader);
    at += kHeader + member.packed;
    if (!member.whole || at + kTrailer > size) return;
    WriteLittleEndian(member.crc, data + at);
    WriteLittleEndian(member.size, data + at + 4);
    at += kTrailer;
  }
}

void RepairPng(uint8_t* data, size_t size) {
  // A chunk: length, type, data, CRC of type and data; numbers are big-endian.
  constexpr size_t kSignature = 8, kAround = 12;
  for (size_t at = kSignature; at + kAround <= size;) {
    uint32_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | data[at + i];
    if (length > size - at - kAround) return;
    const auto crc = static_cast<uint32_t>(crc32(0, data + at + 4, length + 4));
    uint8_t* const stored = data + at + 8 + length;
    for (int i = 0; i < 4; ++i) stored[i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
    at += kAround + length;
  }
}

void RepairTar(uint8_t* data, size_t size) {
  constexpr size_t kBlock = 512, kChecksum = 148, kMagic = 257;
  for (size_t at = 0; at + kBlock <= size; at += kBlock) {
    if (std::memcmp(data + at + kMagic, "ustar", 5) != 0) continue;
    // Six octal digits, a zero and a space, which count as spaces.
    std::memset(data + at + kChecksum, ' ', 8);
    uint32_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += data[at + i];
    for (size_t digit = 6; digit > 0; --digit, sum /= 8) {
      data[at + kChecksum + digit - 1] = static_cast<uint8_t>('0' + sum % 8);
    }
    data[at + kChecksum + 6] = 0;
  }
}

void RepairZip(uint8_t* data, size_t size) {
  constexpr size_t kCentral = 46, kLocal = 30;
  for (size_t at = 0; at + kCentral <= size; ++at) {
    if (std::memcmp(data + at, "PK\1\2", 4) != 0) continue;
    const size_t local = LittleEndian(data + at + 42, 4);
    if (local >= size || size - local < kLocal) continue;
    const size_t begin =
        local + kLocal + LittleEndian(data + local + 26, 2) + LittleEndian(data + local + 28, 2);
    if (begin > size) continue;
    const uint32_t method = LittleEndian(data + at + 10, 2);
    const size_t packed = LittleEndian(data + at + 20, 4);
    uint32_t crc = 0;
    if (method == 0 && packed <= size - begin) {
      crc = static_cast<uint32_t>(crc32(0, data + begin, static_cast<uInt>(packed)));
    } else if (method == 8) {
      crc = Inflate(data + begin, size - begin).crc;
    } else {
      continue;
    }
    WriteLittleEndian(crc, data + at + 16);
    WriteLittleEndian(crc, data + local + 14);
  }
}

}  // namespace convd
