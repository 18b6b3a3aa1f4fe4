// convctl as people and scripts use it, against the real server.

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <netinet/in.h>
#include <signal.h>
#include <spng.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/end_to_end/fashion_server.h"

namespace convd {
namespace {

using ::nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class ConvctlTest : public FashionServerTest {
 protected:
  // Runs it and expects an exit code.
  Finished Expect(int code, std::vector<std::string> arguments) {
    std::string line;
    for (const std::string& argument : arguments) line += argument + " ";
    const Finished finished = server_->Convctl(std::move(arguments));
    EXPECT_EQ(finished.code, code) << line << "\n" << finished.out << finished.err;
    return finished;
  }

  json ExpectJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const Finished finished = Expect(0, std::move(arguments));
    json document = json::parse(finished.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_FALSE(document.is_discarded()) << finished.out;
    return document;
  }

  std::vector<std::string> TrainArguments(const std::string& epochs) {
    return {"train",   "--model",      "fashion", "--preset", "keras-mnist", "--dataset",
            "fashion", "--batch-size", "100",     "--epochs", epochs,        "--follow"};
  }

  // The lecture's mnist_std.npz in small, as numpy.savez_compressed writes one: X is count x 784
  // bytes, Y the labels; the training images, and then the test images.
  std::string WriteNpz() {
    const std::string path = data_dir() + "/std.npz";
    const std::string pixels = data_.train.pixels + data_.test.pixels;
    const std::string labels = data_.train.labels + data_.test.labels;
    const std::string count = std::to_string(labels.size());
    const std::string arrays[] = {NpyHeader("(" + count + ", 784)") + pixels,
                                  NpyHeader("(" + count + ",)") + labels};
    zip_t* const archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const int i : {0, 1}) {
      zip_source_t* const source =
          zip_source_buffer(archive, arrays[i].data(), arrays[i].size(), /*freep=*/0);
      EXPECT_GE(zip_file_add(archive, i == 0 ? "X.npy" : "Y.npy", source, 0), 0);
    }
    EXPECT_EQ(zip_close(archive), 0);
    return path;
  }

  // https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0.
  static std::string NpyHeader(const std::string& shape) {
    std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }";
    header.resize(117, ' ');
    return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n";
  }

  // A PNG of test image `index`, grey and of the data's size.
  std::string WritePng(int64_t index) {
    return WritePng(absl::StrCat("image", index), data_.test.pixels.substr(index * 784, 784), 28,
                    SPNG_COLOR_TYPE_GRAYSCALE);
  }

  // One of any pixels, `side` x `side`.
  std::string WritePng(const std::string& name, const std::string& pixels, uint32_t side,
                       uint8_t colour_type) {
    spng_ctx* const context = spng_ctx_new(SPNG_CTX_ENCODER);
    spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    spng_ihdr header = {};
    header.width = side;
    header.height = side;
    header.bit_depth = 8;
    header.color_type = colour_type;
    spng_set_ihdr(context, &header);
    EXPECT_EQ(spng_encode_image(context, pixels.data(), pixels.size(), SPNG_FMT_PNG,
                                SPNG_ENCODE_FINALIZE),
              0);
    size_t size = 0;
    int error = 0;
    void* const png = spng_get_png_buffer(context, &size, &error);
    const std::string path = folder_ / (name + ".png");
    WriteFile(path, std::string(static_cast<const char*>(png), size));
    free(png);
    spng_ctx_free(context);
    return path;
  }
};

