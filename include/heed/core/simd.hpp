// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <heed/core/isa.hpp>
#include <heed/core/shape.hpp>

// Vector types stand here; only load_columns.hpp, which shuffles, and integer_packet.hpp use them, too.
#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // about vectors that cross function calls; ours never do, everything here is inlined
#endif

namespace heed::inline HEED_ABI {

HEED_AS_WRITTEN_BEGIN;  // the exponentials round by adding a number and taking it away

/// Copies `count` numbers, fewer than `limit` (a power of two), in pieces whose lengths are powers of two; none if `count` is not positive.
template <int limit, class T>
HEED_INLINE void copy_few(const T* from, T* to, Index count) {
  if (count <= 0) return;
#pragma GCC unroll 8
  for (int piece = limit / 2; piece > 0; piece /= 2)
    if ((count & piece) != 0) {
      std::copy_n(from, piece, to);
      from += piece, to += piece;
    }
}

namespace detail {
/// The compiler may not look where a register's number came from.
template <class Register>
HEED_INLINE void hide([[maybe_unused]] Register& number) {
#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#if defined(__x86_64__)
  asm("" : "+v"(number));
#elif defined(__aarch64__)
  asm("" : "+w"(number));
#endif
#endif
}
}  // namespace detail

/// A register full of T. All operations are element by element.
template <class Isa, class T>
struct Packet;

/// One element: what makes every kernel run on number-like types, such as the dual numbers of the certificate.
template <class T>
struct Packet<Scalar, T> {
  static constexpr int lanes = 1;  ///< elements in a register
  T v;                             ///< the register

  /// To and from memory of any alignment that T may have, and bytes that are not said to be numbers of T. `broadcast` fills all lanes with one number; partial ones touch `count` elements only, and lanes behind them are
  /// `fill`.
  /// @{
  static Packet zero() { return {T(0)}; }
  static Packet broadcast(const T& s) { return {s}; }
  static Packet load(const T* p) { return {*p}; }
  static Packet load_partial(const T* p, Index count, const T& fill = T(0)) { return {count > 0 ? *p : fill}; }
  void store(T* p) const { *p = v; }
  static Packet load_bytes(const void* p) {
    Packet r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  void store_bytes(void* p) const { std::memcpy(p, &v, sizeof v); }
  void store_partial(T* p, Index count) const {
    if (count > 0) *p = v;
  }
  /// @}
  /// Lane by lane.
  /// @{
  friend Packet operator+(const Packet& a, const Packet& b) { return {a.v + b.v}; }
  friend Packet operator-(const Packet& a, const Packet& b) { return {a.v - b.v}; }
  friend Packet operator*(const Packet& a, const Packet& b) { return {a.v * b.v}; }
  friend Packet operator/(const Packet& a, const Packet& b) { return {a.v / b.v}; }
  friend Packet operator-(const Packet& a) { return {-a.v}; }
  /// @}
  /// a * b + c, rounded once where the instruction set can
  static Packet fma(const Packet& a, const Packet& b, const Packet& c) {
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
      T addend = c.v;
      detail::hide(addend);
      return {a.v * b.v + addend};
    }
    return {a.v * b.v + c.v};
  }
  /// a > b ? x : y
  static Packet select_greater(const Packet& a, const Packet& b, const Packet& x, const Packet& y) { return {a.v > b.v ? x.v : y.v}; }
  /// Lane by lane; of a NaN and a number, b.
  /// @{
  static Packet max(const Packet& a, const Packet& b) { return {a.v > b.v ? a.v : b.v}; }
  static Packet min(const Packet& a, const Packet& b) { return {a.v < b.v ? a.v : b.v}; }
  /// @}
  /// a where it is NaN, else b
  static Packet nan_or(const Packet& a, const Packet& b) { return {a.v != a.v ? a.v : b.v}; }
  /// Lane by lane.
  static Packet sqrt(const Packet& a) {
    using std::sqrt;
    return {T(sqrt(a.v))};
  }
  /// Over the lanes, in a fixed order.
  /// @{
  T sum() const { return v; }
  T largest() const { return v; }
  /// @}

