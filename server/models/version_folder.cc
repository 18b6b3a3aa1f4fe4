#include "server/models/version_folder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "core/storage/sha256.h"
#include "server/models/manifest.h"
#include "server/record_text.h"

namespace convd {
namespace {

constexpr int64_t kMaxManifestBytes = 4096;
constexpr size_t kMaxEvaluations = 100;
constexpr int64_t kMaxEvaluationsBytes = int64_t{16} << 20;

std::string Join(const std::string& dir, absl::string_view name) {
  return absl::StrCat(dir, "/", name);
}

// Between two of them a reading can be stopped, within milliseconds.
constexpr int64_t kBlock = int64_t{4} << 20;

// The whole file, where it is what the MANIFEST says.
absl::StatusOr<std::string> ReadChecked(FileSystem& fs, const std::string& path,
                                        const ManifestEntry& entry, Stopped stopped) {
  const absl::StatusOr<std::unique_ptr<ReadableFile>> file = fs.Open(path);
  if (absl::IsNotFound(file.status())) {
    return absl::DataLossError(absl::StrCat(path, ": is missing, but the MANIFEST lists it"));
  }
  CONVD_RETURN_IF_ERROR(file.status());
  ManifestEntry got;
  got.size = (*file)->size();
  // Before anything is allocated.
  if (got.size != entry.size) return CheckFile(path, got, entry);
  std::string bytes(static_cast<size_t>(got.size), '\0');
  Sha256 digest;
  for (int64_t at = 0; at < got.size; at += kBlock) {
    if (stopped()) return absl::CancelledError(absl::StrCat(path, ": reading it was stopped"));
    const absl::Span<char> block = absl::MakeSpan(bytes).subspan(
        static_cast<size_t>(at), static_cast<size_t>(std::min(kBlock, got.size - at)));
    const absl::Status read = (*file)->ReadAt(at, block);
    if (absl::IsAborted(read)) return absl::DataLossError(read.message());
    CONVD_RETURN_IF_ERROR(read);
    digest.Update({block.data(), block.size()});
  }
  got.sha256 = digest.Hex();
  CONVD_RETURN_IF_ERROR(CheckFile(path, got, entry));
  return bytes;
}

absl::StatusOr<Manifest> ReadManifest(FileSystem& fs, const std::string& dir) {
  const std::string path = Join(dir, kManifestFile);
  absl::StatusOr<std::string> text = fs.Read(path, kMaxManifestBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::DataLossError(absl::StrCat(path, ": is missing"));
  }
  if (absl::IsResourceExhausted(text.status())) {
    return absl::DataLossError(absl::StrCat(path, ": is larger than a MANIFEST can be"));
  }
  CONVD_RETURN_IF_ERROR(text.status());
  absl::StatusOr<Manifest> manifest = Manifest::Parse(*text);
  if (!manifest.ok()) {
    return absl::DataLossError(absl::StrCat(dir, "/", manifest.status().message()));
  }
  return manifest;
}

int64_t SizeBytes(const Manifest& manifest) {
  return manifest.onnx.size + manifest.card.size + static_cast<int64_t>(manifest.Text().size());
}

struct CardAndGraph {
  v1::ModelCard card;
  Graph graph;
};

absl::StatusOr<CardAndGraph> ReadCard(FileSystem& fs, const std::string& dir,
                                      const ManifestEntry& entry, const v1::ModelVersion& version,
                                      Stopped stopped) {
  const std::string path = Join(dir, kCardFile);
  CONVD_ASSIGN_OR_RETURN(const std::string text, ReadChecked(fs, path, entry, stopped));
  v1::ModelCard card;
  CONVD_RETURN_IF_ERROR(ParseRecord(path, text, card));
  // A folder copied by hand to another name or number is not that version.
  if (card.model().name() != version.name() || card.model().version() != version.version()) {
    return absl::DataLossError(absl::StrCat(path, ": says it is version ", card.model().version(),
                                            " of \"", card.model().name(), "\"; the folder is ",
                                            version.name(), "/", version.version()));
  }
  absl::StatusOr<Graph> graph = Graph::Create(card.network());
  if (!graph.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": network: ", graph.status().message()));
  }
  if (card.labels_size() != graph->classes()) {
    return absl::DataLossError(absl::StrCat(path, ": has ", card.labels_size(),
                                            " labels; its network has ", graph->classes(),
                                            " classes"));
  }
  return CardAndGraph{std::move(card), *std::move(graph)};
}

}  // namespace