TEST_F(ConvctlTest, TheMainJobInTheShell) {
  EXPECT_EQ(Expect(0, {"health"}).out, "serving\n");
  EXPECT_EQ(Expect(0, {"health", "jobs"}).out, "serving\n");
  EXPECT_EQ(Expect(0, {"health", "convd.v1.Predictor"}).out, "serving\n");
  EXPECT_THAT(Expect(1, {"health", "job"}).err,
              HasSubstr("the server has none named convd.v1.Job; want jobs, datasets"));
  EXPECT_THAT(Expect(0, {"datasets", "upload", "uploaded", data_dir()}).out,
              HasSubstr("train 2,000, test 500"));
  EXPECT_THAT(Expect(0, {"datasets", "list"}).out, HasSubstr("uploaded"));

  std::vector<std::string> train = TrainArguments("2");
  train.insert(train.end(), {"--horizontal-flip", "--shift", "1"});
  const std::string training = Expect(0, train).out;
  EXPECT_THAT(training, HasSubstr("34,826"));
  EXPECT_THAT(
      training,
      ContainsRegex("Epoch 2/2 - [0-9.:s]+ - loss: [0-9]\\.[0-9]{4} - accuracy: 0\\.[0-9]{4} - "
                    "val_loss: [0-9]\\.[0-9]{4} - val_accuracy: 0\\.[0-9]{4}\n"));
  EXPECT_THAT(training, ContainsRegex("fashion@1: validation accuracy 0\\.[0-9]{4}, "
                                      "[0-9]+\\.[0-9]{2} seconds an epoch\n$"));
  EXPECT_EQ(training.find('\x1b'), std::string::npos) << "no escape sequences into a pipe";

  EXPECT_THAT(Expect(0, {"evaluate", "fashion@1", "--dataset", "fashion", "--confusion"}).out,
              HasSubstr("Accuracy"));
  const json evaluation = ExpectJson({"evaluate", "fashion:1", "--dataset", "fashion"});
  EXPECT_EQ(evaluation["evaluation"]["metrics"]["samples"], "500");

  const std::string png = WritePng(0);
  const json predicted = ExpectJson({"predict", "fashion", png, "--top-k", "3"});
  ASSERT_EQ(predicted["predictions"].size(), 1u);
  EXPECT_EQ(predicted["predictions"][0]["top"].size(), 3u);
  EXPECT_THAT(Expect(0, {"predict", "fashion", png}).out, HasSubstr("image0.png"));

  EXPECT_THAT(Expect(0, {"models"}).out, HasSubstr("34,826"));
  const std::string shown = Expect(0, {"models", "show", "fashion"}).out;
  EXPECT_THAT(shown, HasSubstr(state()));
  EXPECT_THAT(shown, ContainsRegex("\nAugmentation +horizontal flip, shift by up to 1 pixel\n"));
  const json request = ExpectJson({"models", "show", "fashion"})["card"]["request"];
  EXPECT_EQ(request["augmentation"], json({{"horizontalFlip", true}, {"shift", 1}}));
  EXPECT_EQ(ExpectJson({"models", "list"})["models"].size(), 1u);

  const std::string explained = Expect(0, {"explain", "fashion"}).out;
  EXPECT_THAT(explained, HasSubstr("fashion@1: keras-mnist, "));
  EXPECT_THAT(explained,
              ContainsRegex("\nconv2d\\+max_pooling2d +backward_weights +own:x86[^\n]+%\n"));
  EXPECT_THAT(explained, HasSubstr("Most workers that a job with batches of "));
  EXPECT_THAT(explained, Not(HasSubstr("!")));
  const json explanation =
      ExpectJson({"explain", "fashion@1", "--batch-size", "1000"})["explanation"];
  EXPECT_EQ(explanation["batchSize"], "1000");
  EXPECT_EQ(explanation["train"]["images"], "16");
  EXPECT_EQ(explanation["train"]["mostWorkers"], "63");
  EXPECT_THAT(Expect(1, {"explain", "fashion", "--batch-size", "1048577"}).err,
              HasSubstr("batch_size: got 1048577; want 1 to 1048576"));
  EXPECT_THAT(Expect(2, {"explain", "fashion", "--batch-size", "0"}).err, HasSubstr("got \"0\""));
  EXPECT_THAT(Expect(1, {"explain", "fashion@9"}).err, HasSubstr("fashion"));
  EXPECT_THAT(Expect(0, {"jobs"}).out, HasSubstr("succeeded"));
  const json jobs = ExpectJson({"jobs"});
  ASSERT_EQ(jobs["jobs"].size(), 1u);
  EXPECT_EQ(jobs["jobs"][0]["state"], "JOB_STATE_SUCCEEDED");
  EXPECT_THAT(Expect(0, {"jobs", jobs["jobs"][0]["id"]}).out, HasSubstr("Epoch 1/2"));
}