  /// Numbers of a smaller type (uint8_t, int32_t, float), one a lane, as T; on the way back they are cut or rounded.
  template <class Number>
  static Packet load_numbers(const Number* p) {
    if constexpr (std::is_integral_v<Number>)
      return {T(static_cast<std::int32_t>(*p))};
    else
      return {T(*p)};
  }
  /// The way back of `load_numbers`, to `lanes` numbers at p.
  template <class Number>
  void store_numbers(Number* p) const {
    using Source = std::conditional_t<std::is_floating_point_v<T>, T, double>;  // number-like types convert to double
    if constexpr (std::is_same_v<Number, T>) *p = v;
    if constexpr (!std::is_same_v<Number, T>) *p = static_cast<Number>(static_cast<Source>(v));
  }

  /// Packet i's lane j becomes packet j's lane i.
  static void transpose(Packet (&)[1]) {}
  /// From a0 a1 ... b0 b1 ... to a0 a2 ... b0 b2 ... and a1 a3 ... b1 b3 ...; join_pairs is the way back.
  static void split_pairs(const Packet& a, const Packet& b, Packet& first, Packet& second) { first = a, second = b; }
  /// a0 b0 a1 b1 ... of `first` and `second`: the way back of split_pairs.
  static void join_pairs(const Packet& first, const Packet& second, Packet& a, Packet& b) { a = first, b = second; }
  static constexpr int flag_bytes = 1, flag_groups = 1;  ///< flags of one byte for `flag_groups` packets are read at once
  /// Lanes of x where the byte of flags that belongs to the lane is not 0, else of y. The template argument is the group.
  template <int>
  static Packet select_flags(const unsigned char* flags, const Packet& x, const Packet& y) {
    return flags[0] ? x : y;
  }
};

#if HEED_HAS_VECTORS

namespace detail {
#if HEED_HAS_X86_DISPATCH
// g++ declares its built-ins at the first function that has their target.
__attribute__((target(HEED_AVX512_TARGET))) inline void declare_built_ins() {}
#endif
#if defined(__clang__)
extern "C" float heed_quiet_sqrtf(float) __asm__("sqrtf") __attribute__((const));
extern "C" double heed_quiet_sqrt(double) __asm__("sqrt") __attribute__((const));
HEED_INLINE float quiet_sqrt(float x) { return heed_quiet_sqrtf(x); }
HEED_INLINE double quiet_sqrt(double x) { return heed_quiet_sqrt(x); }
#else
HEED_INLINE float quiet_sqrt(float x) { return __builtin_sqrtf(x); }
HEED_INLINE double quiet_sqrt(double x) { return __builtin_sqrt(x); }
#endif

template <class T>
using bits_of = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// Lanes `Half` * lanes / 2 ... of a and b in turns: a b a b ...
template <class Vector, int Half, std::size_t... I>
HEED_INLINE void interleave(const Vector& a, const Vector& b, Vector& result, std::index_sequence<I...>) {
  constexpr int lanes = sizeof...(I);
  result = __builtin_shufflevector(a, b, (Half * lanes / 2 + static_cast<int>(I) / 2 + (I % 2 ? lanes : 0))...);
}
/// Elements Half, Half + 2, ... of a and b, one behind the other.
template <class Vector, int Half, std::size_t... I>
HEED_INLINE void every_other(const Vector& a, const Vector& b, Vector& result, std::index_sequence<I...>) {
  result = __builtin_shufflevector(a, b, (2 * static_cast<int>(I) + Half)...);
}
/// Element i xor Half of a.
template <class Vector, int Half, std::size_t... I>
HEED_INLINE void exchange(const Vector& a, Vector& result, std::index_sequence<I...>) {
  result = __builtin_shufflevector(a, a, (static_cast<int>(I) ^ Half)...);
}
/// The 32-bit words that hold the flags of group `Group`, one a 32-bit lane.
template <class Words, int Group, int Lanes, std::size_t... I>
HEED_INLINE void spread_words(const Words& words, Words& result, std::index_sequence<I...>) {
  constexpr int lane_words = static_cast<int>(sizeof...(I)) / Lanes;
  result = __builtin_shufflevector(words, words, ((Group * Lanes + static_cast<int>(I) / lane_words) / 4)...);
}
/// The byte of those words that is the flag of each lane.
template <class Integer, int Group, class Integers, std::size_t... I>
HEED_INLINE void flag_masks(Integers& result, std::index_sequence<I...>) {
  constexpr int lanes = sizeof...(I);
  result = Integers{(Integer(0xff) << ((Group * lanes + static_cast<int>(I)) % 4 * 8))...};
}
/// `s` in all lanes. g++ 12 makes one instruction of its built-in function with any flags; of a loop with -O2 only (-O3: a masked move a lane, -Os: a loop through
/// memory), of s - Vector{} with -O2 and -O3, where s comes from memory. With 16 bytes s - Vector{} is good everywhere, and for clang the loop.
template <class Isa, class Vector, class Number>
HEED_INLINE void fill_lanes([[maybe_unused]] Number s, Vector& v) {
#if defined(__clang__)
  for (int i = 0; i < Isa::bytes / static_cast<int>(sizeof(Number)); ++i) v[i] = s;
#else
  if constexpr (Isa::bytes == Baseline::bytes) v = s - Vector{};
#if HEED_HAS_X86_DISPATCH
  typedef Number Few __attribute__((vector_size(16)));
  typedef float Floats __attribute__((vector_size(16))), Floats512 __attribute__((vector_size(64)));
  typedef double Doubles __attribute__((vector_size(16))), Doubles512 __attribute__((vector_size(64)));
  [[maybe_unused]] const Few few{s};  // bits, whatever they are taken for
  if constexpr (std::is_same_v<Isa, Avx512> && sizeof(Number) == 4)
    v = reinterpret_cast<Vector>(__builtin_ia32_broadcastss512(reinterpret_cast<Floats>(few), Floats512{}, 0xffff));
  if constexpr (std::is_same_v<Isa, Avx512> && sizeof(Number) == 8)
    v = reinterpret_cast<Vector>(__builtin_ia32_broadcastsd512(reinterpret_cast<Doubles>(few), Doubles512{}, 0xff));
  if constexpr (std::is_same_v<Isa, Avx2> && sizeof(Number) == 4)
    v = reinterpret_cast<Vector>(__builtin_ia32_vbroadcastss_ps256(reinterpret_cast<Floats>(few)));
  if constexpr (std::is_same_v<Isa, Avx2> && sizeof(Number) == 8)
    v = reinterpret_cast<Vector>(__builtin_ia32_vbroadcastsd_pd256(reinterpret_cast<Doubles>(few)));
#endif
#endif
}
}  // namespace detail

/// A compiler vector of `Isa::bytes` bytes, passed by reference (passing one by value makes g++ talk about calling conventions). The struct around it keeps clang from rejecting calls between functions of different
/// targets; the calls are inlined away.
template <class Isa, class T>
  requires(Isa::bytes > 0 && std::is_floating_point_v<T>)
struct Packet<Isa, T> {
  static constexpr int lanes = Isa::bytes / static_cast<int>(sizeof(T));
  using Integer = detail::bits_of<T>;
  typedef T Vector __attribute__((vector_size(Isa::bytes)));
  typedef T Unaligned __attribute__((vector_size(Isa::bytes), aligned(alignof(T)), may_alias));
  typedef T Bytes __attribute__((vector_size(Isa::bytes), aligned(1), may_alias));
  typedef Integer Integers __attribute__((vector_size(Isa::bytes)));
  typedef std::make_signed_t<Integer> SignedIntegers __attribute__((vector_size(Isa::bytes)));

