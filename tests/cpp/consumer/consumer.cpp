#include <cpp_chunk/plan.h>

#include <cstdio>

int main() {
  const cpp_chunk::LatencyModel model({.linear = 0.01, .constant = 10.0});
  const auto plan = cpp_chunk::plan_chunks({model, 4}, 16'384, {.max_chunk_tokens = 8192});
  for (const std::int64_t num_tokens : plan.chunks) {
    std::printf("%lld\n", static_cast<long long>(num_tokens));
  }
}
