#include "client/convctl/precision_flag.h"

#include <string>
#include <utility>
#include <vector>

#include "client/convctl/choice_flag.h"
#include "client/convctl/precision_text.h"

namespace convd {

CLI::Option* AddPrecisionFlag(CLI::App& app, const std::string& name,
                              const std::vector<v1::Precision>& choices,
                              const std::string& description, v1::Precision& precision) {
  std::vector<std::pair<std::string, v1::Precision>> words;
  for (const v1::Precision choice : choices) words.emplace_back(PrecisionText(choice), choice);
  return AddChoiceFlag(app, name, std::move(words), description, precision)->type_name("P");
}

CLI::Option* AddPrecisionFlag(CLI::App& app, v1::Precision& precision) {
  return AddPrecisionFlag(app, "--precision",
                          {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8},
                          "Instead of what it is served at", precision);
}

}  // namespace convd
