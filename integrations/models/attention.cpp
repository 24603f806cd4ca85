#include <leapverify/integrations/models/attention.h>

namespace leapverify::models {

torch::Tensor split_heads(const torch::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, double dropout) {
  const torch::Tensor mixed = at::scaled_dot_product_attention(
      q, k, v, /*attn_mask=*/{}, dropout, /*is_causal=*/true, /*scale=*/{},
      /*enable_gqa=*/k.size(1) != q.size(1));
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(2), q.size(1) * q.size(3)});
}

}  // namespace leapverify::models
