// The smallest use of LeapVerify: a LibTorch training loop whose optimizer is wrapped.
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/leap_verify.h>
#include <torch/torch.h>

#include <cstdio>

int main() {
  torch::manual_seed(0);
  torch::nn::Sequential model(torch::nn::Linear(8, 64), torch::nn::Tanh(),
                              torch::nn::Linear(64, 10));
  const torch::Tensor teacher = torch::randn({8, 10});
  const auto make_data = [&](int64_t rows) {
    torch::Tensor x = torch::randn({rows, 8});
    return std::make_pair(x, x.matmul(teacher).argmax(1));
  };
  const auto [gate_x, gate_y] = make_data(256);

  // [README]
  torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-3));
  leapverify::BatchEvaluator evaluator(  // held-out data, and 32 sequences a training step
      gate_x, gate_y, 32, [&](const torch::Tensor& x, const torch::Tensor& y) {
        torch::Tensor logits = model->forward(x);
        return leapverify::Evaluation{torch::cross_entropy_loss(logits, y, {}, 0), logits};
      });
  leapverify::Options options;
  options.planned_steps = 400;
  leapverify::LeapVerify optimizer(adamw, model, options, evaluator);
  // [/README]

  for (int64_t step = 0; step < options.planned_steps; ++step) {
    const auto [x, y] = make_data(32);
    optimizer.zero_grad();
    torch::Tensor loss = torch::cross_entropy_loss(model->forward(x), y);
    loss.backward();
    optimizer.step();
    if (step % 100 == 99) {
      std::printf("step %lld  loss %.4f\n", static_cast<long long>(step + 1), loss.item<double>());
    }
  }
  const leapverify::Status status = optimizer.status();
  std::printf("leaps: %lld tried, %lld accepted, overhead %.2f %%\n",
              static_cast<long long>(status.ledger.tries),
              static_cast<long long>(status.ledger.accepted), 100 * status.overhead);
  return 0;
}
