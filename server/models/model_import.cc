#include "server/models/model_import.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/models/version_archive.h"
#include "server/models/version_folder.h"

namespace convd {
namespace {

constexpr size_t kMaxSourceBytes = 200;

}  // namespace

absl::Status CheckImportHeader(const v1::ImportHeader& header) {
  if (!header.name().empty()) CONVD_RETURN_IF_ERROR(CheckName("name", header.name()));
  if (header.source().size() <= kMaxSourceBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("source: has ", header.source().size(),
                                                 " bytes; want at most ", kMaxSourceBytes));
}

ModelImport::ModelImport(FileSystem& fs, ModelRepository& models, std::string tmp,
                         std::function<absl::Status(int64_t)> take_room)
    : fs_(fs), models_(models), tmp_(std::move(tmp)), take_room_(std::move(take_room)) {}

ModelImport::~ModelImport() {
  file_ = nullptr;
  fs_.RemoveAll(tmp_).IgnoreError();  // what stays is removed at the next start
}

absl::Status ModelImport::Write(std::string_view data) {
  if (status_.ok()) status_ = TryWrite(data);
  return status_;
}

absl::Status ModelImport::TryWrite(std::string_view data) {
  if (bytes_ + static_cast<int64_t>(data.size()) > kMaxArchiveBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("data: more than ", kMaxArchiveBytes, " bytes; no version has as many"));
  }
  // For the archive; Commit asks for its files' and the version's.
  CONVD_RETURN_IF_ERROR(take_room_(static_cast<int64_t>(data.size())));
  if (file_ == nullptr) {
    CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(tmp_ + "/files"));
    CONVD_ASSIGN_OR_RETURN(file_, fs_.Create(tmp_ + "/archive"));
  }
  bytes_ += static_cast<int64_t>(data.size());
  return file_->Append(data);
}

absl::StatusOr<v1::ModelVersion> ModelImport::Commit(const v1::ImportHeader& header) {
  CONVD_RETURN_IF_ERROR(CheckImportHeader(header));
  CONVD_RETURN_IF_ERROR(status_);
  if (file_ == nullptr) return absl::InvalidArgumentError("data: none came; want a tar archive");
  CONVD_RETURN_IF_ERROR(take_room_(2 * bytes_));
  CONVD_RETURN_IF_ERROR(file_->Close());
  file_ = nullptr;
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> archive, fs_.Map(tmp_ + "/archive"));
  const std::string files = tmp_ + "/files";
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion original,
                         UnpackVersionArchive(fs_, archive->data(), "data", files));
  archive = nullptr;
  absl::StatusOr<CheckedWeights> checked = ReadCheckedWeights(fs_, files, original);
  if (!checked.ok()) {
    // Where the files were unpacked tells the caller nothing.
    return absl::Status(checked.status().code(),
                        absl::StrCat("data: ", absl::StrReplaceAll(checked.status().message(),
                                                                   {{files + "/", ""}})));
  }
  v1::ModelCard& card = checked->card;
  v1::Imported& imported = *card.mutable_imported();
  imported.Clear();
  *imported.mutable_model() = original;
  *imported.mutable_created() = card.created();
  imported.set_onnx_sha256(checked->onnx_sha256);
  imported.set_source(header.source());
  card.mutable_model()->set_name(header.name().empty() ? original.name() : header.name());
  return models_.Publish(checked->graph, checked->parameters, std::move(card));
}

}  // namespace convd
