#include "cpp_chunk/stages.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

std::vector<LatencyModel> repeated(const LatencyModel& model, std::int64_t num_stages) {
  check_count("num_stages", num_stages, 1, kMaxStages);
  return {static_cast<std::size_t>(num_stages), model};
}

}  // namespace

Stages::Stages(std::vector<LatencyModel> models, std::optional<std::int64_t> max_in_flight)
    : models_(std::move(models)),
      max_in_flight_(max_in_flight.value_or(static_cast<std::int64_t>(models_.size()))) {
  if (models_.empty() || models_.size() > static_cast<std::size_t>(kMaxStages)) {
    throw InvalidArgument({.field = "stages", .value = std::to_string(models_.size())},
                          "a pipeline has 1 to " + std::to_string(kMaxStages) + " stages, got " +
                              std::to_string(models_.size()));
  }
  check_count("max_in_flight", max_in_flight_, 1, kMaxInFlight);
  are_equal_ = std::ranges::all_of(
      models_, [this](const LatencyModel& model) { return model == models_.front(); });
}

Stages::Stages(const LatencyModel& model, std::int64_t num_stages,
               std::optional<std::int64_t> max_in_flight)
    : Stages(repeated(model, num_stages), max_in_flight) {}

Stages Stages::with_models(std::vector<LatencyModel> models) const {
  return Stages(std::move(models), max_in_flight_);
}

Stages Stages::with_overhead(const StepFeatures& features) const {
  std::vector<LatencyModel> models;
  models.reserve(models_.size());
  for (const LatencyModel& model : models_) {
    models.push_back(model.with_overhead(model.chunks_ms(features)));
  }
  return with_models(std::move(models));
}

}  // namespace cpp_chunk
