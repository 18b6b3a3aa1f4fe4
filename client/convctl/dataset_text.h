#ifndef CONVD_CLIENT_CONVCTL_DATASET_TEXT_H_
#define CONVD_CLIENT_CONVCTL_DATASET_TEXT_H_

#include <string>
#include <vector>

#include "client/convctl/terminal.h"
#include "convd/v1/datasets.pb.h"
#include "convd/v1/model.pb.h"
#include "core/data/pixel_statistics.h"

namespace convd {

// "72.9", or a value a channel: "125.3 / 123.0 / 113.9"; "-" where there are none.
std::string ChannelValues(const google::protobuf::RepeatedField<double>& values);

// What waits to be gone on with, a line each.
std::string UploadsTable(const std::vector<v1::Upload>& uploads);

// The first sample of each answer with its class below, beside each other where lines of `width`
// columns have room. Empty where none can be drawn; of an answer that makes no sense nothing is.
std::string DrawSamples(const std::vector<v1::GetSamplesResponse>& answers,
                        const v1::Dataset& dataset, const Terminal& terminal, int width);

// "" unless the background of images, or sets of them, is light where that of those trained on is
// dark, or the other way round: then a sentence that says so. Nothing is said where either is in
// other units than 0 to 255.
std::string BackgroundWarning(const std::vector<PixelStatistics>& predicted,
                              const v1::PixelStatistics& trained);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_DATASET_TEXT_H_
