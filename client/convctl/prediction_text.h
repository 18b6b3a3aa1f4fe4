#ifndef CONVD_CLIENT_CONVCTL_PREDICTION_TEXT_H_
#define CONVD_CLIENT_CONVCTL_PREDICTION_TEXT_H_

#include <string>
#include <vector>

#include "client/convctl/image_drawing.h"
#include "client/convctl/terminal.h"
#include "convd/v1/predictor.pb.h"

namespace convd {

// One image with what it is called and, where it is known, its true class.
struct PredictedImage {
  std::string name;
  std::string truth;  // empty where it isn't known
  v1::Prediction prediction;
};

// A row a class, the most probable beside the image's name.
std::string PredictionTable(const std::vector<PredictedImage>& images);

// What stands beside a drawn image: its name, a line a class with a bar of its probability, and
// whether the first is the true one. All lines take the same width. Any thread may call.
TextBlock PredictionBlock(const PredictedImage& image, const Terminal& terminal);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_PREDICTION_TEXT_H_