TEST_F(ConvctlTest, ImagesOutOfADatasetFilePredictAsSentPngsDo) {
  Expect(0, TrainArguments("1"));
  const json raw = ExpectJson(
      {"predict", "fashion", "--images", data_dir() + "/t10k-images-idx3-ubyte", "--index", "3,0"});
  const json png = ExpectJson({"predict", "fashion", WritePng(3), WritePng(0)});
  EXPECT_EQ(raw["predictions"], png["predictions"]);
  const std::string drawn =
      Expect(0, {"predict", "fashion", "--draw", "--images", data_dir() + "/t10k-images-idx3-ubyte",
                 "--labels", data_dir() + "/t10k-labels-idx1-ubyte", "--index", "0"})
          .out;
  // 14 lines of two rows each. A pipe has no colours: ink is what shows the boot, which fills the
  // lower half of its picture.
  const std::vector<std::string> lines = absl::StrSplit(drawn, '\n');
  ASSERT_GE(lines.size(), 14u);
  EXPECT_GT(
      std::count_if(lines[10].begin(), lines[10].begin() + 28, [](char c) { return c != ' '; }),
      14);
  EXPECT_EQ(drawn.find('\x1b'), std::string::npos);
  EXPECT_THAT(Expect(2, {"predict", "fashion", "--images", data_dir() + "/t10k-images-idx3-ubyte",
                         "--index", "500"})
                  .err,
              HasSubstr("500"));
}

TEST_F(ConvctlTest, ADrawingOnPaperIsInvertedAndMadeToFit) {
  Expect(0, TrainArguments("1"));
  // Dark on a transparent page, RGBA: black, and opaque as far as the dataset's image is light. On
  // white that is 255 - v.
  const std::string pixels = data_.test.pixels.substr(0, 784);
  std::string ink;
  for (const char v : pixels) ink += std::string(3, '\0') + v;
  const std::string drawing = WritePng("drawing", ink, 28, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA);
  const json plain = ExpectJson({"predict", "fashion", WritePng(0), "--top-k", "10"});
  const json inverted = ExpectJson({"predict", "fashion", drawing, "--top-k", "10", "--invert"});
  EXPECT_EQ(inverted["predictions"], plain["predictions"]);
  EXPECT_NE(ExpectJson({"predict", "fashion", drawing, "--top-k", "10"})["predictions"],
            plain["predictions"]);

  // The same, five times as large.
  std::string large;
  for (int h = 0; h < 140; ++h) {
    for (int w = 0; w < 140; ++w) large += ink.substr(4 * (h / 5 * 28 + w / 5), 4);
  }
  const std::string shown =
      Expect(0, {"predict", "fashion", "--draw", "--invert",
                 WritePng("large", large, 140, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA)})
          .out;
  EXPECT_THAT(shown, HasSubstr("large.png"));
  // Drawn as the model sees it, 28 x 28: the boot fills the lower half of its picture.
  const std::vector<std::string> lines = absl::StrSplit(shown, '\n');
  ASSERT_GE(lines.size(), 14u);
  ASSERT_GE(lines[10].size(), 14u);
  EXPECT_LT(lines.size(), 20u);
  EXPECT_THAT(lines[10].substr(0, 28), Not(HasSubstr("          ")));

  EXPECT_THAT(Expect(2, {"predict", "fashion", "--invert", "--images",
                         data_dir() + "/t10k-images-idx3-ubyte", "--index", "0"})
                  .err,
              HasSubstr("--invert goes with PNG and JPEG files"));
}

