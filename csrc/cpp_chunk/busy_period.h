#pragma once

#include <cstddef>
#include <deque>

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
  /// \brief Prompts of work_ms have come to an idle pipeline: what was before no longer counts.
  void begin(double work_ms);

  /// \brief Prompts of work_ms have joined.
  /// \param present_ms work waiting, under way and in flight without them
  void join(double work_ms, double present_ms);

  /// \brief The step time that would have lost least, in ms, the constant included.
  /// \param constant_ms of a step on the slowest stage
  /// \param other_rounds what the other stages take, in steps of the slowest: S - 1 if all are
  /// equal
  /// \return infinite where nothing would be lost with longer steps
  [[nodiscard]] double best_step_ms(double constant_ms, double other_rounds) const;

 private:
  struct Join {
    double work_ms;
    double present_ms;
  };

  double first_work_ms_ = 0.0;
  std::deque<Join> joins_;  ///< the latest ones
};

}  // namespace cpp_chunk
