#include "core/data/csv.h"
#include "core/data/label_list.h"
#include "tests/core/data/memory_tree.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

// By themselves, and as the list of the images f/0.png to f/9.png.
void ReadList(std::string_view bytes) {
  size_t columns = 0;
  const absl::Status status = ReadCsv(bytes, kFuzzedFile, [&](const CsvRecord& record) {
    if (columns == 0) columns = record.fields.size();
    Promise(record.line > 0 && !record.fields.empty(), "a record has a line and fields");
    Promise(record.fields.size() == columns, "records have as many fields");
    return absl::OkStatus();
  });
  if (!status.ok()) PromiseRefusal(status);

  std::map<std::string, std::string> files = {{"f/labels.csv", std::string(bytes)}};
  for (char c = '0'; c <= '9'; ++c) files[std::string("f/") + c + ".png"];
  MemoryTree tree(std::move(files));
  const auto layout = LayOutByLists(tree, kFuzzedFile, {}, FuzzedLimits());
  if (!layout.ok()) return PromiseRefusal(layout.status());
  std::vector<bool> taken(tree.paths().size());
  for (const ImageLayout::Split& split : layout->splits) {
    Promise(!split.samples.empty(), "splits have samples");
    for (const ImageLayout::Sample& sample : split.samples) {
      Promise(sample.file < taken.size() && !taken[sample.file], "a file is a sample once");
      taken[sample.file] = true;
      Promise(sample.label >= 0 && sample.label < static_cast<int32_t>(layout->classes.size()),
              "labels are of a class");
    }
  }
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadList(convd::Bytes(data, size));
  return 0;
}
