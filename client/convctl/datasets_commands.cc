#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/convctl/commands.h"
#include "client/convctl/dataset_text.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/follow_job.h"
#include "client/convctl/image_size_flag.h"
#include "client/convctl/interrupt.h"
#include "client/convctl/local_file.h"
#include "client/convctl/number_text.h"
#include "client/convctl/progress_bar.h"
#include "client/convctl/split_files.h"
#include "client/convctl/table.h"
#include "client/convctl/terminal.h"
#include "client/dataset_upload.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct NewDatasetFlags {
  std::string name;
  std::string server_path;
  std::vector<std::string> local_paths;
  std::vector<std::string> images;
  std::vector<std::string> labels;
  std::vector<std::string> class_names;
  v1::ImageSize image_size;
};

std::string Shape(const v1::Dataset& dataset) {
  return absl::StrCat(dataset.height(), " x ", dataset.width(), " x ", dataset.channels(),
                      dataset.element_type() == v1::ELEMENT_TYPE_FLOAT32 ? " f32" : " uint8");
}

std::string Splits(const v1::Dataset& dataset) {
  return absl::StrJoin(dataset.splits(), ", ", [](std::string* out, const v1::Split& split) {
    absl::StrAppend(out, split.name(), " ", Thousands(split.samples()));
  });
}

absl::Status ShowDataset(Session& session, const v1::Dataset& dataset) {
  if (session.json()) return session.PrintJson(dataset);
  FieldList fields;
  fields.Add("Name", dataset.name());
  fields.Add("Images", Shape(dataset));
  fields.Add("Splits", Splits(dataset));
  fields.Add("Mean", ChannelValues(dataset.pixels().mean()));
  fields.Add("Deviation", ChannelValues(dataset.pixels().deviation()));
  fields.Add("Border mean", ChannelValues(dataset.pixels().border_mean()));
  fields.Add("Size", Bytes(dataset.size_bytes()));
  fields.Add("Created", LocalTime(dataset.created()));
  fields.Add("SHA-256", dataset.sha256());
  session.Print(fields.Render());

  std::vector<Column> columns = {{"INDEX", Align::kRight}, {"CLASS"}};
  for (const v1::Split& split : dataset.splits()) columns.push_back({split.name(), Align::kRight});
  Table classes(columns);
  for (int i = 0; i < dataset.labels_size(); ++i) {
    std::vector<std::string> row = {absl::StrCat(i), dataset.labels(i)};
    for (const v1::Split& split : dataset.splits()) {
      row.push_back(i < split.class_counts_size() ? Thousands(split.class_counts(i)) : "-");
    }
    classes.AddRow(std::move(row));
  }
  session.Print("\n" + classes.Render());
  return absl::OkStatus();
}

absl::Status Register(Session& session, const NewDatasetFlags& flags) {
  v1::RegisterDatasetRequest request;
  request.set_name(flags.name);
  request.set_path(flags.server_path);
  CONVD_ASSIGN_OR_RETURN(const auto files, BuildSplitFiles(flags.images, flags.labels));
  request.mutable_files()->Add(files.begin(), files.end());
  request.mutable_labels()->Add(flags.class_names.begin(), flags.class_names.end());
  if (flags.image_size.height() > 0) *request.mutable_image_size() = flags.image_size;
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Dataset dataset, client->RegisterDataset(request));
  return ShowDataset(session, dataset);
}

