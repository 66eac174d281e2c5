#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Largest number of stages that any function accepts.
inline constexpr std::int64_t kMaxStages = 1024;

/// \brief Most steps in flight that any function accepts: two a stage.
inline constexpr std::int64_t kMaxInFlight = 2 * kMaxStages;

/// \brief A pipeline's stages: one latency model each, in the order of the pipeline, and how many
/// steps the engine keeps in them.
class Stages {
 public:
  /// \param models 1 to kMaxStages of them
  /// \param max_in_flight steps scheduled that have not left the last stage, 1 to kMaxInFlight; by
  ///   default as many as stages (vLLM's batch queue without asynchronous scheduling)
  /// \throws InvalidArgument
  explicit Stages(std::vector<LatencyModel> models,
                  std::optional<std::int64_t> max_in_flight = std::nullopt);

  /// \brief num_stages stages that are all alike.
  Stages(const LatencyModel& model, std::int64_t num_stages,
         std::optional<std::int64_t> max_in_flight = std::nullopt);

  [[nodiscard]] std::size_t size() const noexcept { return models_.size(); }
  [[nodiscard]] const LatencyModel& operator[](std::size_t stage) const { return models_[stage]; }
  [[nodiscard]] std::span<const LatencyModel> models() const noexcept { return models_; }
  [[nodiscard]] bool are_equal() const noexcept { return are_equal_; }
  [[nodiscard]] std::int64_t max_in_flight() const noexcept { return max_in_flight_; }

  /// \brief Other models of the same pipeline.
  /// \param models as many as before
  [[nodiscard]] Stages with_models(std::vector<LatencyModel> models) const;

  /// \brief The same stages where every step holds these chunks as well.
  [[nodiscard]] Stages with_overhead(const StepFeatures& features) const;

 private:
  std::vector<LatencyModel> models_;
  bool are_equal_;
  std::int64_t max_in_flight_;
};

}  // namespace cpp_chunk
