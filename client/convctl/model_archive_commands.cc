#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "client/convctl/choice_flag.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/whole_number.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

struct ModelArchiveFlags {
  std::string model;
  std::string file;
  std::string name;
  std::string onnx;
  v1::OnnxEntry entry = v1::ONNX_ENTRY_UNSPECIFIED;
  int32_t opset = 0;
  bool force = false;
};

absl::Status CantWrite(const std::string& path) {
  return UsageError(absl::StrCat(path, ": ", std::strerror(errno)));
}

absl::Status Export(Session& session, const ModelArchiveFlags& flags) {
  CONVD_ASSIGN_OR_RETURN(v1::ModelVersion model, ParseModelSpec(flags.model));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  // The number that is meant now, for the file's name and for what is said.
  CONVD_ASSIGN_OR_RETURN(const v1::Model found, client->GetModel(model));
  model = found.card().model();
  const bool onnx = !flags.onnx.empty();
  const std::string path = onnx ? flags.onnx
                           : flags.file.empty()
                               ? absl::StrCat(model.name(), "-", model.version(), ".tar")
                               : flags.file;
  struct stat there;
  if (!flags.force && stat(path.c_str(), &there) == 0) {
    return WithHint(UsageError(absl::StrCat(path, ": is there already")),
                    "name another file, or write over it with --force");
  }
  // What was cut short must not look like an archive.
  const std::string part = path + ".part";
  File file(std::fopen(part.c_str(), "wbe"));
  if (file == nullptr) return CantWrite(part);
  int64_t bytes = 0;
  const auto write = [&](std::string_view data) {
    bytes += static_cast<int64_t>(data.size());
    return std::fwrite(data.data(), 1, data.size(), file.get()) == data.size() ? absl::OkStatus()
                                                                               : CantWrite(part);
  };
  v1::ExportOnnxRequest request;
  *request.mutable_model() = model;
  request.set_opset(flags.opset);
  request.set_entry(flags.entry);
  absl::Status status =
      onnx ? client->ExportOnnx(request, write) : client->ExportModel(model, write);
  if (std::fclose(file.release()) != 0) status.Update(CantWrite(part));
  if (status.ok() && std::rename(part.c_str(), path.c_str()) != 0) status = CantWrite(path);
  if (!status.ok()) {
    std::remove(part.c_str());
    return status;
  }
  if (session.json()) return session.PrintJson(found);
  session.Print(
      absl::StrCat("Exported ", ModelSpec(model), " to ", path, " (", Bytes(bytes), ").\n"));
  return absl::OkStatus();
}

absl::Status Import(Session& session, const ModelArchiveFlags& flags) {
  const File file(std::fopen(flags.file.c_str(), "rbe"));
  if (file == nullptr) return CantWrite(flags.file);
  v1::ImportHeader header;
  header.set_name(flags.name);
  // Of a long path the end says more.
  constexpr size_t kMaxSource = 200;
  header.set_source(flags.file.size() <= kMaxSource
                        ? flags.file
                        : flags.file.substr(flags.file.rfind('/') + 1).substr(0, kMaxSource));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  const absl::StatusOr<v1::Model> model =
      client->ImportModel(header, [&]() -> absl::StatusOr<std::string> {
        std::string data(kPiece, '\0');
        data.resize(std::fread(data.data(), 1, data.size(), file.get()));
        if (std::ferror(file.get()) != 0) return CantWrite(flags.file);
        return data;
      });
  CONVD_RETURN_IF_ERROR(model.status());
  if (session.json()) return session.PrintJson(*model);
  session.Print(absl::StrCat("Imported ", ModelSpec(model->card().imported().model()), " as ",
                             ModelSpec(model->card().model()), ".\n"));
  return absl::OkStatus();
}

}  // namespace

void AddModelArchiveCommands(CLI::App& models, Command& chosen) {
  const auto flags = std::make_shared<ModelArchiveFlags>();

  CLI::App* const archive = models.add_subcommand(
      "export", "Write a version's files to a tar archive, for another convd or any ONNX runtime");
  archive->add_option("model", flags->model, "Which one")
      ->required()
      ->type_name("NAME[@VERSION|@LABEL]");
  CLI::Option* const file =
      archive->add_option("file", flags->file, "Where to; NAME-VERSION.tar unless given")
          ->type_name("FILE");
  CLI::Option* const onnx =
      archive->add_option("--onnx", flags->onnx, "Write no archive but one ONNX file, there")
          ->type_name("FILE")
          ->excludes(file)
          ->check([](const std::string& path) {
            return path.empty() ? std::string("write a file's name") : std::string();
          });
  archive->add_option("--opset", flags->opset, "Of the ONNX file: 13 to 17; 13 unless given")
      ->type_name("N")
      ->check(WholeNumber<int32_t>(1))
      ->needs(onnx);
  AddChoiceFlag<v1::OnnxEntry>(*archive, "--entry",
                               {{"uint8-nhwc", v1::ONNX_ENTRY_UINT8_NHWC},
                                {"uint8-nchw", v1::ONNX_ENTRY_UINT8_NCHW},
                                {"float32-nhwc", v1::ONNX_ENTRY_FLOAT32_NHWC},
                                {"float32-nchw", v1::ONNX_ENTRY_FLOAT32_NCHW}},
                               "What the ONNX file takes, uint8-nhwc unless given", flags->entry)
      ->type_name("E")
      ->needs(onnx);
  archive->add_flag("--force", flags->force, "Write over a file that is there");
  archive->callback(
      [flags, &chosen] { chosen = [flags](Session& session) { return Export(session, *flags); }; });

  CLI::App* const import = models.add_subcommand(
      "import", "Publish a version that `export` wrote, as the next one of its name");
  import->add_option("file", flags->file, "The archive")->required()->type_name("FILE");
  import->add_option("--name", flags->name, "Another name for the model")->type_name("NAME");
  import->callback(
      [flags, &chosen] { chosen = [flags](Session& session) { return Import(session, *flags); }; });
}

}  // namespace convd
