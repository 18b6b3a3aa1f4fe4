// convd over HTTP, as curl and Prometheus use it.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spng.h>

#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/end_to_end/fashion_server.h"
#include "tests/server/http/raw_client.h"

namespace convd {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Png(const std::string& pixels) {
  spng_ctx* png = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = header.height = 28;
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_GRAYSCALE;
  spng_set_ihdr(png, &header);
  EXPECT_EQ(
      spng_encode_image(png, pixels.data(), pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
  size_t size = 0;
  int error = 0;
  void* const buffer = spng_get_png_buffer(png, &size, &error);
  std::string bytes(static_cast<const char*>(buffer), size);
  free(buffer);
  spng_ctx_free(png);
  return bytes;
}

struct Reply {
  int status = 0;
  std::string header, body;
};

class HttpTest : public FashionServerTest {
 protected:
  Reply Ask(const std::string& method, const std::string& target, const std::string& body = "") {
    RawClient client(server_->http_address());
    client.Send(absl::StrCat(method, " ", target,
                             " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                             "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
                             body.size(), "\r\n\r\n", body));
    const std::string whole = client.Rest();
    Reply reply;
    const size_t end = whole.find("\r\n\r\n");
    EXPECT_NE(end, std::string::npos) << whole;
    if (end == std::string::npos) return reply;
    reply.header = whole.substr(0, end);
    reply.body = whole.substr(end + 4);
    EXPECT_TRUE(absl::SimpleAtoi(whole.substr(9, 3), &reply.status)) << whole;
    return reply;
  }
  json Get(const std::string& target) {
    const Reply reply = Ask("GET", target);
    EXPECT_EQ(reply.status, 200) << target << reply.body;
    return json::parse(reply.body, nullptr, false);
  }
};

TEST_F(HttpTest, SaysWhatGrpcSays) {
  const v1::Job job = TrainToTheEnd(SmallTraining("digits", 1));
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(Get("/v1/models")["models"][0]["card"]["model"]["name"], "digits");
  EXPECT_EQ(Get("/v1/models/digits/versions")["models"].size(), 1u);
  // The same message, read back.
  v1::ModelVersion version;
  version.set_name("digits");
  const auto model = client_->GetModel(version);
  ASSERT_STATUS_OK(model);
  for (const char* path : {"/v1/models/digits", "/v1/models/digits/versions/1"}) {
    v1::Model read;
    const auto parsed = google::protobuf::util::JsonStringToMessage(Ask("GET", path).body, &read);
    ASSERT_TRUE(parsed.ok()) << parsed.message();
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(read, *model)) << path;
  }
  EXPECT_EQ(Ask("GET", "/v1/models/digits/versions/2").status, 404);
  EXPECT_EQ(Ask("GET", "/v1/models/digits/versions/x").status, 400);
  EXPECT_EQ(Get("/v1/datasets")["datasets"][0]["name"], "fashion");
  EXPECT_EQ(Get("/v1/datasets/fashion")["name"], "fashion");
  EXPECT_EQ(Ask("GET", "/v1/datasets/none").status, 404);
  EXPECT_EQ(Get("/v1/jobs/" + job.id())["state"], "JOB_STATE_SUCCEEDED");

  // Pages: two jobs, one a page.
  TrainToTheEnd(SmallTraining("digits", 1));
  const json first = Get("/v1/jobs?page_size=1");
  const std::string token = first["nextPageToken"];
  ASSERT_NE(token, "");
  const json second = Get("/v1/jobs?page_size=1&page_token=" + token);
  EXPECT_NE(first["jobs"][0]["id"], job.id());
  EXPECT_EQ(second["jobs"][0]["id"], job.id());
  EXPECT_EQ(second["nextPageToken"], "");
}

TEST_F(HttpTest, PredictsFromAnImageFileOrJson) {
  TrainToTheEnd(SmallTraining("digits", 1));
  ASSERT_FALSE(HasFailure());
  const std::string pixels = data_.test.pixels.substr(0, 784);
  const std::string png = Png(pixels);
  const std::string target = "/v1/models/digits:predict";
  // What gRPC answers about the same pixels.
  v1::PredictRequest request;
  request.mutable_model()->set_name("digits");
  *request.mutable_images() = data_.test.Raw(0, 1);
  request.set_top_k(3);
  const auto expected = client_->Predict(request);
  ASSERT_STATUS_OK(expected);

  const Reply reply = Ask("POST", target + "?top_k=3&probabilities=true", png);
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json answer = json::parse(reply.body);
  ASSERT_EQ(answer["predictions"].size(), 1u);
  const json& top = answer["predictions"][0]["top"];
  ASSERT_EQ(top.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const v1::ClassScore& want = expected->predictions(0).top(i);
    EXPECT_EQ(top[i]["index"], want.index());
    EXPECT_EQ(top[i]["probability"].get<float>(), want.probability());
  }
  EXPECT_EQ(answer["predictions"][0]["probabilities"].size(), 10u);
  EXPECT_EQ(answer["model"]["version"], "1");

  const json body = {{"images", {{"encoded", {{"files", {absl::Base64Escape(png)}}}}}},
                     {"topK", 3},
                     {"probabilities", true}};
  const Reply same = Ask("POST", "/v1/models/digits/versions/1:predict", body.dump());
  EXPECT_EQ(same.status, 200) << same.body;
  EXPECT_EQ(json::parse(same.body, nullptr, false), answer);
  EXPECT_EQ(Ask("POST", target + "?label=latest&precision=f32&invert=true", png).status, 200);

  const std::pair<std::string, std::string> kWrong[] = {
      {target, ""},
      {target, "x"},
      {target, "{"},
      {target, "{\"model\": {\"name\": \"other\"}}"},
      {target, png.substr(0, 100)},
      {target + "?top_k=11", png},
      {target + "?top_k=many", png},
      {target + "?k=1", png},
      {target + "?top_k=1&top_k=2", png},
      {target + "?precision=f64", png},
      {target + "?probabilities=perhaps", png},
      {"/v1/models/digits/versions/0:predict", png},
  };
  for (const auto& [path, sent] : kWrong) {
    const Reply wrong = Ask("POST", path, sent);
    EXPECT_EQ(wrong.status, 400) << path << " " << wrong.body;
    EXPECT_EQ(json::parse(wrong.body, nullptr, false)["error"]["code"], "INVALID_ARGUMENT");
  }
  EXPECT_EQ(Ask("POST", "/v1/models/none:predict", png).status, 404);
}

TEST_F(HttpTest, SpeaksTheOpenInferenceProtocol) {
  TrainToTheEnd(SmallTraining("digits", 1));
  ASSERT_FALSE(HasFailure());
  v1::PredictRequest request;
  request.mutable_model()->set_name("digits");
  *request.mutable_images() = data_.test.Raw(0, 2);
  request.set_probabilities(true);
  const auto expected = client_->Predict(request);
  ASSERT_STATUS_OK(expected);

  for (const char* path : {"/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready",
                           "/v2/models/digits/versions/1/ready"}) {
    EXPECT_EQ(Ask("GET", path).status, 200) << path;
  }
  EXPECT_EQ(Get("/v2")["name"], "convd");
  const json metadata = Get("/v2/models/digits");
  EXPECT_EQ(metadata["inputs"][0]["shape"], json({-1, 28, 28, 1}));
  const std::string input = metadata["inputs"][0]["name"];
  const std::string output = metadata["outputs"][0]["name"];

  json data = json::array();
  for (int i = 0; i < 2 * 784; ++i) data.push_back(static_cast<uint8_t>(data_.test.pixels[i]));
  json body = {
      {"id", "7"},
      {"inputs",
       {{{"name", input}, {"datatype", "UINT8"}, {"shape", {2, 28, 28, 1}}, {"data", data}}}}};
  const std::string typed = body.dump();
  const Reply reply = Ask("POST", "/v2/models/digits/infer", typed);
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json answer = json::parse(reply.body);
  EXPECT_EQ(answer["id"], "7");
  EXPECT_EQ(answer["model_version"], "1");
  EXPECT_EQ(answer["outputs"][0]["shape"], json({2, 10}));
  for (int i = 0; i < 2; ++i) {
    for (int c = 0; c < 10; ++c) {
      EXPECT_EQ(answer["outputs"][0]["data"][i * 10 + c].get<float>(),
                expected->predictions(i).probabilities(c));
    }
  }

  // The same with binary data behind the JSON, both ways.
  body["inputs"][0].erase("data");
  body["inputs"][0]["parameters"]["binary_data_size"] = 2 * 784;
  body["outputs"] = {{{"name", output}, {"parameters", {{"binary_data", true}}}}};
  const std::string text = body.dump();
  RawClient client(server_->http_address());
  client.Send(
      absl::StrCat("POST /v2/models/digits/versions/1/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                   "Connection: close\r\nInference-Header-Content-Length: ",
                   text.size(), "\r\nContent-Length: ", text.size() + 2 * 784, "\r\n\r\n", text,
                   data_.test.pixels.substr(0, 2 * 784)));
  const std::string binary = client.Rest();
  ASSERT_TRUE(absl::StartsWith(binary, "HTTP/1.1 200 ")) << binary;
  ASSERT_TRUE(absl::StrContains(binary, "Inference-Header-Content-Length: ")) << binary;
  float last = 0;
  std::memcpy(&last, binary.data() + binary.size() - sizeof last, sizeof last);
  EXPECT_EQ(last, expected->predictions(1).probabilities(9));

  const json index = json::parse(Ask("POST", "/v2/repository/index").body);
  EXPECT_EQ(index[0]["name"], "digits");
  EXPECT_EQ(Ask("POST", "/v2/repository/models/digits/unload").status, 200);
  EXPECT_EQ(Ask("POST", "/v2/repository/models/digits/load").status, 200);

  // Errors are a sentence, as clients of the protocol read them.
  const std::pair<std::string, int> kWrong[] = {
      {"/v2/models/none/infer", 404},   {"/v2/models/digits/versions/x!/infer", 400},
      {"/v2/models/digits/infer", 400}, {"/v2/repository/models/none", 404},
      {"/v2/models/digits/ready", 405}, {"/v2/nothing", 404},
  };
  for (const auto& [path, status] : kWrong) {
    const Reply wrong = Ask("POST", path, status == 400 ? "{" : typed);
    EXPECT_EQ(wrong.status, status) << path << " " << wrong.body;
    EXPECT_TRUE(json::parse(wrong.body, nullptr, false)["error"].is_string()) << wrong.body;
  }
}

TEST_F(HttpTest, CountsGrpcsCallsByRpcCodeAndModel) {
  TrainToTheEnd(SmallTraining("digits", 1));
  ASSERT_FALSE(HasFailure());
  v1::PredictRequest request;
  request.mutable_model()->set_name("digits");
  *request.mutable_images() = data_.test.Raw(0, 1);
  ASSERT_STATUS_OK(client_->Predict(request));
  ASSERT_STATUS_OK(client_->Predict(request));
  request.set_top_k(11);
  EXPECT_FALSE(client_->Predict(request).ok());
  // A call is counted when its answer has gone out, which the client may see first.
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    text = Ask("GET", "/metrics").body;
    if (absl::StrContains(text, "INVALID_ARGUMENT")) break;
  }
  EXPECT_TRUE(absl::StrContains(
      text, "{code=\"OK\",method=\"convd.v1.Predictor/Predict\",model=\"digits\"} 2"))
      << text;
}

// The format's own words: https://prometheus.io/docs/instrumenting/exposition_formats
std::map<std::string, double> ParseMetrics(const std::string& text, std::set<std::string>& names) {
  std::map<std::string, double> values;
  std::map<std::string, std::string> types;
  EXPECT_TRUE(absl::EndsWith(text, "\n"));
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (words[0] == "#") {
      EXPECT_GE(words.size(), 4u) << line;
      if (words[1] == "TYPE") {
        EXPECT_TRUE(types.emplace(words[2], words[3]).second) << "twice: " << line;
        names.insert(words[2]);
        const bool counts = absl::EndsWith(words[2], "_total");
        EXPECT_EQ(words[3] == "counter", counts) << line;
      }
      continue;
    }
    const size_t space = line.rfind(' ');
    EXPECT_NE(space, line.npos) << line;
    const std::string series(line.substr(0, space));
    std::string name = series.substr(0, series.find('{'));
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      const absl::string_view family = absl::StripSuffix(name, suffix);
      if (types.count(std::string(family)) > 0 && types[std::string(family)] == "histogram") {
        name = std::string(family);
        break;
      }
    }
    EXPECT_TRUE(types.count(name) > 0) << line;
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(space + 1), &value)) << line;
    EXPECT_TRUE(values.emplace(series, value).second) << "twice: " << line;
  }
  return values;
}

