// Clients in the field speak the protocol of their day for ever: what was once recorded in
// convd_v1.descriptors.textproto must still be in the protocol files, unchanged. Additions are fine
// and are recorded by tests/proto/update.

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::ServiceDescriptorProto;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

FileDescriptorSet Recorded() {
  FileDescriptorSet set;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      Read(CONVD_SOURCE_DIR "/tests/proto/convd_v1.descriptors.textproto"), &set));
  return set;
}

FileDescriptorSet Current() {
  FileDescriptorSet set;
  EXPECT_TRUE(set.ParseFromString(Read(CONVD_CURRENT_DESCRIPTORS)));
  return set;
}

// Everything that a client can tell, one entry each: path -> what it is. Fields go by number, as
// they do on the wire; names too are the API, in textproto and JSON.
using Elements = std::map<std::string, std::string>;

void Add(const EnumDescriptorProto& proto, const std::string& scope, Elements& elements) {
  const std::string name = scope + "." + proto.name();
  elements["enum " + name] = "enum";
  for (const auto& value : proto.value()) {
    elements["enum " + name + " value " + std::to_string(value.number()) + " " + value.name()] =
        "enum value";
  }
}

void Add(const FieldDescriptorProto& field, const DescriptorProto& message,
         const std::string& scope, Elements& elements) {
  std::string what = field.name() + ": " + FieldDescriptorProto::Label_Name(field.label()) + " " +
                     FieldDescriptorProto::Type_Name(field.type()) + " " + field.type_name() +
                     ", JSON " + field.json_name();
  if (field.has_oneof_index()) what += ", oneof " + message.oneof_decl(field.oneof_index()).name();
  if (field.proto3_optional()) what += ", optional";
  if (field.options().has_packed()) what += field.options().packed() ? ", packed" : ", unpacked";
  elements["field " + scope + " " + std::to_string(field.number())] = what;
}

void Add(const DescriptorProto& proto, const std::string& scope, Elements& elements) {
  const std::string name = scope + "." + proto.name();
  elements["message " + name] = proto.options().map_entry() ? "map entry" : "message";
  for (const auto& field : proto.field()) Add(field, proto, name, elements);
  for (const auto& nested : proto.nested_type()) Add(nested, name, elements);
  for (const auto& nested : proto.enum_type()) Add(nested, name, elements);
}

void Add(const ServiceDescriptorProto& proto, const std::string& scope, Elements& elements) {
  const std::string name = scope + "." + proto.name();
  elements["service " + name] = "service";
  for (const auto& method : proto.method()) {
    elements["method " + name + "." + method.name()] =
        (method.client_streaming() ? "stream " : "") + method.input_type() + " -> " +
        (method.server_streaming() ? "stream " : "") + method.output_type();
  }
}

Elements ElementsOf(const FileDescriptorSet& set) {
  Elements elements;
  for (const auto& file : set.file()) {
    for (const auto& message : file.message_type()) Add(message, file.package(), elements);
    for (const auto& e : file.enum_type()) Add(e, file.package(), elements);
    for (const auto& service : file.service()) Add(service, file.package(), elements);
  }
  return elements;
}

// What `now` lacks or says otherwise than `before`, in sentences.
std::vector<std::string> Breaks(const FileDescriptorSet& before, const FileDescriptorSet& now) {
  std::vector<std::string> breaks;
  const Elements current = ElementsOf(now);
  for (const auto& [path, what] : ElementsOf(before)) {
    auto found = current.find(path);
    if (found == current.end()) {
      breaks.push_back(path + ": is gone; was " + what);
    } else if (found->second != what) {
      breaks.push_back(path + ": is " + found->second + "; was " + what);
    }
  }
  return breaks;
}

TEST(ProtocolStabilityTest, NothingRecordedChanged) {
  EXPECT_THAT(Breaks(Recorded(), Current()), IsEmpty());
  EXPECT_GT(ElementsOf(Recorded()).size(), 200u);
}

// Unrecorded additions would be free to change later.
TEST(ProtocolStabilityTest, EveryAdditionIsRecorded) {
  std::vector<std::string> additions = Breaks(Current(), Recorded());
  EXPECT_THAT(additions, IsEmpty()) << "run tests/proto/update and commit what it writes";
}

