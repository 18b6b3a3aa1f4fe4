#include "tests/fuzz/npz_mutation.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "core/data/zip_archive.h"
#include "tests/fuzz/checksums.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace convd {
namespace {

std::string LittleEndian(size_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

// An archive of stored members.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string archive, directory;
  for (const auto& [name, bytes] : members) {
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
    // Version, flags, method, time, date; then what both headers have after those.
    const std::string both = LittleEndian(20, 2) + std::string(8, '\0') + LittleEndian(crc, 4) +
                             LittleEndian(bytes.size(), 4) + LittleEndian(bytes.size(), 4) +
                             LittleEndian(name.size(), 2) + LittleEndian(0, 2);
    directory += "PK\1\2" + LittleEndian(20, 2) + both + std::string(10, '\0') +
                 LittleEndian(archive.size(), 4) + name;
    archive += "PK\3\4" + both + name + bytes;
  }
  return archive + directory + std::string("PK\5\6\0\0\0\0", 8) + LittleEndian(members.size(), 2) +
         LittleEndian(members.size(), 2) + LittleEndian(directory.size(), 4) +
         LittleEndian(archive.size(), 4) + LittleEndian(0, 2);
}

}  // namespace

void FitNpy(std::string& file) {
  constexpr size_t kMost = 1 << 14;
  const size_t end = file.find('\n');
  const size_t type = file.find("'descr': '");
  const size_t shape = file.find("'shape': (");
  if (end == std::string::npos || std::max(type, shape) >= end) return;
  uint64_t bytes = std::strtoull(file.c_str() + type + 12, nullptr, 10);
  for (const char* at = file.c_str() + shape + 10; *at != ')' && *at != '\0' && bytes <= kMost;) {
    if (std::isdigit(static_cast<unsigned char>(*at))) {
      char* next;
      bytes *= std::min<uint64_t>(std::strtoull(at, &next, 10), kMost + 1);
      at = next;
    } else {
      ++at;
    }
  }
  if (bytes <= kMost) file.resize(end + 1 + bytes);
}

size_t MutateNpz(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand random(seed);
  std::vector<std::pair<std::string, std::string>> members;
  if (random() % 4 != 0) {
    auto archive = ZipArchive::Open({reinterpret_cast<const char*>(data), size}, "f");
    if (archive.ok()) {
      for (size_t i = 0; i < std::min<size_t>(archive->members().size(), 10); ++i) {
        const auto bytes = archive->Read(i, 1 << 16);
        if (!bytes.ok()) continue;
        members.emplace_back(archive->members()[i],
                             std::string(bytes->data(), static_cast<size_t>(bytes->size())));
      }
    }
  }
  if (!members.empty()) {
    auto& [name, bytes] = members[random() % members.size()];
    std::string& part = random() % 16 == 0 ? name : bytes;
    const size_t before = part.size();
    // Mostly the header, which is short beside the elements.
    const size_t all = random() % 4 == 0 ? before : std::min<size_t>(before, 128);
    std::string changed = part.substr(0, all);
    changed.resize(all + 64);
    changed.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(changed.data()), all, all + 64));
    part = changed + part.substr(all);
    if (&part == &bytes && random() % 8 != 0) FitNpy(bytes);
    const std::string zip = Zip(members);
    if (zip.size() <= max_size) {
      std::memcpy(data, zip.data(), zip.size());
      return zip.size();
    }
  }
  const size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 != 0) RepairZip(data, mutated);
  return mutated;
}

}  // namespace convd
