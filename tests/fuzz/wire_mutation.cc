#include "tests/fuzz/wire_mutation.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace convd {
namespace {

struct Field {
  std::string_view whole;    // tag, and length where there is one, too
  std::string_view tag;      // of a field with a length
  std::string_view payload;  // of a field with a length
};

std::optional<uint64_t> TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    value |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) {
      bytes.remove_prefix(i + 1);
      return value;
    }
  }
  return {};
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// Nothing where the bytes are no message.
std::vector<Field> Fields(std::string_view bytes) {
  std::vector<Field> fields;
  while (!bytes.empty()) {
    std::string_view rest = bytes;
    const std::optional<uint64_t> tag = TakeVarint(rest);
    if (!tag || *tag < 8) return {};
    Field field;
    field.tag = bytes.substr(0, bytes.size() - rest.size());
    uint64_t length = 0;
    switch (*tag % 8) {
      case 0:
        if (!TakeVarint(rest)) return {};
        break;
      case 1:
        length = 8;
        break;
      case 2: {
        const std::optional<uint64_t> given = TakeVarint(rest);
        if (!given) return {};
        length = *given;
        break;
      }
      case 5:
        length = 4;
        break;
      default:
        return {};
    }
    if (length > rest.size()) return {};
    if (*tag % 8 == 2) field.payload = rest.substr(0, length);
    if (*tag % 8 != 2) field.tag = {};
    rest.remove_prefix(length);
    field.whole = bytes.substr(0, bytes.size() - rest.size());
    fields.push_back(field);
    bytes = rest;
  }
  return fields;
}

std::string Mutated(std::string_view bytes, size_t room, std::minstd_rand& random) {
  const std::vector<Field> fields = Fields(bytes);
  // An outer message is changed as bytes at times, too: fields are then doubled, moved, cut.
  if (fields.empty() || random() % 6 == 0) {
    std::string plain(bytes);
    plain.resize(bytes.size() + room);
    plain.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(plain.data()), bytes.size(),
                                  std::max<size_t>(plain.size(), 1)));
    return plain;
  }
  const size_t chosen = random() % fields.size();
  const size_t other = random() % fields.size();
  const unsigned int how = random() % 8;
  std::string message;
  for (size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    if (i != chosen) {
      message += field.whole;
    } else if (how == 0) {
      message += fields[other].whole;  // instead of it
    } else if (how == 1 && fields[other].whole.size() <= room) {
      message += field.whole;
      message += fields[other].whole;
    } else if (how == 2) {
      // Left out.
    } else if (field.tag.empty()) {
      std::string number(field.whole);
      number.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(number.data()), number.size(),
                                     number.size()));
      message += number;
    } else {
      const std::string payload = Mutated(field.payload, room, random);
      message += field.tag;
      message += Varint(payload.size());
      message += payload;
    }
  }
  return message;
}

}  // namespace

size_t MutateWire(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand random(seed);
  // Lengths may take a few bytes more at each level.
  constexpr size_t kLengths = 64;
  const size_t room = max_size > size + kLengths ? max_size - size - kLengths : 0;
  const std::string mutated = Mutated({reinterpret_cast<const char*>(data), size}, room, random);
  if (mutated.size() > max_size || mutated.empty()) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, mutated.data(), mutated.size());
  return mutated.size();
}

}  // namespace convd