// The comparison itself: each change that breaks a client is seen.
class ProtocolChangeTest : public ::testing::Test {
 protected:
  ProtocolChangeTest() : before_(Recorded()), now_(before_) {}

  google::protobuf::FileDescriptorProto& File(const std::string& name) {
    for (auto& file : *now_.mutable_file()) {
      if (file.name() == "convd/v1/" + name + ".proto") return file;
    }
    ADD_FAILURE() << name;
    return *now_.mutable_file(0);
  }
  DescriptorProto& Layer() {
    for (auto& message : *File("network").mutable_message_type()) {
      if (message.name() == "Layer") return message;
    }
    ADD_FAILURE();
    return *File("network").mutable_message_type(0);
  }
  std::vector<std::string> Found() { return Breaks(before_, now_); }

  FileDescriptorSet before_, now_;
};

TEST_F(ProtocolChangeTest, NoChange) { EXPECT_THAT(Found(), IsEmpty()); }

TEST_F(ProtocolChangeTest, AnAdditionIsFine) {
  auto& field = *Layer().add_field();
  field.set_name("extra");
  field.set_number(99);
  File("network").add_message_type()->set_name("Extra");
  EXPECT_THAT(Found(), IsEmpty());
  EXPECT_THAT(Breaks(now_, before_), Contains(HasSubstr("field convd.v1.Layer 99: is gone")));
}

TEST_F(ProtocolChangeTest, ARenumberedField) {
  Layer().mutable_field(0)->set_number(50);
  EXPECT_THAT(Found(), Contains(HasSubstr("field convd.v1.Layer 1: is gone; was name")));
}

TEST_F(ProtocolChangeTest, ARenamedField) {
  Layer().mutable_field(0)->set_name("title");
  EXPECT_THAT(Found(), Contains(HasSubstr("field convd.v1.Layer 1: is title")));
}

TEST_F(ProtocolChangeTest, AnotherType) {
  Layer().mutable_field(0)->set_type(FieldDescriptorProto::TYPE_BYTES);
  EXPECT_THAT(Found(), Contains(HasSubstr("TYPE_BYTES")));
}

TEST_F(ProtocolChangeTest, AnotherMessageType) {
  Layer().mutable_field(2)->set_type_name(".convd.v1.Dense");
  EXPECT_THAT(Found(), Contains(HasSubstr("is conv: LABEL_OPTIONAL TYPE_MESSAGE .convd.v1.Dense")));
}

TEST_F(ProtocolChangeTest, AFieldOutOfItsOneof) {
  Layer().mutable_field(2)->clear_oneof_index();
  EXPECT_THAT(Found(), Contains(HasSubstr("oneof kind")));
}

TEST_F(ProtocolChangeTest, RepeatedNoMore) {
  Layer().mutable_field(1)->set_label(FieldDescriptorProto::LABEL_OPTIONAL);
  EXPECT_THAT(Found(), Contains(HasSubstr("was inputs: LABEL_REPEATED")));
}

TEST_F(ProtocolChangeTest, ARenumberedEnumValue) {
  File("network").mutable_enum_type(0)->mutable_value(1)->set_number(9);
  EXPECT_THAT(Found(), Not(IsEmpty()));
}

TEST_F(ProtocolChangeTest, AMethodGoneOrStreaming) {
  auto& jobs = *File("jobs").mutable_service(0);
  const std::string name = jobs.method(0).name();
  const bool streaming = jobs.method(0).server_streaming();
  jobs.mutable_method(0)->set_server_streaming(!streaming);
  EXPECT_THAT(Found(), Contains(HasSubstr(name + ": is ")));
  jobs.mutable_method()->DeleteSubrange(0, 1);
  EXPECT_THAT(Found(), Contains(HasSubstr(name + ": is gone")));
}

TEST_F(ProtocolChangeTest, AnotherPackage) {
  File("network").set_package("convd.v2");
  EXPECT_THAT(Found(), Contains(HasSubstr("message convd.v1.Layer: is gone")));
}

}  // namespace
}  // namespace convd
