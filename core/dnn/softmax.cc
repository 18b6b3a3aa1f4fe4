#include "core/dnn/softmax.h"

#include <algorithm>
#include <cmath>

namespace convd {
namespace {

double ShiftedSum(int classes, const float* scores, double largest) {
  double sum = 0;
  for (int c = 0; c < classes; ++c) sum += std::exp(scores[c] - largest);
  return sum;
}

}  // namespace

void Softmax(int classes, const float* scores, float* probabilities) {
  const double largest = *std::max_element(scores, scores + classes);
  const double sum = ShiftedSum(classes, scores, largest);
  for (int c = 0; c < classes; ++c)
    probabilities[c] = static_cast<float>(std::exp(scores[c] - largest) / sum);
}

double CrossEntropy(int classes, const float* scores, int32_t label) {
  const double largest = *std::max_element(scores, scores + classes);
  return std::log(ShiftedSum(classes, scores, largest)) - (scores[label] - largest);
}

int32_t MostProbable(int classes, const float* probabilities) {
  return static_cast<int32_t>(std::max_element(probabilities, probabilities + classes) -
                              probabilities);
}

}  // namespace convd
