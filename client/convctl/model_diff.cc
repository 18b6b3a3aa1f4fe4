#include "client/convctl/model_diff.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/table.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Path and value of each field that is set, in the message's order.
using Fields = std::vector<std::pair<std::string, std::string>>;

void Flatten(const Message& message, const std::string& path, Fields& fields) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> set;
  reflection.ListFields(message, &set);
  for (const FieldDescriptor* const field : set) {
    const std::string name = absl::StrCat(path, path.empty() ? "" : ".", field->name());
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    std::string text;
    if (!field->is_repeated()) {
      if (is_message) {
        Flatten(reflection.GetMessage(message, field), name, fields);
        continue;
      }
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, -1, &text);
      fields.emplace_back(name, text);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      if (is_message) {
        Flatten(reflection.GetRepeatedMessage(message, field, i), absl::StrCat(name, "[", i, "]"),
                fields);
        continue;
      }
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, i, &text);
      fields.emplace_back(absl::StrCat(name, "[", i, "]"), text);
    }
  }
}

Fields ComparedFields(v1::ModelCard card) {
  card.clear_model();
  card.clear_job_id();
  card.clear_created();
  card.clear_training_seconds();
  card.clear_quantization();
  card.clear_earlier_history();
  card.mutable_request()->clear_request_id();
  card.mutable_request()->clear_preset();  // the network says more
  card.mutable_request()->clear_network();
  card.mutable_validation()->clear_classes();
  card.mutable_validation()->clear_confusion();
  // A map has no order.
  const std::map<std::string, std::string> libraries(card.library_versions().begin(),
                                                     card.library_versions().end());
  card.clear_library_versions();
  v1::EpochRecord last;
  if (!card.history().empty()) last = card.history(card.history_size() - 1);
  last.clear_seconds();
  last.clear_images_per_second();
  card.clear_history();
  Fields fields;
  Flatten(card, "", fields);
  Flatten(last, "last_epoch", fields);
  for (const auto& [library, version] : libraries) {
    fields.emplace_back(absl::StrCat("library_versions.", library), version);
  }
  return fields;
}

const std::string* Find(const Fields& fields, const std::string& name) {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const auto& field) { return field.first == name; });
  return found != fields.end() ? &found->second : nullptr;
}

absl::Status Diff(Session& session, const std::string& spec_a, const std::string& spec_b) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion a, ParseModelSpec(spec_a));
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion b, ParseModelSpec(spec_b));
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Model model_a, client->GetModel(a));
  CONVD_ASSIGN_OR_RETURN(const v1::Model model_b, client->GetModel(b));
  const std::vector<CardDifference> differences = CompareCards(model_a.card(), model_b.card());
  const std::string name_a = ModelSpec(model_a.card().model());
  const std::string name_b = ModelSpec(model_b.card().model());
  if (session.json()) {
    google::protobuf::Struct json;
    auto& fields = *json.mutable_fields();
    fields["a"].set_string_value(name_a);
    fields["b"].set_string_value(name_b);
    auto& list = *fields["differences"].mutable_list_value();
    for (const CardDifference& difference : differences) {
      auto& entry = *list.add_values()->mutable_struct_value()->mutable_fields();
      entry["field"].set_string_value(difference.field);
      entry["a"].set_string_value(difference.a);
      entry["b"].set_string_value(difference.b);
    }
    return session.PrintJson(json);
  }
  if (differences.empty()) {
    session.Print(absl::StrCat(name_a, " and ", name_b, " say the same of themselves.\n"));
    return absl::OkStatus();
  }
  Table table({{"FIELD"}, {name_a}, {name_b}});
  for (const CardDifference& difference : differences) {
    table.AddRow({difference.field, difference.a, difference.b});
  }
  session.Print(table.Render());
  return absl::OkStatus();
}

}  // namespace

std::vector<CardDifference> CompareCards(const v1::ModelCard& a, const v1::ModelCard& b) {
  const Fields fields_a = ComparedFields(a);
  const Fields fields_b = ComparedFields(b);
  std::vector<CardDifference> differences;
  for (const auto& [name, value] : fields_a) {
    const std::string* const other = Find(fields_b, name);
    if (other == nullptr || *other != value) {
      differences.push_back({name, value, other == nullptr ? "-" : *other});
    }
  }
  for (const auto& [name, value] : fields_b) {
    if (Find(fields_a, name) == nullptr) differences.push_back({name, "-", value});
  }
  return differences;
}

void AddModelDiffCommand(CLI::App& models, Command& chosen) {
  const auto specs = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* const diff = models.add_subcommand("diff", "Show in what two versions' cards differ");
  diff->add_option("a", specs->first, "The one")->required()->type_name("NAME[@VERSION|@LABEL]");
  diff->add_option("b", specs->second, "The other")->required()->type_name("NAME[@VERSION|@LABEL]");
  diff->callback([specs, &chosen] {
    chosen = [specs](Session& session) { return Diff(session, specs->first, specs->second); };
  });
}

}  // namespace convd
