#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Largest number of stages that any function accepts.
inline constexpr std::int64_t kMaxStages = 1024;

/// \brief A pipeline's stages: one latency model each, in the order of the pipeline.
class Stages {
 public:
  /// \param models 1 to kMaxStages of them, otherwise InvalidArgument
  explicit Stages(std::vector<LatencyModel> models);

  /// \brief num_stages stages that are all alike.
  Stages(const LatencyModel& model, std::int64_t num_stages);

  [[nodiscard]] std::size_t size() const noexcept { return models_.size(); }
  [[nodiscard]] const LatencyModel& operator[](std::size_t stage) const { return models_[stage]; }
  [[nodiscard]] std::span<const LatencyModel> models() const noexcept { return models_; }
  [[nodiscard]] bool are_equal() const noexcept { return are_equal_; }

  /// \brief The same stages where every step holds these chunks as well.
  [[nodiscard]] Stages with_overhead(const StepFeatures& features) const;

 private:
  std::vector<LatencyModel> models_;
  bool are_equal_;
};

}  // namespace cpp_chunk