TEST_F(ConvctlTest, ScoresADatasetAFileAndAFolderAlike) {
  Expect(0, TrainArguments("1"));
  const std::string images = data_dir() + "/t10k-images-idx3-ubyte";
  const std::string labels = data_dir() + "/t10k-labels-idx1-ubyte";
  const std::string csv = Expect(0, {"predict", "fashion", "--dataset", "fashion", "--csv"}).out;
  EXPECT_EQ(csv,
            Expect(0, {"predict", "fashion", "--images", images, "--labels", labels, "--csv"}).out);
  const std::vector<std::string> rows = absl::StrSplit(csv, "\r\n");
  ASSERT_EQ(rows.size(), 502u);  // a heading, 500 images, the end
  EXPECT_EQ(rows[0], "image,label,class,probability,error");
  int right = 0;
  for (int i = 0; i < 500; ++i) {
    const std::vector<std::string> cells = absl::StrSplit(rows[i + 1], ',');
    ASSERT_EQ(cells.size(), 5u) << rows[i + 1];
    EXPECT_EQ(cells[0], absl::StrCat(i));
    right += cells[1] == cells[2];
  }
  const json evaluated = ExpectJson({"evaluate", "fashion", "--dataset", "fashion"});
  const double accuracy = evaluated["evaluation"]["metrics"]["accuracy"];
  EXPECT_NEAR(right / 500.0, accuracy, 1e-9);
  const json summary = ExpectJson({"predict", "fashion", "--dataset", "fashion"});
  EXPECT_EQ(summary["images"], 500);
  EXPECT_NEAR(summary["accuracy"].get<double>(), accuracy, 1e-6);
  EXPECT_THAT(
      Expect(0, {"predict", "fashion", "--dataset", "fashion"}).out,
      ContainsRegex("^fashion@1 on fashion/test: 500 images in .*, accuracy 0\\.[0-9]{4}\n$"));
  const std::string train =
      Expect(0, {"predict", "fashion", "--dataset", "fashion", "--split", "train", "--csv"}).out;
  EXPECT_EQ(std::count(train.begin(), train.end(), '\n'), 2001);

  // A folder, with names as bad as they come.
  const std::string folder = folder_ / "photos";
  std::filesystem::create_directories(folder + "/=sub");
  const std::string names[] = {"=1,2.png", "=sub/\"quoted\"\n\xff.PNG", "broken.png", "plain.png"};
  for (const std::string& name : names) {
    std::filesystem::rename(WritePng(0), folder + "/" + name);
  }
  WriteFile(folder + "/broken.png", "no picture");
  const Finished scored = Expect(1, {"predict", "fashion", "--dir", folder, "--jsonl"});
  EXPECT_THAT(scored.err, HasSubstr("1 of 4 images failed: "));
  EXPECT_THAT(scored.err, HasSubstr("broken.png: "));
  std::vector<json> lines;
  for (const auto line : absl::StrSplit(scored.out, '\n', absl::SkipEmpty())) {
    lines.push_back(json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
  }
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["file"], folder + "/" + names[0]);
  EXPECT_EQ(lines[1]["file"], folder + "/=sub/\"quoted\"\n\xef\xbf\xbd.PNG");
  EXPECT_THAT(lines[2]["error"], HasSubstr("is of an unknown kind"));
  EXPECT_EQ(lines[3]["top"], lines[0]["top"]);
  EXPECT_EQ(lines[3]["top"][0]["class"].get<std::string>(),
            std::string(std::vector<std::string>(absl::StrSplit(rows[1], ','))[2]));
  const std::string table = Expect(1, {"predict", "fashion", "--dir", folder, "--csv"}).out;
  EXPECT_THAT(table, HasSubstr("\r\n\"" + folder + "/=1,2.png\","));
  EXPECT_THAT(table, HasSubstr("\r\n\"" + folder + "/=sub/\"\"quoted\"\"\n\xff.PNG\","));

  EXPECT_THAT(Expect(1, {"predict", "fashion", "--dataset", "nothing"}).err, HasSubstr("nothing"));
  EXPECT_THAT(Expect(1, {"predict", "fashion", "--dataset", "fashion", "--split", "dev"}).err,
              HasSubstr("--split dev: the dataset fashion has train, test"));
  EXPECT_THAT(Expect(2, {"predict", "fashion", "--dir", folder, "--dataset", "fashion"}).err,
              HasSubstr("one of"));
  EXPECT_THAT(Expect(2, {"predict", "fashion", WritePng(0), "--csv"}).err, HasSubstr("--csv"));
}

