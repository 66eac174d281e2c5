#pragma once

#include <deque>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/uncut_work.h"

namespace cpp_chunk {

/// \brief What prompts found when they joined a pipeline that has been busy: the step time that
/// would have lost least tells the next one.
///
/// Two things lose time. Each step costs its constant c: B ms of work in steps of x + c ms lose
/// B*c/x. And steps that are long leave stages empty: R stages besides the slowest are full only
/// while R*x ms of work are present, so that a prompt that finds P < R*x comes R*x - P too late.
/// The best x is where the two slopes meet, B*c/x^2 = R * (number of joins with P < R*x), as in the
/// newsvendor's problem. A prompt that finds nothing (P = 0) pays for the whole fill: alone it
/// gives x = sqrt(W*c/R), the best step time of one prompt.
class BusyPeriod {
 public:
  /// \brief Prompts have come to an idle pipeline: what was before no longer counts.
  void begin(const UncutWork& work);

  /// \brief Prompts have joined.
  /// \param present work waiting, under way and in flight without them
  void join(const UncutWork& work, const UncutWork& present);

  /// \brief Work that had joined will not be done: it was aborted, or is in the prefix cache.
  void withdraw(const UncutWork& work);

  /// \brief The step time that would have lost least, in ms, the constant included.
  /// \param cost of the slowest stage
  /// \param overhead_ms what each step costs beyond its work: the constant and its decodes
  /// \param other_rounds what the other stages take, in steps of the slowest: S - 1 if all are
  /// equal
  /// \return infinite where nothing would be lost with longer steps
  [[nodiscard]] double best_step_ms(const Coefficients& cost, double overhead_ms,
                                    double other_rounds) const;

 private:
  struct Join {
    UncutWork work;
    UncutWork present;
  };

  UncutWork first_work_;    ///< of those that found nothing
  std::deque<Join> joins_;  ///< the latest ones
};

}  // namespace cpp_chunk
