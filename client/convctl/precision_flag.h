#ifndef CONVD_CLIENT_CONVCTL_PRECISION_FLAG_H_
#define CONVD_CLIENT_CONVCTL_PRECISION_FLAG_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "convd/v1/model.pb.h"

namespace convd {

// A flag that takes one of `choices` by name ("bf16") and sets `precision`, which outlives the
// parsing. Another word is refused with the choices.
CLI::Option* AddPrecisionFlag(CLI::App& app, const std::string& name,
                              const std::vector<v1::Precision>& choices,
                              const std::string& description, v1::Precision& precision);

// The same for a command that computes with a model: --precision, what the version is served at
// where it isn't given.
CLI::Option* AddPrecisionFlag(CLI::App& app, v1::Precision& precision);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_PRECISION_FLAG_H_
