#include "cpp_chunk/simulator/simulated_pipeline.h"

#include "cpp_chunk/check.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

void SimulatedPipeline::check() const {
  check_count("the number of stages", static_cast<std::int64_t>(stages.size()), 1, kMaxStages);
  check_count("max_num_batched_tokens", max_num_batched_tokens, 1);
  check_count("max_num_seqs", max_num_seqs, 1);
  check_number("gap_ms", gap_ms);
  check_number("transfer_ms", transfer_ms);
  check_number("transfer_ms_per_token", transfer_ms_per_token);
  check_count("max_in_flight", in_flight_limit(), 1, kMaxInFlight);
  check_count("max_concurrency", max_concurrency.value_or(1), 1);
}

}  // namespace cpp_chunk
