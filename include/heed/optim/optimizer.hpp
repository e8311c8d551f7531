// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/optim/parameter_groups.hpp>
#include <heed/optim/pieces.hpp>
#include <heed/optim/repeated_entries.hpp>

namespace heed::inline HEED_ABI {

namespace detail {

inline constexpr int kMaxStates = 3;  // of an element: the optimisers' state tensors

/// A run of elements of one parameter, with all that its update needs.
template <class T>
struct OptimizerPiece {
  std::size_t group;  ///< position in `group_options`
  Index step;         ///< 1 at the parameter's first step
  double learning_rate_factor;
  T* value;
  const T* gradient;
  T* state[kMaxStates];  ///< in the order of `state_keys`
  Index count;
  const Shape* shape = nullptr;  ///< of the whole parameter
};

/// The pass over memory: value and states are read and written once, the gradient is read once.
template <class Rule, class T>
struct RulePass {
  template <class Isa>
  HEED_INLINE static void run(Rule rule, OptimizerPiece<T> piece) {
    using P = Packet<Isa, T>;
    P state[kMaxStates];
    for (Index i = 0, left = piece.count; left > 0; i += P::lanes, left -= P::lanes) {
      P value = P::load_partial(piece.value + i, left);
      const P gradient = P::load_partial(piece.gradient + i, left);
#pragma GCC unroll 3
      for (int s = 0; s < Rule::kStates; ++s) state[s] = P::load_partial(piece.state[s] + i, left);
      rule(value, gradient, state);
      value.store_partial(piece.value + i, left);
#pragma GCC unroll 3
      for (int s = 0; s < Rule::kStates; ++s) state[s].store_partial(piece.state[s] + i, left);
    }
  }
};

}  // namespace detail

/// A state tensor of an optimiser under torch's key: "head.weight.exp_avg".
template <class T>
struct NamedState {
  std::string name;      ///< parameter's name and torch's key
  Tensor<T, 1>* tensor;  ///< the optimiser's own
};
/// How many steps a parameter has made: "head.weight.step".
struct NamedStepCount {
  std::string name;  ///< parameter's name and "step"
  Index* count;      ///< the optimiser's own
};

/// What a training loop and a checkpoint know of an optimiser: one that steps parameters (ParameterOptimizer), or several as one (JointOptimizer).
template <class T>
class Optimizer {
 public:
  using scalar = T;
  virtual ~Optimizer() = default;

  /// torch's name of the method: "AdamW".
  virtual std::string_view kind() const = 0;

  /// One step along the gradients, with every group's learning rate multiplied by `learning_rate_factor` (see schedule.hpp).
  /// The gradients stay as they are; `zero_gradients()` starts the next sum. Throws std::invalid_argument for a factor that is negative
  /// or not finite, before anything is changed.
  virtual void step(double learning_rate_factor = 1) = 0;

  /// Throws what `step(learning_rate_factor)` would throw, and changes nothing.
  virtual void check_step(double learning_rate_factor = 1) const = 0;

  /// Sets the gradients of all parameters to zero, frozen ones included.
  virtual void zero_gradients() = 0;

  /// The parameters that it steps, frozen ones included, each once.
  virtual std::vector<NamedParameter<T>> named_parameters() const = 0;

  /// The state of the parameters, in their order, for checkpoints: read it to save, write it to restore (with the step counts). State that no step has
  /// made yet is made here, as zeros. A frozen parameter is left out unless it has made a step. The pointers are valid as long as the
  /// optimiser is not moved.
  virtual std::vector<NamedState<T>> named_state() = 0;
  /// The step counts of the same parameters, for checkpoints: written back, they set where bias corrections and schedules go on.
  virtual std::vector<NamedStepCount> named_step_counts() = 0;
  /// For checkpoints: from now on the two list these parameters, by their names, also if they are frozen and have made no step. Returns those that
  /// were listed so before.
  virtual std::vector<std::string> list_frozen(const std::vector<std::string>& names) = 0;

