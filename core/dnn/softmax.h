#ifndef CONVD_CORE_DNN_SOFTMAX_H_
#define CONVD_CORE_DNN_SOFTMAX_H_

#include <cstdint>

namespace convd {

// Over `classes` scores, in double, shifted by the largest: probabilities rounded to float once.
// Any thread may call.
void Softmax(int classes, const float* scores, float* probabilities);

// -log softmax(scores)[label], in nats.
double CrossEntropy(int classes, const float* scores, int32_t label);

// Index of the largest; of equal ones the lowest.
int32_t MostProbable(int classes, const float* probabilities);

}  // namespace convd

#endif  // CONVD_CORE_DNN_SOFTMAX_H_