TEST_F(ConvctlTest, ALocalFilesImagesEvaluateAsTheDatasetsDo) {
  Expect(0, TrainArguments("1"));
  const std::string images = data_dir() + "/t10k-images-idx3-ubyte";
  const std::string labels = data_dir() + "/t10k-labels-idx1-ubyte";
  const json sent = ExpectJson(
      {"evaluate", "fashion", "--images", images, "--labels", labels, "--probabilities"});
  const json registered =
      ExpectJson({"evaluate", "fashion", "--dataset", "fashion", "--probabilities"});
  EXPECT_EQ(sent["evaluation"]["metrics"], registered["evaluation"]["metrics"]);
  EXPECT_EQ(sent["probabilities"], registered["probabilities"]);
  EXPECT_FALSE(sent["evaluation"].contains("dataset"));
  EXPECT_THAT(std::string(sent["evaluation"]["dataSha256"]), MatchesRegex("[0-9a-f]{64}"));
  const std::string shown =
      Expect(0, {"evaluate", "fashion", "--images", images, "--labels", labels, "--confusion"}).out;
  EXPECT_THAT(shown, HasSubstr("fashion@1 on " + images));
  EXPECT_THAT(shown, HasSubstr("Accuracy"));

  EXPECT_THAT(Expect(2, {"evaluate", "fashion", "--images", images}).err, HasSubstr("--labels"));
  Expect(2, {"evaluate", "fashion"});
  Expect(2, {"evaluate", "fashion", "--dataset", "fashion", "--images", images});
  Expect(2, {"evaluate", "fashion", "--dataset", "fashion", "--labels", labels});
  Expect(2, {"evaluate", "fashion", "--images", images, "--labels", labels, "--split", "test"});
  EXPECT_THAT(Expect(2, {"evaluate", "fashion", "--images", folder_ / "none"}).err,
              HasSubstr(folder_ / "none"));
}

TEST_F(ConvctlTest, WatchingInJsonIsAnEventALine) {
  std::vector<std::string> arguments = TrainArguments("2");
  arguments.push_back("--json");
  const Finished finished = Expect(0, arguments);
  std::vector<json> events;
  for (size_t begin = 0, end; (end = finished.out.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    events.push_back(json::parse(finished.out.substr(begin, end - begin), nullptr, false));
    ASSERT_FALSE(events.back().is_discarded());
  }
  ASSERT_GE(events.size(), 4u);
  EXPECT_TRUE(events.front().contains("job"));
  ASSERT_TRUE(events.back().contains("job"));
  EXPECT_EQ(events.back()["job"]["state"], "JOB_STATE_SUCCEEDED");
  int epochs = 0;
  for (const json& event : events) epochs += event.contains("epoch");
  EXPECT_EQ(epochs, 2);
}

TEST_F(ConvctlTest, CtrlCStopsWatchingAndTheJobGoesOn) {
  const std::unique_ptr<Subprocess> following = server_->StartConvctl(TrainArguments("100000"));
  ASSERT_NE(following, nullptr);
  ASSERT_TRUE(following->WaitForLine([](const std::string& line) {
    return line.find("Epoch 1/") == 0;
  })) << following->out()
      << following->err();
  following->Signal(SIGINT);
  EXPECT_EQ(following->Wait(), 130);
  EXPECT_THAT(following->err(), HasSubstr("convctl cancel"));
  const auto jobs = client_->ListJobs();
  ASSERT_STATUS_OK(jobs);
  ASSERT_EQ(jobs->size(), 1u);
  EXPECT_EQ((*jobs)[0].state(), v1::JOB_STATE_RUNNING);

  Expect(0, {"cancel", (*jobs)[0].id()});
  EXPECT_THAT(Expect(4, {"watch", (*jobs)[0].id()}).err, HasSubstr("was cancelled"));
  EXPECT_THAT(Expect(1, {"cancel", (*jobs)[0].id()}).err, ::testing::StartsWith("error: "));
}

TEST_F(ConvctlTest, AJobPausesResumesAndThenRunsToItsEnd) {
  const std::unique_ptr<Subprocess> following = server_->StartConvctl(TrainArguments("12"));
  ASSERT_NE(following, nullptr);
  const auto wait_for = [&](const std::string& beginning) {
    return following
        ->WaitForLine([&](const std::string& line) { return line.find(beginning) == 0; })
        .value_or("");
  };
  ASSERT_NE(wait_for("Epoch 1/12 "), "") << following->err();
  const std::string id = ExpectJson({"jobs"})["jobs"][0]["id"];
  EXPECT_THAT(Expect(0, {"pause", id}).out,
              ContainsRegex("^Job " + id + " (is paused; |pauses at its next cut)"));
  EXPECT_EQ(wait_for("Job " + id + " is paused"),
            "Job " + id + " is paused; `convctl resume " + id + "` lets it go on");
  EXPECT_THAT(Expect(0, {"jobs"}).out, ContainsRegex(id + " +paused +fashion"));
  EXPECT_EQ(ExpectJson({"jobs", id})["state"], "JOB_STATE_PAUSED");

  EXPECT_EQ(Expect(0, {"priority", id, "-5"}).out, "Job " + id + " has priority -5.\n");
  EXPECT_THAT(Expect(0, {"jobs", id}).out, ContainsRegex("\nPriority +-5\n"));
  EXPECT_THAT(Expect(1, {"priority", id, "101"}).err,
              HasSubstr("priority: got 101; want -100 to 100"));
  EXPECT_THAT(Expect(2, {"priority", id, "high"}).err, HasSubstr("got \"high\""));

  EXPECT_THAT(Expect(0, {"resume", id}).out, ContainsRegex("^Job " + id + " is (queued|running)"));
  EXPECT_EQ(following->Wait(), 0) << following->out() << following->err();
  const json job = ExpectJson({"jobs", id});
  EXPECT_EQ(job["state"], "JOB_STATE_SUCCEEDED");
  EXPECT_EQ(job["attempts"], 2);
  EXPECT_EQ(job["history"].size(), 12u);
  // The follower saw each epoch once, and no end of the server.
  for (int epoch = 1; epoch <= 12; ++epoch) {
    const std::string line = "\nEpoch " + std::to_string(epoch) + "/12 ";
    const size_t first = following->out().find(line);
    ASSERT_NE(first, std::string::npos) << line;
    EXPECT_EQ(following->out().find(line, first + 1), std::string::npos) << line;
  }
  EXPECT_THAT(following->out(), Not(HasSubstr("was interrupted")));
  for (const char* command : {"pause", "resume", "priority"}) {
    std::vector<std::string> late = {command, id};
    if (late[0] == "priority") late.push_back("1");
    EXPECT_THAT(Expect(1, late).err, HasSubstr("has ended (SUCCEEDED)"));
  }
}

// Takes so many connections at the address, one after the other, and ends each at once.
void RefuseConnections(const std::string& address, int count) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int reuse = 1;
  EXPECT_EQ(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse), 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  EXPECT_EQ(listen(listener, 8), 0);
  for (int i = 0; i < count; ++i) close(accept(listener, nullptr, nullptr));
  close(listener);
}

