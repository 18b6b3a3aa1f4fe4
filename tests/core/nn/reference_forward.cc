#include "tests/core/nn/reference_forward.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace convd {
namespace {

using Doubles = absl::Span<const double>;

int64_t At(const Shape& s, int64_t y, int64_t x, int64_t c) {
  return (y * s.width + x) * s.channels + c;
}

// Calls take(ky, kx, y, x) for each tap of the window at output (oy, ox) that lies on the input.
template <typename Take>
void ForEachTap(const GraphLayer& l, int oy, int ox, Take take) {
  const Window& w = l.window;
  for (int ky = 0; ky < w.kernel_h; ++ky) {
    for (int kx = 0; kx < w.kernel_w; ++kx) {
      const int64_t y = int64_t{oy} * w.stride_h - w.pad_top + int64_t{ky} * w.dilation_h;
      const int64_t x = int64_t{ox} * w.stride_w - w.pad_left + int64_t{kx} * w.dilation_w;
      if (y >= 0 && y < l.in.height && x >= 0 && x < l.in.width) take(ky, kx, y, x);
    }
  }
}

// Output element (oy, ox, c) of the layer before its activation.
double Conv(const GraphLayer& l, Doubles kernel, Doubles bias, Doubles in, int oy, int ox, int c) {
  const int group_in = l.in.channels / l.groups;
  const int first = c / (l.out.channels / l.groups) * group_in;
  double sum = bias.empty() ? 0 : bias[c];
  ForEachTap(l, oy, ox, [&](int ky, int kx, int64_t y, int64_t x) {
    for (int i = 0; i < group_in; ++i) {
      const int64_t at =
          ((int64_t{c} * group_in + i) * l.window.kernel_h + ky) * l.window.kernel_w + kx;
      sum += kernel[at] * in[At(l.in, y, x, first + i)];
    }
  });
  return sum;
}

double Pool(const GraphLayer& l, Doubles in, int oy, int ox, int c) {
  double sum = 0, largest = -std::numeric_limits<double>::infinity();
  int count = 0;
  ForEachTap(l, oy, ox, [&](int, int, int64_t y, int64_t x) {
    const double v = in[At(l.in, y, x, c)];
    sum += v;
    largest = std::max(largest, v);
    ++count;
  });
  return l.kind == LayerKind::kMaxPool ? largest : sum / count;
}

double DenseUnit(const GraphLayer& l, Doubles kernel, Doubles bias, Doubles in, int unit) {
  double sum = bias.empty() ? 0 : bias[unit];
  for (size_t i = 0; i < in.size(); ++i) sum += kernel[i * l.out.channels + unit] * in[i];
  return sum;
}

// log(sum(exp(v))), without overflow.
double LogSumExp(Doubles v) {
  const double largest = *std::max_element(v.begin(), v.end());
  double sum = 0;
  for (double x : v) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

void Softmax(std::vector<double>& v) {
  const double log_sum = LogSumExp(v);
  for (double& x : v) x = std::exp(x - log_sum);
}

double Activate(v1::Activation activation, double alpha, double x) {
  switch (activation) {
    case v1::ACTIVATION_RELU:
      return std::max(x, 0.0);
    case v1::ACTIVATION_LEAKY_RELU:
      return x < 0 ? alpha * x : x;
    case v1::ACTIVATION_ELU:
      return x < 0 ? alpha * std::expm1(x) : x;
    case v1::ACTIVATION_SIGMOID:
      return 1 / (1 + std::exp(-x));
    case v1::ACTIVATION_TANH:
      return std::tanh(x);
    default:
      return x;
  }
}

}  // namespace

std::vector<double> ReferenceLayer(const GraphLayer& layer, Doubles kernel, Doubles bias,
                                   Doubles in) {
  std::vector<double> out(layer.out.elements());
  for (int y = 0; y < layer.out.height; ++y) {
    for (int x = 0; x < layer.out.width; ++x) {
      for (int c = 0; c < layer.out.channels; ++c) {
        double& o = out[At(layer.out, y, x, c)];
        switch (layer.kind) {
          case LayerKind::kConv2D:
            o = Conv(layer, kernel, bias, in, y, x, c);
            break;
          case LayerKind::kMaxPool:
          case LayerKind::kAveragePool:
            o = Pool(layer, in, y, x, c);
            break;
          case LayerKind::kDense:
            o = DenseUnit(layer, kernel, bias, in, c);
            break;
          default:  // flatten keeps the order; dropout does nothing at inference
            o = in[At(layer.out, y, x, c)];
        }
      }
    }
  }
  if (layer.activation == v1::ACTIVATION_SOFTMAX) {
    Softmax(out);
  } else {
    for (double& o : out) o = Activate(layer.activation, layer.alpha, o);
  }
  return out;
}

std::vector<std::vector<double>> ReferenceActivations(const Graph& graph, Doubles parameters,
                                                      Doubles pixels,
                                                      const DropoutFactor& dropout) {
  std::vector<std::vector<double>> all(1);
  for (double p : pixels) all[0].push_back(p * graph.scale());
  auto array = [&](int index) {
    if (index < 0) return Doubles();
    const Parameter& p = graph.parameters()[index];
    return parameters.subspan(p.offset, p.elements);
  };
  for (size_t l = 0; l < graph.layers().size(); ++l) {
    const GraphLayer& layer = graph.layers()[l];
    all.push_back(ReferenceLayer(layer, array(layer.kernel), array(layer.bias), all.back()));
    if (layer.kind == LayerKind::kDropout && dropout) {
      for (size_t e = 0; e < all.back().size(); ++e) {
        all.back()[e] *= dropout(static_cast<int>(l), static_cast<int64_t>(e));
      }
    }
  }
  return all;
}

std::vector<double> ReferenceProbabilities(const Graph& graph, absl::Span<const float> parameters,
                                           Doubles pixels) {
  const std::vector<double> wide(parameters.begin(), parameters.end());
  std::vector<double> scores = ReferenceActivations(graph, wide, pixels).back();
  if (graph.layers().back().activation != v1::ACTIVATION_SOFTMAX) Softmax(scores);
  return scores;
}

double ReferenceCrossEntropy(Doubles scores, int label) {
  return LogSumExp(scores) - scores[label];
}

}  // namespace convd
