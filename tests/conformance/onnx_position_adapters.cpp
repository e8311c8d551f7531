// SPDX-License-Identifier: MIT
// ONNX: rotary embedding with tables of cos and sin that the model brings.
#include <heed/kernels/rotary_embedding.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// RotaryEmbedding (opset 23): X is (B, S, num_heads D) or (B, H, S, D); the caches are (positions, D' / 2) with position_ids (B, S), else
/// (B, S, D' / 2); axes of the batch may be 1.
template <class T>
void rotary_embedding(Run<T>& run) {
  const ReferenceCase& c = run.reference();
  const Shape in = run.shape(c.input(0)), cache = run.shape(c.input(1));
  const auto x = run.values(c.input(0)), cos = run.values(c.input(1)), sin = run.values(c.input(2));
  if (in.rank() != 3 && in.rank() != 4) unsupported("X of ", in.rank(), " axes");
  heed::require<heed::ShapeError>(run.shape(c.input(2)) == cache, "the caches of cos and sin differ in shape");

  heed::kernels::Rotation<T> r;
  r.batches = in[0], r.tokens = in[-2];
  r.heads = in.rank() == 4 ? in[1] : c.integer("num_heads");
  heed::require<heed::ShapeError>(r.heads > 0 && (in.rank() == 4 || in[2] % r.heads == 0), "X ", in, " does not hold ", r.heads, " heads");
  r.width = in.rank() == 4 ? in[3] : in[2] / r.heads;
  const Index rotary_width = c.integer("rotary_embedding_dim");
  r.rotary_width = rotary_width > 0 ? rotary_width : r.width;
  heed::require<heed::ShapeError>(r.rotary_width % 2 == 0 && r.rotary_width <= r.width && cache.features() == r.rotary_width / 2, "caches ",
      cache, " do not fit ", r.rotary_width, " of ", r.width, " features");
  r.interleaved = c.flag("interleaved");
  r.cos = cos.data(), r.sin = sin.data();

  std::vector<std::int64_t> ids;
  if (c.has_input(3)) {
    ids = run.template values<std::int64_t>(c.input(3));
    const Shape shape = run.shape(c.input(3));
    heed::require<heed::ShapeError>(cache.rank() == 2 && shape.features() == r.tokens && (shape.rows() == r.batches || shape.rows() == 1),
        "position_ids ", shape, " or caches ", cache, " do not fit X ", in);
    r.position_ids = ids.data(), r.position_batch = shape.rows() == 1 ? 0 : r.tokens;
  } else {
    heed::require<heed::ShapeError>(
        cache.rank() == 3 && cache[1] == r.tokens && (cache[0] == r.batches || cache[0] == 1), "caches ", cache, " do not fit X ", in);
    r.position_batch = cache[0] == 1 ? 0 : r.tokens;
  }
  heed::require(r.fits(cache.rows()), "a position lies outside the caches ", cache);

  const auto rows = [&]<class U>(U* data) -> heed::kernels::HeadRows<U> {
    if (in.rank() == 4) return {data, r.heads * r.tokens * r.width, r.tokens * r.width, r.width};
    return {data, r.heads * r.tokens * r.width, r.width, r.heads * r.width};
  };
  std::vector<T> y(x.size());
  heed::kernels::rotary_forward(r, rows(x.data()), rows(y.data()));
  run.expect(c.output(0), y.data(), in);
}

}  // namespace

void add_onnx_position_adapters(Adapters& adapters) { adapters["RotaryEmbedding"] = CONFORMANCE_ADAPTER(rotary_embedding); }

}  // namespace conformance
