#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/follow_job.h"
#include "client/convctl/precision_flag.h"
#include "client/convctl/terminal_text.h"
#include "client/convctl/train_request.h"
#include "client/convctl/whole_number.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::Status Train(Session& session, const TrainFlags& flags, bool follow) {
  CONVD_ASSIGN_OR_RETURN(const v1::TrainRequest request, BuildTrainRequest(flags));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Job job, client->Train(request));
  if (session.json()) {
    // The followed job is the first event of its watch.
    return follow ? FollowJob(session, job.id()) : session.PrintJson(job);
  }
  if (!job.summary().empty()) {
    session.Print(absl::StrCat(Printable(job.summary(), /*keep_lines=*/true), "\n"));
  }
  for (const std::string& warning : job.warnings()) {
    session.Print(absl::StrCat("warning: ", Printable(warning), "\n"));
  }
  if (follow) return FollowJob(session, job.id());
  session.Print(absl::StrCat("Job ", Printable(job.id()), " is accepted; `convctl watch ",
                             Printable(job.id()), "` follows it.\n"));
  return absl::OkStatus();
}

}  // namespace

void AddTrainCommand(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<TrainFlags>();
  const auto follow = std::make_shared<bool>(false);
  CLI::App* const train = app.add_subcommand("train", "Submit a training job");
  train->add_option("--model", flags->model, "Name to publish the trained version under")
      ->required()
      ->type_name("NAME");

  const std::string network = "Network (one of them)";
  train->add_option("--preset", flags->preset, "keras-mnist, classic-cifar10, lenet5")
      ->type_name("NAME")
      ->group(network);
  train->add_option("--network", flags->network_file, "A network of your own, as textproto")
      ->type_name("FILE")
      ->group(network);

  const std::string data = "Data";
  train->add_option("--dataset", flags->dataset, "What to train on")
      ->required()
      ->type_name("NAME")
      ->group(data);
  train->add_option("--split", flags->split, "Its split (default: train)")
      ->type_name("NAME")
      ->group(data);
  train
      ->add_option("--validation", flags->validation,
                   "Split to validate on (default: test, where there is one)")
      ->type_name("[DATASET/]SPLIT")
      ->group(data);
  train
      ->add_option("--validation-tail", flags->validation_tail,
                   "Validate on the last N samples of the file, and don't train on them")
      ->check(WholeNumber<int64_t>())
      ->type_name("N")
      ->group(data);
  train
      ->add_option("--validation-split", flags->validation_split,
                   "The same for a share of the samples, between 0 and 1")
      ->type_name("SHARE")
      ->group(data);
  train->add_flag("--no-validation", flags->no_validation, "Don't validate")->group(data);

  const std::string training = "Training (defaults are the server's)";
  train->add_option("--epochs", flags->epochs, "Passes over the data")
      ->check(WholeNumber<int64_t>())
      ->type_name("N")
      ->group(training);
  train->add_option("--batch-size", flags->batch_size, "Images an update")
      ->check(WholeNumber<int64_t>())
      ->type_name("N")
      ->group(training);
  train->add_option("--optimizer", flags->optimizer, "adam or sgd")
      ->type_name("NAME")
      ->group(training);
  train->add_option("--learning-rate", flags->learning_rate, "Step size")
      ->type_name("X")
      ->group(training);
  train->add_option("--momentum", flags->momentum, "For sgd")->type_name("X")->group(training);
  train->add_flag("--nesterov", flags->nesterov, "For sgd: Nesterov's momentum")->group(training);
  train
      ->add_option("--seed", flags->seed,
                   "Of the initial weights, the order, augmentation and dropout")
      ->check(WholeNumber<uint64_t>(0))
      ->type_name("N")
      ->group(training);
  train->add_flag("--no-shuffle", flags->no_shuffle, "Take the samples in the file's order")
      ->group(training);
  train
      ->add_flag("--horizontal-flip", flags->horizontal_flip,
                 "Mirror half of the samples left to right, other ones in each epoch")
      ->group(training);
  train
      ->add_option("--shift", flags->shift,
                   "Move each sample by up to N pixels up or down and left or right, anew in each "
                   "epoch")
      ->check(WholeNumber<int32_t>())
      ->type_name("N")
      ->group(training);
  train
      ->add_option("--micro-batch", flags->micro_batch,
                   "Images in a slice of the batch; changes the order of additions")
      ->check(WholeNumber<int64_t>())
      ->type_name("N")
      ->group(training);
  AddPrecisionFlag(*train, "--precision", {v1::PRECISION_F32, v1::PRECISION_BF16},
                   "What to train in", flags->precision)
      ->group(training);
  AddPrecisionFlag(*train, "--serving-precision",
                   {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8},
                   "What to validate, evaluate and predict in", flags->serving_precision)
      ->group(training);
  train
      ->add_option("--initial-model", flags->initial_model,
                   "Begin with this one's weights; it has the same network")
      ->type_name("NAME[@VERSION]")
      ->group(training);

  const std::string stopping = "Early stopping";
  train
      ->add_option("--patience", flags->patience,
                   "Stop after N epochs in a row that were not better; turns early stopping on")
      ->check(WholeNumber<int64_t>())
      ->type_name("N")
      ->group(stopping);
  train
      ->add_option("--monitor", flags->monitor,
                   "By val_loss, val_accuracy, loss or accuracy (default: val_loss, or loss "
                   "without validation)")
      ->type_name("NAME")
      ->group(stopping);
  train->add_option("--min-delta", flags->min_delta, "Better by less doesn't count")
      ->type_name("X")
      ->group(stopping);
  train
      ->add_flag("--restore-best", flags->restore_best,
                 "Publish the best epoch's weights, not the last one's")
      ->group(stopping);

  const std::string job = "Job";
  train
      ->add_option("--priority", flags->priority,
                   "-100 to 100; higher ones begin first (default: 0)")
      ->check(WholeNumber<int32_t>())
      ->type_name("N")
      ->group(job);
  train
      ->add_option("--max-runtime", flags->max_runtime,
                   "Fail once it has run for so long: 90s, 30m, 1h30m")
      ->type_name("TIME")
      ->group(job);
  train
      ->add_flag("--allow-different-bits", flags->allow_different_bits,
                 "Go on after a stop also where the CPU or oneDNN is another one then")
      ->group(job);
  train
      ->add_option("--request-id", flags->request_id,
                   "Submitting again with the same one gives the same job")
      ->type_name("ID")
      ->group(job);
  train->add_flag("-f,--follow", *follow, "Watch it until it has ended");
  train->callback([flags, follow, &chosen] {
    chosen = [flags, follow](Session& session) { return Train(session, *flags, *follow); };
  });
}

}  // namespace convd
