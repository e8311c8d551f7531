// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <heed/kernels/attention_scores.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;
using namespace heed::kernels;

TEMPLATE_TEST_CASE("a block of scores is cap(scale q k) - slope |distance| + bias, masked behind what the query sees", "", float, double) {
  using T = TestType;
  const TileSizes<T> sizes;
  const Index width = 5, heads = 2, queries = 9, keys = sizes.width + 3;
  const auto q = reference::random_tensor<T, 4>({1, heads, queries, width}, 1),
             k = reference::random_tensor<T, 4>({1, heads, keys, width}, 2);
  const auto bias = reference::random_tensor<T, 2>({keys, queries}, 3);  // stored the other way round: its stride over keys is not 1
  const std::vector<T> slopes{T(0.25), T(0.5)};
  for (const bool causal : {false, true})
    for (const double softcap : {0.0, 1.5})
      for (const bool more : {false, true}) {
        Attention<T> a;
        a.batches = 1, a.heads = a.kv_heads = heads, a.queries = queries, a.keys = keys, a.width = width;
        a.q = {q.data(), 0, queries * width, width}, a.k = {k.data(), 0, keys * width, width};
        a.scale = 0.7, a.softcap = softcap, a.causal = causal, a.causal_offset = 2;
        if (more) a.bias = {bias.data(), 0, 0, 1, queries}, a.slopes = slopes.data();
        const Index chunk = sizes.whole_panels(keys), rows = 4, first = 3, head = 1;
        ScoreScratch<T> scratch(a, chunk, sizes);
        const auto memory = cut_scratch<T>({{&scratch.packed_k, chunk * width}, {&scratch.scaled_q, (rows + kTileSlack) * scratch.q_row},
            {&scratch.s, (rows + kTileSlack) * scratch.s_row}, {&scratch.bias_row, scratch.bias_size(a, chunk)},
            {&scratch.numbers, scratch.numbers_size(a, chunk)}});
        std::vector<unsigned char> flags(static_cast<std::size_t>(chunk));
        scratch.flag_row = flags.data();
        scratch.number_keys(chunk);
        FetchAhead nothing;
        const TransposedRows<T> packed = chunk_keys(a, 0, head, 0, keys, nullptr, scratch);
        const ScoreBlock<T> block = score_block(a, 0, head, first, rows, packed, 0, keys, nullptr, sizes, scratch, nothing);
        REQUIRE(block.padded == sizes.whole_vectors(keys));
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < block.padded; ++j) {
            INFO("causal " << causal << ", softcap " << softcap << ", more " << more << ", row " << i << ", key " << j);
            const Index position = first + i + 2;
            const double found = static_cast<double>(block.scores[i * block.row + j]);
            if (j >= keys || (causal && j > position)) {
              REQUIRE(found <= kMaskedScore);
              continue;
            }
            double score = 0;
            for (Index d = 0; d < width; ++d)
              score += static_cast<double>(q(0, head, first + i, d)) * static_cast<double>(k(0, head, j, d));
            score *= a.scale;
            if (softcap > 0) score = softcap * std::tanh(score / softcap);
            if (more) score += static_cast<double>(bias(j, first + i)) - 0.5 * static_cast<double>(std::abs(position - j));
            // A score is a sum of `width` products: some roundings of numbers of about 5.
            REQUIRE(std::abs(found * std::log(2.0) - score) < 50 * static_cast<double>(std::numeric_limits<T>::epsilon()));
          }
      }
}

TEMPLATE_TEST_CASE("keys that lie in place or packed give a few queries the same bits", "", float, double) {
  using T = TestType;
  const TileSizes<T> sizes;
  const Index keys = 2 * sizes.width + 3, row = 70;
  const auto y = reference::random_tensor<T, 2>({keys, row}, 1), x = reference::random_tensor<T, 1>({row + 16}, 2);
  std::vector<unsigned char> flags(static_cast<std::size_t>(keys), 1);
  flags[1] = flags[5] = flags[static_cast<std::size_t>(keys) - 1] = 0;
  REQUIRE(TransposedRows<T>::packed_size(kProductRows, keys, row) == 0);
  REQUIRE(TransposedRows<T>::packed_size(kProductRows + 1, keys, row) > 0);
  for (const Index width : {1, 7, 64, 70})
    for (const unsigned char* some : {static_cast<const unsigned char*>(nullptr), static_cast<const unsigned char*>(flags.data())})
      for (const Index used : {Index(1), sizes.width, keys}) {
        std::vector<T> packed(static_cast<std::size_t>(TransposedRows<T>::packed_size(kProductRows + 1, sizes.whole_panels(keys), width)));
        std::vector<T> in_place(static_cast<std::size_t>(sizes.whole_panels(keys)), T(-1)),
            from_panels(static_cast<std::size_t>((1 + kTileSlack) * sizes.whole_panels(keys)), T(-2));
        FetchAhead nothing;
        TransposedRows<T>(y.data(), row, keys, width, some, nullptr).multiply(x.data(), row, 1, used, in_place.data(), row, sizes, nothing);
        // Rows of x beyond the first are read, and multiplied into rows of scratch.
        const auto tile = reference::random_tensor<T, 2>({1 + kTileSlack, row + 16}, 3);
        std::vector<T> rows(tile.data(), tile.data() + tile.size());
        std::copy_n(x.data(), row, rows.data());
        TransposedRows<T>(y.data(), row, keys, width, some, packed.data())
            .multiply(rows.data(), row + 16, 1, used, from_panels.data(), sizes.whole_panels(keys), sizes, nothing);
        INFO("width " << width << ", flags " << (some != nullptr) << ", keys used " << used);
        for (Index j = 0; j < used; ++j) REQUIRE(in_place[static_cast<std::size_t>(j)] == from_panels[static_cast<std::size_t>(j)]);
        for (Index j = used; j < sizes.whole_vectors(used); ++j) REQUIRE(in_place[static_cast<std::size_t>(j)] == T(0));
        if (sizes.whole_vectors(used) < sizes.whole_panels(keys))
          REQUIRE(in_place[static_cast<std::size_t>(sizes.whole_vectors(used))] == T(-1));
      }
}