absl::Status WriteSynced(FileSystem& fs, const std::string& path, std::string_view data) {
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, fs.Create(path));
  CONVD_RETURN_IF_ERROR(file->Append(data));
  CONVD_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

absl::Status WriteVersionFolder(FileSystem& fs, const std::string& dir, std::string_view onnx,
                                const v1::ModelCard& card) {
  const std::string text = RecordText(card);
  // Refused now rather than at the first load.
  if (static_cast<int64_t>(onnx.size()) > kMaxOnnxBytes ||
      static_cast<int64_t>(text.size()) > kMaxCardBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(dir, ": the model file has ", onnx.size(), " bytes (at most ", kMaxOnnxBytes,
                     "), the card ", text.size(), " (at most ", kMaxCardBytes, ")"));
  }
  const Manifest manifest{DescribeFile(onnx), DescribeFile(text)};
  CONVD_RETURN_IF_ERROR(WriteSynced(fs, Join(dir, kOnnxFile), onnx));
  CONVD_RETURN_IF_ERROR(WriteSynced(fs, Join(dir, kCardFile), text));
  CONVD_RETURN_IF_ERROR(WriteSynced(fs, Join(dir, kManifestFile), manifest.Text()));
  return fs.SyncDirectory(dir);
}

std::optional<VersionStamp> StampVersion(FileSystem& fs, const std::string& dir, absl::Time now) {
  VersionStamp stamps;
  size_t next = 0;
  for (const char* file : {kManifestFile, kCardFile, kOnnxFile}) {
    std::optional<FileStamp>& stamp = stamps[next++];
    absl::StatusOr<FileStamp> found = fs.Stamp(Join(dir, file));
    if (absl::IsNotFound(found.status())) continue;
    if (!found.ok() || !found->ShowsTheNextChange(now)) return std::nullopt;
    stamp = *found;
  }
  return stamps;
}

absl::StatusOr<CheckedCard> ReadCheckedCard(FileSystem& fs, const std::string& dir,
                                            const v1::ModelVersion& version) {
  return OrWhatItThrows(dir, [&]() -> absl::StatusOr<CheckedCard> {
    CONVD_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(fs, dir));
    const std::string onnx = Join(dir, kOnnxFile);
    absl::StatusOr<int64_t> size = fs.Size(onnx);
    if (absl::IsNotFound(size.status())) {
      return absl::DataLossError(absl::StrCat(onnx, ": is missing, but the MANIFEST lists it"));
    }
    CONVD_RETURN_IF_ERROR(size.status());
    if (*size != manifest.onnx.size) {
      return absl::DataLossError(
          absl::StrCat(onnx, ": has ", *size, " bytes; the MANIFEST says ", manifest.onnx.size));
    }
    CONVD_ASSIGN_OR_RETURN(CardAndGraph card,
                           ReadCard(fs, dir, manifest.card, version, [] { return false; }));
    return CheckedCard{std::move(card.card), SizeBytes(manifest)};
  });
}