absl::Status Upload(Session& session, const NewDatasetFlags& flags) {
  v1::UploadHeader header;
  header.set_name(flags.name);
  CONVD_ASSIGN_OR_RETURN(const auto splits, BuildSplitFiles(flags.images, flags.labels));
  CONVD_ASSIGN_OR_RETURN(const std::vector<LocalFile> files, FilesToUpload(flags.local_paths));
  for (const v1::SplitFiles& split : splits) {
    for (const auto& named : {split.images(), split.labels()}) {
      for (const std::string& name : named) {
        if (std::none_of(files.begin(), files.end(),
                         [&](const LocalFile& file) { return file.name == name; })) {
          return UsageError(absl::StrCat(name, " is not among the files to upload"));
        }
      }
    }
  }
  header.mutable_files()->Add(splits.begin(), splits.end());
  header.mutable_labels()->Add(flags.class_names.begin(), flags.class_names.end());
  if (flags.image_size.height() > 0) *header.mutable_image_size() = flags.image_size;
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());

  CONVD_ASSIGN_OR_RETURN(*header.mutable_upload_id(), UploadIdFor(header, files));

  Cancellation cancellation;
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<InterruptScope> interrupt,
                         InterruptScope::Begin([&] { cancellation.Cancel(); }));
  const bool show = session.terminal().interactive && !session.json();
  std::string shown;
  const auto clear = [&] {
    if (!std::exchange(shown, "").empty()) session.Print("\r\x1b[K");
  };
  bool kept = false;
  UploadEvents events;
  events.on_progress = [&](int64_t sent, int64_t total) {
    kept = true;
    if (!show) return;
    std::string line =
        UploadLine(flags.name, sent, total, session.width() - 1, session.terminal().utf8);
    if (line == shown) return;
    shown = std::move(line);
    session.Print(absl::StrCat("\r", shown, "\x1b[K"));
    session.Flush();
  };
  events.on_resumed = [&](int64_t there, int64_t total) {
    clear();
    session.PrintNote(absl::StrCat("resuming: ", Bytes(there), " of ", Bytes(total), " are there"));
  };
  events.on_lost = [&] {
    clear();
    session.PrintNote(LostServerNote());
  };
  const absl::StatusOr<v1::Dataset> dataset =
      client->UploadDataset(header, files, events, &cancellation);
  clear();
  constexpr char kGoOn[] = "the same command goes on from there, within 24 hours";
  if (interrupt->interrupted() && absl::IsCancelled(dataset.status())) {
    return InterruptedError(
        kept ? absl::StrCat("Stopped uploading. What was sent stays at the server; ", kGoOn, ".")
             : "Stopped before anything was sent.");
  }
  if (kept &&
      (absl::IsUnavailable(dataset.status()) || absl::IsDeadlineExceeded(dataset.status()))) {
    return WithHint(dataset.status(), absl::StrCat("what was sent stays at the server; ", kGoOn));
  }
  CONVD_RETURN_IF_ERROR(dataset.status());
  return ShowDataset(session, *dataset);
}

absl::Status List(Session& session) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::Dataset> datasets, client->ListDatasets());
  if (session.json()) {
    v1::ListDatasetsResponse all;
    all.mutable_datasets()->Add(datasets.begin(), datasets.end());
    return session.PrintJson(all);
  }
  if (datasets.empty()) {
    session.Print("No datasets yet; `convctl datasets register` or `upload` adds one.\n");
    return absl::OkStatus();
  }
  Table table({{"NAME"},
               {"IMAGES"},
               {"CLASSES", Align::kRight},
               {"SPLITS"},
               {"SIZE", Align::kRight},
               {"CREATED"}});
  for (const v1::Dataset& dataset : datasets) {
    table.AddRow({dataset.name(), Shape(dataset), Thousands(dataset.labels_size()), Splits(dataset),
                  Bytes(dataset.size_bytes()), LocalTime(dataset.created())});
  }
  session.Print(table.Render());
  return absl::OkStatus();
}

// Samples of the first split, evenly spaced: where they are sorted by class, of different ones.
std::vector<v1::GetSamplesResponse> SomeSamples(Client& client, const v1::Dataset& dataset) {
  constexpr int64_t kDrawn = 6;
  std::vector<v1::GetSamplesResponse> answers;
  if (dataset.splits().empty()) return answers;
  v1::GetSamplesRequest request;
  request.set_name(dataset.name());
  request.set_split(dataset.splits(0).name());
  request.set_count(1);
  const int64_t samples = dataset.splits(0).samples();
  const int64_t drawn = std::min(kDrawn, samples);
  for (int64_t i = 0; i < drawn; ++i) {
    request.set_offset(samples / drawn * i);
    // A server that is older has none to show, and one that is too large isn't drawn.
    absl::StatusOr<v1::GetSamplesResponse> answer = client.GetSamples(request);
    if (!answer.ok()) break;
    answers.push_back(*std::move(answer));
  }
  return answers;
}

absl::Status Show(Session& session, const std::string& name) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Dataset dataset, client->GetDataset(name));
  CONVD_RETURN_IF_ERROR(ShowDataset(session, dataset));
  if (session.json()) return absl::OkStatus();
  const std::string samples =
      DrawSamples(SomeSamples(*client, dataset), dataset, session.terminal(), session.width());
  if (!samples.empty()) session.Print(absl::StrCat("\n", samples));
  return absl::OkStatus();
}

