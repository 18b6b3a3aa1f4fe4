#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/local_file.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/prediction_text.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kLargestImageFile = int64_t{64} << 20;

struct PredictFlags {
  std::string model;
  std::vector<std::string> files;
  std::optional<int32_t> top_k;
};

absl::Status Predict(Session& session, const PredictFlags& flags) {
  v1::PredictRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  for (const std::string& file : flags.files) {
    CONVD_ASSIGN_OR_RETURN(*request.mutable_images()->mutable_encoded()->add_files(),
                           ReadLocalFile(file, kLargestImageFile));
  }
  request.set_top_k(flags.top_k.value_or(1));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::PredictResponse response, client->Predict(request));
  if (session.json()) return session.PrintJson(response);
  std::vector<PredictedImage> images;
  for (int i = 0; i < response.predictions_size(); ++i) {
    images.push_back({flags.files[i], "", response.predictions(i)});
  }
  session.Print(PredictionTable(images));
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<PredictFlags>();
  CLI::App* const predict = app.add_subcommand("predict", "Classify images");
  predict->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  predict->add_option("files", flags->files, "PNG or JPEG files")->type_name("FILE")->required();
  predict->add_option("--top-k", flags->top_k, "Classes to show for each image")->type_name("K");
  predict->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Predict(session, *flags); };
  });
}

}  // namespace convd