absl::StatusOr<CheckedWeights> ReadCheckedWeights(FileSystem& fs, const std::string& dir,
                                                  const v1::ModelVersion& version,
                                                  Stopped stopped) {
  return OrWhatItThrows(dir, [&]() -> absl::StatusOr<CheckedWeights> {
    CONVD_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(fs, dir));
    CONVD_ASSIGN_OR_RETURN(CardAndGraph card, ReadCard(fs, dir, manifest.card, version, stopped));
    const std::string path = Join(dir, kOnnxFile);
    CONVD_ASSIGN_OR_RETURN(const std::string onnx, ReadChecked(fs, path, manifest.onnx, stopped));
    absl::StatusOr<std::vector<float>> parameters = ReadOnnxParameters(onnx, card.graph);
    if (!parameters.ok()) {
      return absl::DataLossError(absl::StrCat(path, ": ", parameters.status().message()));
    }
    return CheckedWeights{std::move(card.card), std::move(card.graph), *std::move(parameters),
                          SizeBytes(manifest), manifest.onnx.sha256};
  });
}

absl::Status MoveVersionIntoPlace(FileSystem& fs, const std::string& tmp,
                                  const std::string& models_dir, const v1::ModelVersion& id) {
  const std::string dir = Join(models_dir, id.name());
  const std::string path = absl::StrCat(dir, "/", id.version());
  const bool made_dir = !fs.Exists(dir);
  bool moved = false;
  absl::Status status = [&]() -> absl::Status {
    CONVD_RETURN_IF_ERROR(fs.CreateDirectories(dir));
    CONVD_ASSIGN_OR_RETURN(const std::string canonical, fs.Canonical(dir));
    if (canonical != dir) {
      return absl::FailedPreconditionError(
          absl::StrCat(dir, ": leads to ", canonical, "; want a folder of its own"));
    }
    CONVD_RETURN_IF_ERROR(fs.SyncDirectory(models_dir));
    CONVD_RETURN_IF_ERROR(fs.Rename(tmp, path));
    moved = true;
    return fs.SyncDirectory(dir);
  }();
  if (status.ok()) return status;
  if (moved) {
    // It may not survive a crash, so it was not published: take it back. Until that is certain a
    // crash may undo it, and what is under either name has to be whole.
    absl::Status back = fs.Rename(path, tmp);
    if (back.ok()) {
      back = fs.SyncDirectory(dir);
      if (!back.ok()) fs.Rename(tmp, tmp + ".kept").IgnoreError();
    }
    if (!back.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat(status.message(), "; ", path,
                                       " is whole and may be listed after a restart, "
                                       "since it is not certain to be moved away: ",
                                       back.message()));
    }
  }
  if (made_dir) {
    const absl::StatusOr<std::vector<std::string>> entries = fs.List(dir);
    if (entries.ok() && entries->empty()) fs.RemoveAll(dir).IgnoreError();
  }
  return status;
}

std::string EvaluationsText(std::vector<v1::Evaluation>& evaluations) {
  // Each as text of its own: the file is these one after the other, and the oldest go first.
  std::vector<std::string> texts;
  int64_t bytes = 0;
  size_t first = evaluations.size();
  while (first > 0 && texts.size() < kMaxEvaluations) {
    v1::Model one;
    *one.add_evaluations() = evaluations[first - 1];
    std::string text = RecordText(one);
    bytes += static_cast<int64_t>(text.size());
    if (bytes > kMaxEvaluationsBytes) break;
    texts.push_back(std::move(text));
    --first;
  }
  evaluations.erase(evaluations.begin(), evaluations.begin() + static_cast<int64_t>(first));
  std::string all;
  for (size_t i = texts.size(); i-- > 0;) all += texts[i];
  return all;
}

absl::StatusOr<std::vector<v1::Evaluation>> ReadEvaluations(FileSystem& fs,
                                                            const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(const std::string text, fs.Read(path, kMaxEvaluationsBytes));
  v1::Model model;
  CONVD_RETURN_IF_ERROR(ParseRecord(path, text, model));
  return std::vector<v1::Evaluation>(std::make_move_iterator(model.mutable_evaluations()->begin()),
                                     std::make_move_iterator(model.mutable_evaluations()->end()));
}

}  // namespace convd