TEST_F(ConvctlTest, AFollowerGoesOnWithTheJobAfterTheServersEnd) {
  std::vector<std::string> train = TrainArguments("12");
  train.insert(train.begin(), CONVD_BIN_DIR "/convctl");
  // gRPC usually looks at its sockets each 5 s though no call waits for them, which would hide that
  // the follower doesn't wait for the server.
  const std::unique_ptr<Subprocess> following = Subprocess::Start(
      train,
      {"CONVD_SERVER=" + server_->address(), "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS=0"});
  ASSERT_NE(following, nullptr);
  ASSERT_TRUE(following->WaitForLine([](const std::string& line) {
    return line.find("Epoch 2/") == 0;
  })) << following->out()
      << following->err();
  server_->process().Signal(SIGKILL);
  server_->process().Wait();
  RefuseConnections(server_->address(), 2);
  const std::unique_ptr<Subprocess> again =
      Subprocess::Start({CONVD_BIN_DIR "/convd", "--state", state(), "--data-dir", data_dir(),
                         "--http-address", "off", "--grpc-address", server_->address()});
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(following->Wait(), 0) << following->out() << following->err();
  EXPECT_EQ(following->err(), "Lost the server; trying for it again for up to 1m.\n");
  EXPECT_THAT(following->out(),
              HasSubstr(" was interrupted; it goes on from its last checkpoint\n"));
  std::vector<std::string> epochs;
  for (const absl::string_view line : absl::StrSplit(following->out(), '\n')) {
    if (line.substr(0, 6) == "Epoch ") epochs.emplace_back(line.substr(6, line.find('/') - 6));
  }
  ASSERT_EQ(epochs.size(), 12u) << following->out();
  for (int i = 0; i < 12; ++i) EXPECT_EQ(epochs[i], std::to_string(i + 1));
}