 protected:
  Optimizer() = default;
  /// Copied and moved as a part of what derives from it.
  /// @{
  Optimizer(const Optimizer&) = default;
  Optimizer(Optimizer&&) noexcept = default;
  Optimizer& operator=(const Optimizer&) = default;
  Optimizer& operator=(Optimizer&&) noexcept = default;
  /// @}
};

/// What all methods share: the parameters and their groups, the state of each, and one fused parallel pass a step. A method adds
/// its options and an update rule (see Adam, Sgd).
///
/// Parameters come from `named_parameters(model)`; the model must outlive the optimiser and stay where it is. A parameter that is frozen
/// or has no gradient is passed over: its value, state and step count stand still. State is made at a parameter's first step; later steps
/// allocate nothing. Results do not depend on the number of threads: the update of an element depends on nothing but that element, or
/// that of a parameter on that parameter.
template <class T>
class ParameterOptimizer : public Optimizer<T> {
 public:
  void step(double learning_rate_factor = 1) override;
  void check_step(double learning_rate_factor = 1) const override;
  void zero_gradients() override;
  std::vector<NamedParameter<T>> named_parameters() const override;
  std::vector<NamedState<T>> named_state() override;
  std::vector<NamedStepCount> named_step_counts() override;
  std::vector<std::string> list_frozen(const std::vector<std::string>& names) override;

 protected:
  /// What `update` is given: a part of one parameter.
  using Piece = detail::OptimizerPiece<T>;

  /// A parameter that appears under two names (tied weights) is stepped once, under the first; rules look at that name, too.
  template <class Changes>
  ParameterOptimizer(const std::vector<NamedParameter<T>>& parameters, const std::vector<ParameterRule<Changes>>& rules) {
    require(!parameters.empty(), "Optimizer: there are no parameters");
    const Tensor<bool, 1> repeated = repeated_entries(parameters, &NamedParameter<T>::parameter);
    for (std::size_t k = 0; k < parameters.size(); ++k)
      if (!repeated[static_cast<Index>(k)]) entries_.push_back({parameters[k].name, parameters[k].parameter, 0, 0, false, {}});
    const std::vector<std::size_t> groups = assign_groups(entries_, rules);
    for (std::size_t k = 0; k < entries_.size(); ++k) entries_[k].group = groups[k];
  }
  /// A copy has its own state and steps the same parameters.
  /// @{
  ParameterOptimizer(const ParameterOptimizer&) = default;
  ParameterOptimizer(ParameterOptimizer&&) noexcept = default;
  ParameterOptimizer& operator=(const ParameterOptimizer&) = default;
  ParameterOptimizer& operator=(ParameterOptimizer&&) noexcept = default;
  /// @}

  /// torch's keys of the state tensors that a group needs. What ends in "_sq" is a mean of squares: a checkpoint with a negative one is refused.
  virtual std::span<const std::string_view> state_keys(std::size_t group) const = 0;
  /// Works off one piece; called from several threads. Ends in `run(rule, piece)`.
  virtual void update(const Piece& piece) const = 0;
  /// A method whose update looks at whole parameters says no: then each piece is one, and they come one after another on the calling
  /// thread, so that the update may be parallel inside.
  virtual bool elementwise() const { return true; }
  /// Throws std::invalid_argument for a parameter that the method has no rule for; asked before each step, as a parameter may have been thawed.
  virtual void check_parameter(std::string_view /*name*/, const Shape& /*shape*/) const {}
  /// Calls `f(name, parameter)` for what is not frozen, for checks of a constructor.
  template <class F>
  void each_trainable(const F& f) const {
    for (const Entry& e : entries_)
      if (!e.parameter->frozen()) f(e.name, *e.parameter);
  }

  /// The group of the parameter that is called `name`.
  std::size_t group_of(std::string_view name) const {
    for (const Entry& e : entries_)
      if (e.name == name) return e.group;
    fail("Optimizer: there is no parameter \"", name, "\"");
  }

  /// Applies `rule(value, gradient, states)` to a piece, a register at a time. Rule::kStates says how many states it has.
  template <class Rule>
  static void run(const Rule& rule, const Piece& piece) {
    dispatch<detail::RulePass<Rule, T>, T>(rule, piece);
  }

 private:
  struct Entry {
    std::string name;
    Parameter<T>* parameter;
    std::size_t group;
    Index steps;
    bool listed;  // asked for by a checkpoint
    std::vector<Tensor<T, 1>> state;
  };

  static bool moves(const Entry& e) { return !e.parameter->frozen() && e.parameter->has_gradient(); }
  static bool has_state(const Entry& e) { return !e.parameter->frozen() || e.steps > 0 || e.listed; }

