#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/job_text.h"
#include "client/convctl/local_images.h"
#include "client/convctl/metrics_text.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/number_text.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/precision_text.h"
#include "client/convctl/terminal_text.h"
#include "client/convctl/whole_number.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct EvaluateFlags {
  std::string model;
  std::string dataset;
  std::string split;
  int64_t tail = 0;
  std::string images_file;
  std::string labels_file;
  v1::Precision precision = v1::PRECISION_UNSPECIFIED;
  bool confusion = false;
  bool probabilities = false;
};

absl::Status CheckFlags(const EvaluateFlags& flags, bool json) {
  if (flags.dataset.empty() == flags.images_file.empty()) {
    return UsageError("name the server's --dataset, or --images FILE to send");
  }
  if (!flags.split.empty() && flags.dataset.empty()) {
    return UsageError("--split goes with --dataset");
  }
  if (flags.tail > 0 && flags.dataset.empty()) return UsageError("--tail goes with --dataset");
  if (!flags.labels_file.empty() && flags.images_file.empty()) {
    return UsageError("--labels goes with --images");
  }
  if (flags.probabilities && !json) return UsageError("--probabilities goes with --json");
  return absl::OkStatus();
}

absl::Status ReadImages(const EvaluateFlags& flags, v1::LabelledImages& sent) {
  CONVD_ASSIGN_OR_RETURN(const ImageSet images,
                         ReadLocalImages(flags.images_file, flags.labels_file));
  if (images.labels.empty()) {
    return UsageError(absl::StrCat("--images ", flags.images_file,
                                   ": an IDX file holds no labels; name theirs with --labels"));
  }
  *sent.mutable_images() = RawImagesOf(images);
  sent.mutable_labels()->Add(images.labels.begin(), images.labels.end());
  return absl::OkStatus();
}

absl::Status Evaluate(Session& session, const EvaluateFlags& flags) {
  CONVD_RETURN_IF_ERROR(CheckFlags(flags, session.json()));
  v1::EvaluateRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(flags.model));
  if (flags.images_file.empty()) {
    request.mutable_dataset()->set_name(flags.dataset);
    request.mutable_dataset()->set_split(flags.split);
    request.mutable_dataset()->set_tail(flags.tail);
  } else {
    CONVD_RETURN_IF_ERROR(ReadImages(flags, *request.mutable_images()));
  }
  request.set_probabilities(flags.probabilities);
  request.set_precision(flags.precision);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::EvaluateResponse response, client->Evaluate(request));
  if (session.json()) return session.PrintJson(response);
  const v1::Evaluation& evaluation = response.evaluation();
  const std::string data =
      flags.images_file.empty() ? DatasetText(evaluation.dataset()) : flags.images_file;
  session.Print(absl::StrCat(Printable(ModelSpec(evaluation.model())), " on ", Printable(data),
                             " at ", PrecisionText(evaluation.precision()), ", ",
                             Seconds(evaluation.seconds()), "\n\n",
                             MetricsText(evaluation.metrics())));
  if (flags.confusion) {
    session.Print(absl::StrCat("\n", ConfusionText(evaluation.metrics())));
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* const evaluate =
      app.add_subcommand("evaluate",
                         "Measure a model on a dataset, or on the images of a local "
                         "file; the figures are kept with it");
  evaluate->add_option("model", flags->model, "Which one; the newest version unless given")
      ->required()
      ->type_name("NAME[@VERSION]");
  evaluate->add_option("--dataset", flags->dataset, "What to measure it on")->type_name("NAME");
  evaluate->add_option("--split", flags->split, "Its split (default: test)")->type_name("NAME");
  evaluate->add_option("--tail", flags->tail, "Only the last N samples of it")
      ->check(WholeNumber<int64_t>())
      ->type_name("N");
  evaluate
      ->add_option("--images,--idx", flags->images_file,
                   "Send this local IDX, CIFAR or npz file's images instead")
      ->type_name("FILE");
  evaluate->add_option("--labels", flags->labels_file, "Their IDX labels; the others hold theirs")
      ->type_name("FILE");
  AddPrecisionFlag(*evaluate, flags->precision);
  evaluate->add_flag("--confusion", flags->confusion, "Show the confusion matrix too");
  evaluate->add_flag("--probabilities", flags->probabilities,
                     "With --json: every sample's probabilities, samples x classes");
  evaluate->callback([flags, &chosen] {
    chosen = [flags](Session& session) { return Evaluate(session, *flags); };
  });
}

}  // namespace convd
