#include "server/models/served_precision.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/dnn/precision.h"
#include "core/dnn/quantization.h"
#include "core/nn/graph.h"
#include "core/status/status_macros.h"

namespace convd {

v1::Precision ChoosePrecision(const v1::ModelCard& card, v1::Precision requested) {
  if (requested != v1::PRECISION_UNSPECIFIED) return requested;
  const v1::Precision own = card.request().serving_precision();
  return own != v1::PRECISION_UNSPECIFIED ? own : v1::PRECISION_F32;
}

absl::Status CheckServed(const v1::ModelCard& card, v1::Precision requested,
                         const PrecisionCheck& check) {
  const v1::Precision precision = ChoosePrecision(card, requested);
  const std::string model =
      absl::StrCat("model \"", card.model().name(), "\" version ", card.model().version());
  if (requested != v1::PRECISION_UNSPECIFIED) {
    CONVD_RETURN_IF_ERROR(check("precision", precision));
  } else if (const std::string_view name = PrecisionName(precision); name.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        model, " is served at precision ", static_cast<int>(precision),
        ", which this server doesn't know; a request may name another (precision f32)"));
  } else if (const absl::Status status = check("serving_precision", precision); !status.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        model, " is served at ", absl::string_view(name.data(), name.size()),
        ", which this CPU lacks: ", status.message(), "; a request may ask for precision f32"));
  }
  if (precision != v1::PRECISION_INT8) return absl::OkStatus();
  const absl::string_view asked =
      requested == v1::PRECISION_UNSPECIFIED ? "serving_precision: " : "precision: ";
  constexpr char kWanted[] = "; train it again, or ask for f32";
  if (card.quantization().samples() < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, model, " has no quantization, which int8 takes", kWanted));
  }
  // Now, rather than after all of the weights were read.
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(card.network()));
  if (const auto scales = InputScales(graph, card.quantization()); !scales.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, model, ": ", scales.status().message(), kWanted));
  }
  return absl::OkStatus();
}

}  // namespace convd