  void make_state(Entry& e) const {
    if (!e.state.empty()) return;
    HEED_ASSERT(state_keys(e.group).size() <= detail::kMaxStates);
    for (std::size_t s = 0; s < state_keys(e.group).size(); ++s) e.state.push_back(Tensor<T, 1>::lasting({e.parameter->size()}));
  }

  std::vector<Entry> entries_;
};

// Behind the class, so that files which do not compile them (HEED_COMPILED) need not look at them: a compiler instantiates what is written inside, to inline it.

template <class T>
void ParameterOptimizer<T>::check_step(double learning_rate_factor) const {
  require(std::isfinite(learning_rate_factor) && learning_rate_factor >= 0, this->kind(),
      ": the learning rate's factor of a step must be finite and not negative, is ", learning_rate_factor);
  for (const Entry& e : entries_) {
    if (!moves(e)) continue;
    check_parameter(e.name, e.parameter->shape());
    for (const Tensor<T, 1>& state : e.state)
      require<ShapeError>(state.size() == e.parameter->size(), this->kind(), ": ", e.name, " had ", state.size(), " elements and is ",
          e.parameter->shape(), " now; a model that was replaced by one of other sizes needs a new optimiser");
  }
}

template <class T>
void ParameterOptimizer<T>::step(double learning_rate_factor) {
  check_step(learning_rate_factor);
  for (Entry& e : entries_) {
    if (!moves(e)) continue;
    ++e.steps;
    make_state(e);
  }
  const auto size_of = [&](std::size_t k) { return moves(entries_[k]) ? entries_[k].parameter->size() : 0; };
  const auto update_piece = [&](std::size_t k, Index from, Index to, Index /*place*/) {
    Entry& e = entries_[k];
    Piece piece{e.group, e.steps, learning_rate_factor, e.parameter->value() + from, e.parameter->gradient() + from, {}, to - from,
        &e.parameter->shape()};
    for (std::size_t s = 0; s < e.state.size(); ++s) piece.state[s] = e.state[s].data() + from;
    update(piece);
  };
  const Index length = line_length(entries_.size(), size_of);
  if (!elementwise()) return for_each_piece(entries_.size(), size_of, 0, length, update_piece);
  parallel_for(length, kPieceElements, [&](Index begin, Index end) { for_each_piece(entries_.size(), size_of, begin, end, update_piece); });
}

template <class T>
void ParameterOptimizer<T>::zero_gradients() {
  const auto size_of = [&](std::size_t k) { return entries_[k].parameter->has_gradient() ? entries_[k].parameter->size() : 0; };
  parallel_for(line_length(entries_.size(), size_of), kPieceElements, [&](Index begin, Index end) {
    for_each_piece(entries_.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to, Index /*place*/) {
      std::fill_n(entries_[k].parameter->gradient() + from, to - from, T(0));
    });
  });
}

template <class T>
std::vector<NamedParameter<T>> ParameterOptimizer<T>::named_parameters() const {
  std::vector<NamedParameter<T>> found;
  for (const Entry& e : entries_) found.push_back({e.name, e.parameter});
  return found;
}

template <class T>
std::vector<NamedState<T>> ParameterOptimizer<T>::named_state() {
  std::vector<NamedState<T>> found;
  for (Entry& e : entries_) {
    if (!has_state(e)) continue;
    make_state(e);
    for (std::size_t s = 0; s < e.state.size(); ++s) found.push_back({text(e.name, '.', state_keys(e.group)[s]), &e.state[s]});
  }
  return found;
}

template <class T>
std::vector<NamedStepCount> ParameterOptimizer<T>::named_step_counts() {
  std::vector<NamedStepCount> found;
  for (Entry& e : entries_)
    if (has_state(e)) found.push_back({e.name + ".step", &e.steps});
  return found;
}

template <class T>
std::vector<std::string> ParameterOptimizer<T>::list_frozen(const std::vector<std::string>& names) {
  std::vector<std::string> before;
  for (Entry& e : entries_) {
    if (e.listed) before.push_back(e.name);
    e.listed = std::find(names.begin(), names.end(), e.name) != names.end();
  }
  return before;
}

HEED_COMPILE_CLASS_ONCE(ParameterOptimizer);

}  // namespace heed::inline HEED_ABI