TEST_F(ConvctlTest, TheLecturesNpzTrainsWithItsTailHeldOut) {
  WriteNpz();
  EXPECT_THAT(Expect(0, {"datasets", "register", "std", data_dir() + "/std.npz"}).out,
              HasSubstr("train 2,500"));
  const auto train = [&](const std::string& model, const std::string& kind,
                         const std::string& network) {
    return Expect(0,
                  {"train", "--model", model, kind, network, "--dataset", "std",
                   "--validation-tail", "500", "--epochs", "1", "--batch-size", "100", "--follow"})
        .out;
  };
  EXPECT_THAT(train("tail", "--preset", "keras-mnist"), HasSubstr("val_accuracy"));
  // The same images as the IDX files', in the same order: the same bits.
  Expect(0, TrainArguments("1"));
  const json of_npz = ExpectJson({"models", "show", "tail"});
  const json of_idx = ExpectJson({"models", "show", "fashion"});
  EXPECT_EQ(of_npz["card"]["validation"], of_idx["card"]["validation"]);
  EXPECT_EQ(of_npz["card"]["validation"]["samples"], "500");
  EXPECT_EQ(ReadFile(state() + "/models/tail/1/model.onnx").size(),
            ReadFile(state() + "/models/fashion/1/model.onnx").size());

  const std::string every_layer = CONVD_SOURCE_DIR "/docs/networks/every-layer.textproto";
  EXPECT_THAT(train("own", "--network", every_layer), HasSubstr("own@1"));
  EXPECT_THAT(Expect(0, {"evaluate", "own", "--dataset", "std", "--tail", "500"}).out,
              HasSubstr("Samples   500"));
}

// Folders of images, packed or not, are one dataset, which trains.
TEST_F(ConvctlTest, AFolderAClassIsRegisteredUploadedAndTrained) {
  const std::string folder = data_dir() + "/clothes";
  const std::string tar = data_dir() + "/clothes.tar.gz";
  for (int64_t i = 0; i < 40; ++i) {
    // A class for each of the preset's outputs.
    const std::string in_class =
        folder + (i < 30 ? "/train/" : "/val/") + "kind " + std::to_string(i % 10);
    std::filesystem::create_directories(in_class);
    std::filesystem::rename(WritePng(i), in_class + "/" + std::to_string(i) + ".png");
  }
  ASSERT_EQ(system(("tar -C " + data_dir() + " -czf " + tar + " clothes").c_str()), 0);
  const auto sha256 = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "datasets");
    return ExpectJson(std::move(arguments)).value("sha256", "");
  };
  const std::string want = sha256({"register", "folder", folder});
  EXPECT_EQ(want.size(), 64u);
  EXPECT_EQ(sha256({"register", "tar", tar, "--image-size", "28x28x1"}), want);
  EXPECT_EQ(sha256({"upload", "sent", tar}), want);
  EXPECT_THAT(Expect(0, {"datasets", "show", "sent"}).out, HasSubstr("train 30, val 10"));
  EXPECT_THAT(Expect(2, {"datasets", "upload", "again", folder}).err, HasSubstr("zip it"));
  EXPECT_THAT(Expect(2, {"datasets", "upload", "again", tar, "--image-size", "28"}).err,
              HasSubstr("want HEIGHTxWIDTH"));
  EXPECT_THAT(
      Expect(0, {"train", "--model", "clothes", "--preset", "keras-mnist", "--dataset", "sent",
                 "--validation", "val", "--epochs", "1", "--batch-size", "10", "--follow"})
          .out,
      HasSubstr("clothes@1"));
}