absl::Status Delete(Session& session, const std::string& name) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_RETURN_IF_ERROR(client->DeleteDataset(name));
  if (session.json()) return session.PrintJson(v1::DeleteDatasetResponse());
  session.Print(absl::StrCat("Deleted dataset ", name, ".\n"));
  return absl::OkStatus();
}

absl::Status ListUploads(Session& session) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::Upload> uploads, client->ListUploads());
  if (session.json()) {
    v1::ListUploadsResponse all;
    all.mutable_uploads()->Add(uploads.begin(), uploads.end());
    return session.PrintJson(all);
  }
  session.Print(uploads.empty() ? "No upload waits to be gone on with.\n" : UploadsTable(uploads));
  return absl::OkStatus();
}

absl::Status DeleteUpload(Session& session, const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_RETURN_IF_ERROR(client->DeleteUpload(id));
  if (session.json()) return session.PrintJson(v1::DeleteUploadResponse());
  session.Print(absl::StrCat("Deleted what was sent of upload ", id, ".\n"));
  return absl::OkStatus();
}

void AddFileFlags(CLI::App& command, NewDatasetFlags& flags, const std::string& where) {
  command
      .add_option("--images", flags.images,
                  "Which files hold a split's images: FILE or SPLIT=FILE (train where no split "
                  "is named), repeatable; " +
                      where)
      ->type_name("[SPLIT=]FILE");
  command.add_option("--labels", flags.labels, "The same for IDX labels")
      ->type_name("[SPLIT=]FILE");
  command
      .add_option("--class-names", flags.class_names,
                  "Names of the classes, by index; of image files, those there may be, in order")
      ->delimiter(',')
      ->type_name("A,B,...");
  AddImageSizeFlag(command, flags.image_size);
}

}  // namespace

void AddDatasetsCommands(CLI::App& app, Command& chosen) {
  CLI::App* const datasets = app.add_subcommand("datasets", "Add, list, show and delete datasets");
  datasets->require_subcommand(1);
  const auto flags = std::make_shared<NewDatasetFlags>();

  CLI::App* const add = datasets->add_subcommand(
      "register", "Add a dataset whose files lie in one of the server's --data-dir folders");
  add->add_option("name", flags->name, "What to call it")->required()->type_name("NAME");
  add->add_option("path", flags->server_path,
                  "A folder or file on the server: absolute, or relative to a --data-dir")
      ->required()
      ->type_name("PATH");
  AddFileFlags(*add, *flags, "relative to PATH");
  add->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Register(session, *flags); };
  });

  CLI::App* const upload =
      datasets->add_subcommand("upload", "Send a dataset's files from this machine");
  upload->add_option("name", flags->name, "What to call it")->required()->type_name("NAME");
  upload->add_option("files", flags->local_paths, "Files, or a folder whose files are sent")
      ->required()
      ->type_name("FILE|DIR");
  AddFileFlags(*upload, *flags, "plain names");
  upload->callback(
      [flags, &chosen] { chosen = [flags](Session& session) { return Upload(session, *flags); }; });

  CLI::App* const uploads = datasets->add_subcommand(
      "uploads", "List the uploads that were broken off and can be gone on with");
  const auto unwanted = std::make_shared<std::string>();
  uploads->add_option("--delete", *unwanted, "Delete what was sent of this one")
      ->type_name("UPLOAD");
  uploads->callback([unwanted, &chosen] {
    chosen = [unwanted](Session& session) {
      return unwanted->empty() ? ListUploads(session) : DeleteUpload(session, *unwanted);
    };
  });

  CLI::App* const list = datasets->add_subcommand("list", "List them");
  list->callback([&chosen] { chosen = List; });

  CLI::App* const show =
      datasets->add_subcommand("show", "Show one with its classes, and draw a few of its images");
  show->add_option("name", flags->name, "Which one")->required()->type_name("NAME");
  show->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Show(session, flags->name); };
  });

  CLI::App* const remove = datasets->add_subcommand("delete", "Delete one");
  remove->add_option("name", flags->name, "Which one")->required()->type_name("NAME");
  remove->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Delete(session, flags->name); };
  });
}

}  // namespace convd