  Vector v;

  HEED_INLINE static Packet zero() { return {Vector{}}; }
  HEED_INLINE static Packet broadcast(T s) {
    Packet r;
    detail::fill_lanes<Isa>(s, r.v);
    return r;
  }
  HEED_INLINE static Packet load(const T* p) { return {*reinterpret_cast<const Unaligned*>(p)}; }
  /// A mask of the first `count` < lanes lanes.
  static constexpr auto first_lanes(Index count) {
    return static_cast<std::conditional_t<lanes == 8, unsigned char, unsigned short>>((1u << (count > 0 ? count : 0)) - 1);
  }
  /// The first `count` elements, `fill` in the other lanes. (g++ makes masked moves of it for AVX-512; lane by lane through memory, rows of 49 or 100
  /// numbers took three to five times as long.)
  HEED_INLINE static Packet load_partial(const T* p, Index count, T fill = T(0)) {
    if (count >= lanes) return load(p);
#if HEED_HAS_X86_DISPATCH && !defined(__clang__)
    if constexpr (std::is_same_v<Isa, Avx512> && sizeof(T) == 4)
      return {__builtin_ia32_loadups512_mask(p, broadcast(fill).v, first_lanes(count))};
    if constexpr (std::is_same_v<Isa, Avx512> && sizeof(T) == 8)
      return {__builtin_ia32_loadupd512_mask(p, broadcast(fill).v, first_lanes(count))};
#endif
    Packet r = broadcast(fill);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i)  // constant positions stay in the register
      if (i < count) r.v[i] = p[i];
    return r;
  }
  HEED_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = v; }
  HEED_INLINE static Packet load_bytes(const void* p) { return {*static_cast<const Bytes*>(p)}; }
  HEED_INLINE void store_bytes(void* p) const { *static_cast<Bytes*>(p) = v; }
  HEED_INLINE void store_partial(T* p, Index count) const {
    if (count >= lanes) return store(p);
    T spill[lanes];  // masked stores took up to 1.3 times as long in rows of 24 numbers, single numbers 1.1 times
    store(spill);
    copy_few<lanes>(spill, p, count);
  }
  HEED_INLINE friend Packet operator+(const Packet& a, const Packet& b) { return {a.v + b.v}; }
  HEED_INLINE friend Packet operator-(const Packet& a, const Packet& b) { return {a.v - b.v}; }
  HEED_INLINE friend Packet operator*(const Packet& a, const Packet& b) { return {a.v * b.v}; }
  HEED_INLINE friend Packet operator/(const Packet& a, const Packet& b) { return {a.v / b.v}; }
  HEED_INLINE friend Packet operator-(const Packet& a) { return {-a.v}; }
  /// One instruction wherever there is one, so that copies of a loop have the same bits. g++ makes one of a product and a sum where it thinks it best: tuned for
  /// some CPUs (-march=znver3) not in a loop with one chain of sums; so the addend is hidden, whose chain it looks for. (By a built-in function vectors would have
  /// it with -O1, too, and single numbers not.) clang makes one of every such expression.
  HEED_INLINE static Packet fma(const Packet& a, const Packet& b, const Packet& c) {
    Vector addend = c.v;
#if !defined(__FMA__) && !defined(__aarch64__)
    if constexpr (!std::is_same_v<Isa, Baseline>)  // which has none then; SSE2's products lost 14 % to the hiding
#endif
      detail::hide(addend);
    return {a.v * b.v + addend};
  }
  HEED_INLINE static Packet select_greater(const Packet& a, const Packet& b, const Packet& x, const Packet& y) {
    return {a.v > b.v ? x.v : y.v};
  }
  HEED_INLINE static Packet max(const Packet& a, const Packet& b) { return {a.v > b.v ? a.v : b.v}; }
  HEED_INLINE static Packet min(const Packet& a, const Packet& b) { return {a.v < b.v ? a.v : b.v}; }
  HEED_INLINE static Packet nan_or(const Packet& a, const Packet& b) { return {a.v != a.v ? a.v : b.v}; }
  /// Correctly rounded; NaN below 0.
  HEED_INLINE static Packet sqrt(const Packet& a) {
    // A loop of plain sqrt sets errno and so stays a loop (five times the time of a step of Adam). g++ has vector built-ins, which it checks
    // where they end up, after inlining; clang makes one instruction of calls that are declared free of side effects.
#if HEED_HAS_X86_DISPATCH && defined(__SSE2__) && !defined(__clang__)
    if constexpr (std::is_same_v<Isa, Avx512> && sizeof(T) == 4) return {__builtin_ia32_sqrtps512_mask(a.v, a.v, -1, 4)};
    if constexpr (std::is_same_v<Isa, Avx512> && sizeof(T) == 8) return {__builtin_ia32_sqrtpd512_mask(a.v, a.v, -1, 4)};
    if constexpr (std::is_same_v<Isa, Avx2> && sizeof(T) == 4) return {__builtin_ia32_sqrtps256(a.v)};
    if constexpr (std::is_same_v<Isa, Avx2> && sizeof(T) == 8) return {__builtin_ia32_sqrtpd256(a.v)};
    if constexpr (Isa::bytes == Baseline::bytes && sizeof(T) == 4) return {__builtin_ia32_sqrtps(a.v)};
    if constexpr (Isa::bytes == Baseline::bytes && sizeof(T) == 8) return {__builtin_ia32_sqrtpd(a.v)};
#elif defined(__aarch64__) && !defined(__clang__)
    if constexpr (sizeof(T) == 4) return {__builtin_aarch64_sqrtv4sf(a.v)};
    if constexpr (sizeof(T) == 8) return {__builtin_aarch64_sqrtv2df(a.v)};
#endif
    Packet r = a;
    for (int i = 0; i < lanes; ++i) r.v[i] = detail::quiet_sqrt(a.v[i]);
    return r;
  }
  /// The lanes are added in a tree, lane i to lane i + lanes / 2 and so on: the order is fixed by the lanes alone.
  HEED_INLINE T sum() const {
    Packet r = *this;
    if constexpr (lanes > 8) r = r + r.template swap_halves<8>();
    if constexpr (lanes > 4) r = r + r.template swap_halves<4>();
    if constexpr (lanes > 2) r = r + r.template swap_halves<2>();
    return (r + r.template swap_halves<1>()).v[0];
  }
  /// A NaN may be passed over.
  HEED_INLINE T largest() const {
    Packet r = *this;
    if constexpr (lanes > 8) r = max(r, r.template swap_halves<8>());
    if constexpr (lanes > 4) r = max(r, r.template swap_halves<4>());
    if constexpr (lanes > 2) r = max(r, r.template swap_halves<2>());
    return max(r, r.template swap_halves<1>()).v[0];
  }
  /// Lane i is exchanged with lane i xor `Half`. (Through memory g++ 12 adds lane by lane and waits for its own stores.)
  template <int Half>
  HEED_INLINE Packet swap_halves() const {
    Packet r;
    detail::exchange<Vector, Half>(v, r.v, std::make_index_sequence<lanes>());
    return r;
  }

  /// Numbers of a smaller type (uint8_t, int32_t, float), one a lane, as T; on the way back they are cut or rounded.
  template <class Number>
  HEED_INLINE static Packet load_numbers(const Number* p) {
    // g++ 12 widens bytes to 32 bits lane by lane, but step by step it does not.
    using Step = std::conditional_t<sizeof(Number) == 1, std::uint16_t, Number>;
    typedef Number Numbers __attribute__((vector_size(lanes * sizeof(Number))));
    typedef Step Steps __attribute__((vector_size(lanes * sizeof(Step))));
    typedef std::int32_t Wide __attribute__((vector_size(lanes * 4)));
    Numbers numbers;
    std::memcpy(&numbers, p, sizeof numbers);
    if constexpr (std::is_floating_point_v<Number>) return {__builtin_convertvector(numbers, Vector)};
    return {__builtin_convertvector(__builtin_convertvector(__builtin_convertvector(numbers, Steps), Wide), Vector)};
  }
  template <class Number>
  HEED_INLINE void store_numbers(Number* p) const {
    typedef Number Numbers __attribute__((vector_size(lanes * sizeof(Number))));
    typedef std::int32_t Wide __attribute__((vector_size(lanes * 4)));
    Numbers numbers;
    if constexpr (std::is_floating_point_v<Number>)
      numbers = __builtin_convertvector(v, Numbers);
    else
      numbers = __builtin_convertvector(__builtin_convertvector(v, Wide), Numbers);
    std::memcpy(p, &numbers, sizeof numbers);
  }

  /// Lane j of rows[i] goes to lane i of rows[j].
  HEED_INLINE static void transpose(Packet (&rows)[lanes]) {
    Packet next[lanes];
#pragma GCC unroll 4
    for (int stage = 1; stage < lanes; stage *= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < lanes / 2; ++i) join_pairs(rows[i], rows[i + lanes / 2], next[2 * i], next[2 * i + 1]);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) rows[i] = next[i];
    }
  }

  HEED_INLINE static void split_pairs(const Packet& a, const Packet& b, Packet& first, Packet& second) {
    detail::every_other<Vector, 0>(a.v, b.v, first.v, std::make_index_sequence<lanes>());
    detail::every_other<Vector, 1>(a.v, b.v, second.v, std::make_index_sequence<lanes>());
  }
  HEED_INLINE static void join_pairs(const Packet& first, const Packet& second, Packet& a, Packet& b) {
    detail::interleave<Vector, 0>(first.v, second.v, a.v, std::make_index_sequence<lanes>());
    detail::interleave<Vector, 1>(first.v, second.v, b.v, std::make_index_sequence<lanes>());
  }
  /// Adding and then subtracting it rounds numbers below 2^22 (2^51 in double) to the nearest whole number.
  static constexpr T kRound = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);
  /// a * 2^n, where `rounded` is n + kRound; a and the result must be normal numbers (NaN may become any number).
  HEED_INLINE static Packet times_power_of_two(const Packet& a, const Packet& rounded) {
    constexpr int mantissa = sizeof(T) == 4 ? 23 : 52;
    return {reinterpret_cast<Vector>(reinterpret_cast<Integers>(a.v) + (reinterpret_cast<Integers>(rounded.v) << mantissa))};
  }

  /// Flags of one byte for `flag_groups` packets are read at once.
  static constexpr int flag_bytes = Isa::bytes, flag_groups = flag_bytes / lanes;
  /// flags[Group * lanes + lane] ? x : y, where flag_bytes bytes can be read.
  template <int Group>
  HEED_INLINE static Packet select_flags(const unsigned char* flags, const Packet& x, const Packet& y) {
    typedef std::uint32_t Words __attribute__((vector_size(Isa::bytes)));
    typedef std::uint32_t Flags __attribute__((vector_size(Isa::bytes), aligned(1), may_alias));
    // memcpy would be made in pieces of 8 bytes (g++ 12, AVX2), through registers and memory.
    const Words words = *reinterpret_cast<const Flags*>(flags);
    Words spread;
    Integers bytes;
    detail::spread_words<Words, Group, lanes>(words, spread, std::make_index_sequence<Isa::bytes / 4>());
    detail::flag_masks<Integer, Group>(bytes, std::make_index_sequence<lanes>());
    return {(reinterpret_cast<Integers>(spread) & bytes) != 0 ? x.v : y.v};
  }
};

#endif  // HEED_HAS_VECTORS

/// A packet that many operations read: g++ may not read it from memory for each of them. Nothing where registers are few (baseline).
template <class Isa, class T>
HEED_INLINE void keep_in_register([[maybe_unused]] Packet<Isa, T>& p) {
  if constexpr (Isa::bytes > Baseline::bytes) detail::hide(p.v);
}

HEED_AS_WRITTEN_END;
}  // namespace heed::inline HEED_ABI

#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