TEST_F(HttpTest, MetricsCountWhatWasDone) {
  TrainToTheEnd(SmallTraining("digits", 1));
  const std::string png = Png(data_.test.pixels.substr(0, 784));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask("POST", "/v1/models/digits:predict", png).status, 200);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Ask("POST", absl::StrCat("/v1/models/none", i, ":predict"), png).status, 404);
  }
  const std::string running = StartEndlessJob("endless").id();
  WaitUntilAtWork(running);
  const Reply reply = Ask("GET", "/metrics");
  ASSERT_EQ(reply.status, 200);
  EXPECT_THAT(reply.header, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  std::set<std::string> names;
  std::map<std::string, double> values = ParseMetrics(reply.body, names);
  const std::string predict = "method=\"POST /v1/models/{name}:predict\"";
  EXPECT_EQ(
      values[absl::StrCat("convd_requests_total{code=\"OK\",", predict, ",model=\"digits\"}")], 3)
      << reply.body;
  // Names that no model has are no labels.
  EXPECT_EQ(
      values[absl::StrCat("convd_requests_total{code=\"NOT_FOUND\",", predict, ",model=\"\"}")], 2);
  EXPECT_EQ(values[absl::StrCat("convd_request_duration_seconds_count{code=\"OK\",", predict,
                                ",model=\"digits\"}")],
            3);
  EXPECT_EQ(values["convd_predict_images_total{precision=\"f32\"}"], 3);
  EXPECT_EQ(values["convd_predict_batch_images_count"], 3);
  for (const char* stage : {"receive", "decode", "queue", "compute", "encode"}) {
    const std::string count =
        absl::StrCat("convd_predict_stage_seconds_count{stage=\"", stage, "\"}");
    EXPECT_EQ(values[count], 3) << stage;
  }
  EXPECT_EQ(values["convd_jobs_ended_total{state=\"succeeded\"}"], 1);
  EXPECT_EQ(values["convd_jobs{state=\"running\"}"], 1);
  EXPECT_EQ(values["convd_jobs{state=\"queued\"}"], 0);
  const std::string labels = absl::StrCat("{job=\"", running, "\",model=\"endless\"}");
  EXPECT_EQ(values["convd_job_epoch" + labels], 1);
  EXPECT_GT(values["convd_job_images_per_second" + labels], 0);
  EXPECT_GT(values["convd_job_loss" + labels], 0);
  EXPECT_GE(values["convd_executor_workers"], 1);
  EXPECT_GT(values["convd_executor_tasks_total{lane=\"train\"}"], 0);
  EXPECT_GT(values["convd_memory_reserved_bytes{holder=\"jobs\"}"], 0);
  EXPECT_GT(values["convd_memory_reserved_bytes{holder=\"models\"}"], 0);
  EXPECT_GT(values["convd_state_disk_free_bytes"], 0);
  EXPECT_EQ(values["convd_serving{service=\"convd.v1.Predictor\"}"], 1);
  EXPECT_GT(values["process_resident_memory_bytes"], 1 << 20);
  EXPECT_THAT(reply.body, HasSubstr("convd_build_info{"));

  // Whatever the dashboard and the alerts name is there, and so is what the page about them has.
  const std::string root = CONVD_SOURCE_DIR;
  for (const char* file :
       {"/docker/grafana/convd.json", "/docker/prometheus/alerts.yaml", "/docs/metrics.md"}) {
    const std::string text = ReadFile(root + file);
    ASSERT_NE(text, "") << file;
    size_t found = 0;
    for (size_t at = text.find("convd_"); at != text.npos; at = text.find("convd_", at + 1)) {
      const size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
      std::string name = text.substr(at, end - at);
      for (const char* suffix : {"_bucket", "_sum", "_count"}) {
        if (absl::EndsWith(name, suffix)) name.resize(name.size() - strlen(suffix));
      }
      EXPECT_EQ(names.count(name), 1u) << file << ": " << name;
      ++found;
    }
    EXPECT_GT(found, 5u) << file;
  }
  const std::string page = ReadFile(root + "/docs/metrics.md");
  for (const std::string& name : names) EXPECT_THAT(page, HasSubstr("`" + name)) << name;
}

TEST_F(HttpTest, IsReadyUntilItStops) {
  const Reply ready = Ask("GET", "/readyz");
  EXPECT_EQ(ready.status, 200);
  EXPECT_THAT(ready.body, AllOf(StartsWith("ok\n"), HasSubstr("convd.v1.Jobs: serving\n")));
  EXPECT_EQ(Ask("GET", "/readyz?service=convd.v1.Predictor").body, "ok\n");
  EXPECT_EQ(Ask("GET", "/healthz").body, "ok\n");
  EXPECT_THAT(ReadFile(state() + "/addresses"),
              HasSubstr("\nhttp " + server_->http_address() + "\n"));
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().Wait(), 0);
}

}  // namespace
}  // namespace convd