TEST_F(ConvctlTest, LoadIsMeasuredAndItsErrorsAreCounted) {
  Expect(0, TrainArguments("1"));
  const json closed =
      ExpectJson({"bench", "fashion", "--in-flight", "1,3", "--seconds", "0.2", "--warm-up", "0",
                  "--images", "2", "--from", data_dir() + "/t10k-images-idx3-ubyte"});
  ASSERT_EQ(closed["loads"].size(), 2u);
  for (const json& load : closed["loads"]) {
    EXPECT_GT(load["calls"], 0);
    EXPECT_EQ(load["errors"], json::object());
    EXPECT_GE(load["latency_ms"]["max"], load["latency_ms"]["p50"]);
  }
  const json open = ExpectJson({"bench", "fashion", "--rate", "50", "--arrivals", "constant",
                                "--seconds", "0.2", "--warm-up", "0.1", "--connections", "2"});
  EXPECT_EQ(open["loads"][0]["calls"], 10);
  EXPECT_EQ(open["loads"][0]["dropped"], 0);

  const json oip = ExpectJson({"bench", "fashion@1", "--protocol", "oip", "--in-flight", "2",
                               "--seconds", "0.2", "--warm-up", "0", "--images", "3"});
  EXPECT_EQ(oip["protocol"], "oip");
  EXPECT_GT(oip["loads"][0]["calls"], 0);
  EXPECT_EQ(oip["loads"][0]["errors"], json::object());
  EXPECT_THAT(Expect(1, {"bench", "nothing", "--protocol", "oip"}).err, HasSubstr("nothing"));
  EXPECT_THAT(Expect(2, {"bench", "fashion", "--protocol", "oip", "--top-k", "2"}).err,
              HasSubstr("--protocol convd"));

  EXPECT_THAT(Expect(1, {"bench", "nothing"}).err, HasSubstr("nothing"));
  EXPECT_THAT(Expect(1, {"bench", "fashion", "--shape", "3x3"}).err, HasSubstr("28x28x1"));
  EXPECT_THAT(Expect(2, {"bench", "fashion", "--in-flight", "1,0"}).err, HasSubstr("got \"0\""));
  EXPECT_THAT(Expect(2, {"bench", "fashion", "--in-flight", "1", "--rate", "9"}).err,
              HasSubstr("one of them"));
  EXPECT_THAT(Expect(2, {"bench", "fashion", "--rate", "nan"}).err, HasSubstr("got \"nan\""));
  EXPECT_THAT(Expect(2, {"bench", "fashion", "--in-flight", "10001"}).err, HasSubstr("10000"));

  const auto stopped = server_->StartConvctl({"bench", "fashion", "--seconds", "3600"});
  ASSERT_TRUE(stopped->WaitForError("1 in flight"));
  stopped->Signal(SIGINT);
  EXPECT_EQ(stopped->Wait(), 130);
  EXPECT_THAT(stopped->out(), HasSubstr("CALLS/S"));

  // The server goes: what fails is counted until the load's end.
  const auto losing = server_->StartConvctl(
      {"bench", "fashion", "--rate", "100", "--seconds", "2", "--warm-up", "0"});
  ASSERT_TRUE(losing->WaitForError("100 calls a second"));
  server_->process().Signal(SIGKILL);
  EXPECT_THAT(losing->Wait(), ::testing::AnyOf(0, 3));
  EXPECT_THAT(losing->out(), HasSubstr("UNAVAILABLE"));
}

TEST_F(ConvctlTest, ErrorsHaveExitCodesAndSentences) {
  const Finished unknown = Expect(1, {"datasets", "show", "nope"});
  EXPECT_EQ(unknown.out, "");
  EXPECT_THAT(unknown.err, HasSubstr("nope"));
  EXPECT_THAT(unknown.err, HasSubstr("hint: "));
  const json error =
      json::parse(Expect(1, {"datasets", "show", "nope", "--json"}).err, nullptr, false);
  EXPECT_EQ(error["error"]["code"], "NOT_FOUND");
  EXPECT_EQ(error["error"]["exit_code"], 1);
  Expect(1, {"train", "--model", "m", "--preset", "nope", "--dataset", "fashion"});
  Expect(1, {"train", "--model", "m", "--preset", "keras-mnist", "--dataset", "fashion",
             "--batch-size", "0"});
  const auto shift = [&](int code, const char* pixels) {
    return Expect(code, {"train", "--model", "m", "--preset", "keras-mnist", "--dataset", "fashion",
                         "--shift", pixels})
        .err;
  };
  EXPECT_THAT(shift(1, "28"), HasSubstr("augmentation.shift: got 28; want 0 to 27"));
  EXPECT_THAT(shift(1, "-1"), HasSubstr("augmentation.shift: got -1; want 0 to 64"));
  EXPECT_THAT(shift(2, "4294967297"), HasSubstr("--shift"));
  Expect(2, {"predict", "fashion", folder_ / "none.png"});
  Expect(2, {"datasets", "upload", "x", folder_ / "none"});
  Expect(2, {"datasets"});
  Expect(2, {"no-such-command"});
  Expect(2, {"evaluate", "fashion@0", "--dataset", "fashion"});
  Expect(2, {"health", "--server", "no-port"});

  server_->process().Signal(SIGKILL);
  server_->process().Wait();
  EXPECT_THAT(Expect(3, {"health"}).err, HasSubstr(server_->address()));
  EXPECT_EQ(json::parse(Expect(3, {"jobs", "--json"}).err, nullptr, false)["error"]["exit_code"],
            3);
}

}  // namespace
}  // namespace convd
