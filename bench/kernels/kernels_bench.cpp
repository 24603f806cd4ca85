// Speed of the kernels on real models' tensor lists, as a share of what copying memory reaches on
// the same device, measured in turns: each timed call is followed by a timed copy. Beside each stands
// the same arithmetic written with torch's operations.
//
// Usage: bench_kernels [--device=cpu|cuda] [--shapes=all|gpt2|qwen|smoke] [--iterations=N]
//                      [--benchmark_…]
// Counters: GB/s over the bytes a perfect kernel would move; copy_GB/s of the copy;
// percent_of_copy = their ratio; spread_percent = interquartile range of the times over their
// median.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/runtime/snapshot_store.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "machine.h"
#include "shapes.h"

namespace leapverify::bench {
namespace {

/// One list of tensors, views of one block of memory, each starting at a multiple of 128 elements.
struct List {
  torch::Tensor block;
  TensorList tensors;

  List(const Shapes& shapes, torch::ScalarType dtype, torch::Device device) {
    constexpr std::int64_t kAlignment = 128;
    std::int64_t total = 0;
    for (const std::int64_t length : shapes.lengths) {
      total += (length + kAlignment - 1) / kAlignment * kAlignment;
    }
    block = torch::rand({total}, torch::TensorOptions().device(device)).to(dtype);
    std::vector<torch::Tensor> views;
    std::int64_t begin = 0;
    for (const std::int64_t length : shapes.lengths) {
      views.push_back(block.narrow(0, begin, length));
      begin += (length + kAlignment - 1) / kAlignment * kAlignment;
    }
    tensors = TensorList(std::move(views));
  }

  const kernels::SegmentTable& table() const { return tensors.table(); }
  const std::vector<torch::Tensor>& views() const { return tensors.tensors(); }
  double bytes() const { return static_cast<double>(tensors.byte_count()); }
};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

/// Lists are made when a row first needs them and kept for the next row of the same shapes.
class Bench {
 public:
  Bench(torch::Device device, std::int64_t iterations)
      : machine_(device), iterations_(iterations) {}

  /// `work` moves `bytes` bytes.
  using Work = std::function<void()>;
  struct Measured {
    Work work;
    double bytes;
  };

  /// make() is called when the row runs; `lists` float32 lists of the shapes must fit the memory.
  void row(const std::string& name, const Shapes& shapes, double lists,
           std::function<Measured(const Shapes&)> make) {
    benchmark::RegisterBenchmark((name + "/" + shapes.name).c_str(),
                                 [this, shapes, lists, make = std::move(make)](
                                     benchmark::State& state) { run(state, shapes, lists, make); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond)
        ->Iterations(iterations_);
  }

  const List& list(const Shapes& shapes, std::size_t index,
                   torch::ScalarType dtype = torch::kFloat) {
    if (shapes.name != shapes_of_lists_) {
      lists_.clear();
      shapes_of_lists_ = shapes.name;
    }
    for (const Entry& entry : lists_) {
      if (entry.index == index && entry.dtype == dtype) return *entry.list;
    }
    lists_.push_back({index, dtype, std::make_unique<List>(shapes, dtype, machine_.device())});
    return *lists_.back().list;
  }

  /// Makes room for a row that brings memory of its own.
  void drop_lists() { lists_.clear(); }

  torch::Tensor on_device(const std::vector<double>& values) const {
    return torch::tensor(values, torch::kDouble).to(machine_.device());
  }
  torch::TensorOptions options(torch::ScalarType dtype) const {
    return torch::TensorOptions().dtype(dtype).device(machine_.device());
  }
  bool on_cuda() const { return machine_.device().is_cuda(); }

 private:
  struct Entry {
    std::size_t index;
    torch::ScalarType dtype;
    std::unique_ptr<List> list;
  };

  void run(benchmark::State& state, const Shapes& shapes, double lists,
           const std::function<Measured(const Shapes&)>& make) {
    if (shapes.name != shapes_of_lists_) lists_.clear();
    const double needed = 4.0 * static_cast<double>(shapes.elements()) * (lists + 2);
    double held = 0;
    for (const Entry& entry : lists_) held += entry.list->bytes();
    if (needed > 0.9 * (held + static_cast<double>(machine_.free_bytes()))) {
      state.SkipWithError("not enough memory");
      return;
    }
    const torch::NoGradGuard no_grad;
    const Measured measured = make(shapes);
    const std::int64_t elements = std::min(shapes.elements(), std::int64_t{1} << 28);
    if (!source_.defined() || source_.numel() != elements) {
      source_ = torch::zeros({elements}, options(torch::kFloat));
      target_ = torch::zeros({elements}, options(torch::kFloat));
    }
    measured.work();  // warms up
    std::vector<double> times;
    std::vector<double> copies;
    for (auto iteration : state) {
      static_cast<void>(iteration);
      times.push_back(machine_.seconds(measured.work));
      state.SetIterationTime(times.back());
      copies.push_back(machine_.seconds([&] { machine_.copy(target_, source_); }));
    }
    const double rate = measured.bytes / quantile(times, 0.5);
    const double copy_rate = 8.0 * static_cast<double>(elements) / quantile(copies, 0.5);
    state.counters["bytes"] = measured.bytes;
    state.counters["GB/s"] = 1e-9 * rate;
    state.counters["copy_GB/s"] = 1e-9 * copy_rate;
    state.counters["percent_of_copy"] = 100 * rate / copy_rate;
    state.counters["spread_percent"] =
        100 * (quantile(times, 0.75) - quantile(times, 0.25)) / quantile(times, 0.5);
  }

  Machine machine_;
  std::int64_t iterations_;
  std::string shapes_of_lists_;
  std::vector<Entry> lists_;
  torch::Tensor source_;
  torch::Tensor target_;
};

/// dst ← Σ c_k · src_k. Bytes: every source and the destination once.
void add_combine(Bench& bench, const Shapes& shapes, std::size_t sources,
                 torch::ScalarType dtype = torch::kFloat) {
  std::vector<double> coefficients;
  for (std::size_t k = 0; k < sources; ++k) coefficients.push_back(0.5 - 0.3 * double(k));
  const std::string suffix = dtype == torch::kFloat ? "" : "/bfloat16";
  const auto lists = static_cast<double>(sources + 1);
  const std::string name = "combine-" + std::to_string(sources);
  const auto bytes = [&bench, sources, dtype](const Shapes& s) {
    return static_cast<double>(sources + 1) * bench.list(s, 0, dtype).bytes();
  };
  bench.row(name + "/leapverify" + suffix, shapes, lists, [=, &bench](const Shapes& s) {
    std::vector<const kernels::SegmentTable*> tables;
    for (std::size_t k = 1; k <= sources; ++k) tables.push_back(&bench.list(s, k, dtype).table());
    const kernels::SegmentTable& to = bench.list(s, 0, dtype).table();
    const torch::Tensor values = bench.on_device(coefficients);
    const kernels::Stream stream = bench.list(s, 0, dtype).tensors.stream();
    return Bench::Measured{
        [=, &to] { kernels::combine(to, tables, {values.data_ptr<double>()}, nullptr, stream); },
        bytes(s)};
  });
  bench.row(name + "/foreach-in-place" + suffix, shapes, lists, [=, &bench](const Shapes& s) {
    return Bench::Measured{[=, &bench] {
                             const auto& to = bench.list(s, 0, dtype).views();
                             at::_foreach_copy_(to, bench.list(s, 1, dtype).views());
                             at::_foreach_mul_(to, coefficients[0]);
                             for (std::size_t k = 2; k <= sources; ++k) {
                               at::_foreach_add_(to, bench.list(s, k, dtype).views(),
                                                 coefficients[k - 1]);
                             }
                           },
                           bytes(s)};
  });
  bench.row(name + "/foreach-lists" + suffix, shapes, lists + 1, [=, &bench](const Shapes& s) {
    return Bench::Measured{
        [=, &bench] {
          auto to = at::_foreach_mul(bench.list(s, 1, dtype).views(), coefficients[0]);
          for (std::size_t k = 2; k <= sources; ++k) {
            at::_foreach_add_(to, bench.list(s, k, dtype).views(), coefficients[k - 1]);
          }
          benchmark::DoNotOptimize(to);
        },
        bytes(s)};
  });
}

/// Candidates from one pass over the sources, against one pass each and against one matrix product.
/// Bytes: every source and every destination once.
void add_candidates(Bench& bench, const Shapes& shapes, std::size_t sources,
                    std::size_t candidates) {
  std::vector<double> coefficients;
  for (std::size_t i = 0; i < sources * candidates; ++i)
    coefficients.push_back(0.1 * double(i) - 1);
  const std::string name =
      "candidates-" + std::to_string(candidates) + "-of-" + std::to_string(sources);
  const auto lists = static_cast<double>(sources + candidates);
  const auto tables_of = [&bench](const Shapes& s, std::size_t first, std::size_t count) {
    std::vector<const kernels::SegmentTable*> tables;
    for (std::size_t k = first; k < first + count; ++k) tables.push_back(&bench.list(s, k).table());
    return tables;
  };
  const auto bytes = [=](const Shapes& s) { return lists * 4.0 * double(s.elements()); };
  bench.row(name + "/leapverify", shapes, lists, [=, &bench](const Shapes& s) {
    const auto to = tables_of(s, 0, candidates);
    const auto from = tables_of(s, candidates, sources);
    const torch::Tensor values = bench.on_device(coefficients);
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{
        [=] { kernels::combine(to, from, {values.data_ptr<double>()}, nullptr, stream); },
        bytes(s)};
  });
  bench.row(name + "/leapverify-one-by-one", shapes, lists, [=, &bench](const Shapes& s) {
    const auto to = tables_of(s, 0, candidates);
    const auto from = tables_of(s, candidates, sources);
    const torch::Tensor values = bench.on_device(coefficients);
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{[=] {
                             for (std::size_t d = 0; d < candidates; ++d) {
                               kernels::combine(*to[d], from,
                                                {values.data_ptr<double>() + d * sources}, nullptr,
                                                stream);
                             }
                           },
                           bytes(s)};
  });
  // cuBLAS on a GPU, the CPU's BLAS elsewhere; it needs one matrix per side.
  bench.row(name + "/gemm", shapes, lists, [=, &bench](const Shapes& s) {
    bench.drop_lists();
    const auto columns = s.elements();
    const torch::Tensor from =
        torch::rand({static_cast<std::int64_t>(sources), columns}, bench.options(torch::kFloat));
    torch::Tensor to = torch::empty({static_cast<std::int64_t>(candidates), columns},
                                    bench.options(torch::kFloat));
    const torch::Tensor factors =
        bench.on_device(coefficients)
            .to(torch::kFloat)
            .view({static_cast<std::int64_t>(candidates), static_cast<std::int64_t>(sources)});
    return Bench::Measured{[=]() mutable { at::mm_out(to, factors, from); }, bytes(s)};
  });
}

/// Bytes: three inputs and the destination once.
void add_adam_direction(Bench& bench, const Shapes& shapes) {
  const kernels::AdamRow row = kernels::AdamRow::adam(25, 1e-3, 0.9, 0.999, 1e-8, 0.1, 100);
  const auto bytes = [](const Shapes& s) { return 16.0 * double(s.elements()); };
  bench.row("adam_direction/leapverify", shapes, 4, [=, &bench](const Shapes& s) {
    const torch::Tensor values = bench.on_device({row.keep, row.step, row.root_scale, row.epsilon});
    const auto* rows = reinterpret_cast<const kernels::AdamRow*>(values.data_ptr<double>());
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{[=, &bench, keep = values] {
                             kernels::adam_direction(
                                 bench.list(s, 0).table(), bench.list(s, 1).table(),
                                 bench.list(s, 2).table(), &bench.list(s, 3).table(), {rows},
                                 nullptr, stream);
                           },
                           bytes(s)};
  });
  bench.row("adam_direction/foreach", shapes, 5, [=, &bench](const Shapes& s) {
    return Bench::Measured{[=, &bench] {
                             auto denominator = at::_foreach_sqrt(bench.list(s, 3).views());
                             at::_foreach_mul_(denominator, row.root_scale);
                             at::_foreach_add_(denominator, row.epsilon);
                             const auto& to = bench.list(s, 0).views();
                             at::_foreach_copy_(to, bench.list(s, 1).views());
                             at::_foreach_mul_(to, row.keep);
                             at::_foreach_addcdiv_(to, bench.list(s, 2).views(), denominator,
                                                   -row.step);
                           },
                           bytes(s)};
  });
}

/// Bytes: three lists read and written once.
void add_average_step(Bench& bench, const Shapes& shapes) {
  const kernels::AverageStep step = {0.8, 0.01, 0.8};
  const auto bytes = [](const Shapes& s) { return 24.0 * double(s.elements()); };
  bench.row("average_step/leapverify", shapes, 3, [=, &bench](const Shapes& s) {
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{[=, &bench] {
                             kernels::average_step(bench.list(s, 0).table(),
                                                   bench.list(s, 1).table(),
                                                   bench.list(s, 2).table(), step, stream);
                           },
                           bytes(s)};
  });
  bench.row("average_step/foreach", shapes, 4, [=, &bench](const Shapes& s) {
    return Bench::Measured{[=, &bench] {
                             const auto& weights = bench.list(s, 0).views();
                             const auto& iterate = bench.list(s, 1).views();
                             const auto& average = bench.list(s, 2).views();
                             const auto placed =
                                 at::_foreach_lerp(iterate, average, step.last_pull);
                             at::_foreach_add_(iterate, weights);
                             at::_foreach_sub_(iterate, placed);
                             at::_foreach_lerp_(average, iterate, step.share);
                             at::_foreach_copy_(weights, iterate);
                             at::_foreach_lerp_(weights, average, step.pull);
                           },
                           bytes(s)};
  });
}

/// A running average of some 2^18 elements. Bytes: the samples read and written, and of the source a
/// sector of 32 bytes each, or all of it where that is less.
void add_sample(Bench& bench, const Shapes& shapes) {
  constexpr std::int64_t kSamples = std::int64_t{1} << 18;
  const std::int64_t spacing =
      std::max<std::int64_t>(1, (shapes.elements() + kSamples - 1) / kSamples);
  const kernels::SampleStep step = {spacing, 0.9, 0.1};
  const auto samples = [=, &bench](const Shapes& s) {
    std::vector<torch::Tensor> parts;
    for (const torch::Tensor& view : bench.list(s, 0).views()) {
      parts.push_back(
          torch::zeros({(view.numel() + spacing - 1) / spacing}, bench.options(torch::kFloat)));
    }
    return parts;
  };
  const auto bytes = [=](const Shapes& s) {
    const double sector = std::min<double>(32, 4 * double(spacing));
    return (8 + sector) * double(s.elements()) / double(spacing);
  };
  bench.row("sample/leapverify", shapes, 1, [=, &bench](const Shapes& s) {
    const TensorList taken(samples(s));
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{
        [=, &bench] { kernels::sample(taken.table(), bench.list(s, 0).table(), step, stream); },
        bytes(s)};
  });
  bench.row("sample/foreach", shapes, 1, [=, &bench](const Shapes& s) {
    const std::vector<torch::Tensor> taken = samples(s);
    std::vector<torch::Tensor> elements;
    for (const torch::Tensor& view : bench.list(s, 0).views()) {
      elements.push_back(view.flatten().slice(0, 0, view.numel(), spacing));
    }
    return Bench::Measured{[=] { at::_foreach_lerp_(taken, elements, step.share); }, bytes(s)};
  });
}

/// Bytes: read once, and for copy written once. The rival of checksum is a norm: it too reads all.
void add_checksum_and_copy(Bench& bench, const Shapes& shapes) {
  bench.row("checksum/leapverify", shapes, 1, [&bench](const Shapes& s) {
    const torch::Tensor digest = torch::zeros({1}, bench.options(torch::kLong));
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{[=, &bench] {
                             kernels::checksum(bench.list(s, 0).table(),
                                               static_cast<std::uint64_t*>(digest.data_ptr()),
                                               stream);
                           },
                           bench.list(s, 0).bytes()};
  });
  bench.row("checksum/foreach-norm", shapes, 1, [&bench](const Shapes& s) {
    return Bench::Measured{
        [=, &bench] { benchmark::DoNotOptimize(at::_foreach_norm(bench.list(s, 0).views())); },
        bench.list(s, 0).bytes()};
  });
  bench.row("copy/leapverify", shapes, 2, [&bench](const Shapes& s) {
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{
        [=, &bench] { kernels::copy(bench.list(s, 0).table(), bench.list(s, 1).table(), stream); },
        2 * bench.list(s, 0).bytes()};
  });
  bench.row("copy/foreach", shapes, 2, [&bench](const Shapes& s) {
    return Bench::Measured{
        [=, &bench] { at::_foreach_copy_(bench.list(s, 0).views(), bench.list(s, 1).views()); },
        2 * bench.list(s, 0).bytes()};
  });
}

/// All inner products of `sources` snapshots. Bytes: every source once.
void add_gram(Bench& bench, const Shapes& shapes, std::size_t sources) {
  const std::string name = "gram-" + std::to_string(sources);
  const auto lists = static_cast<double>(sources);
  const auto bytes = [=](const Shapes& s) { return lists * 4.0 * double(s.elements()); };
  bench.row(name + "/leapverify", shapes, lists, [=, &bench](const Shapes& s) {
    std::vector<const kernels::SegmentTable*> tables;
    for (std::size_t k = 0; k < sources; ++k) tables.push_back(&bench.list(s, k).table());
    const auto entries = static_cast<std::int64_t>(s.lengths.size() * sources * sources);
    const torch::Tensor products = torch::empty({entries}, bench.options(torch::kDouble));
    const torch::Tensor workspace =
        torch::empty({kernels::gram_workspace(*tables[0], static_cast<int>(sources))},
                     bench.options(torch::kDouble));
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{[=] {
                             kernels::gram(tables, nullptr, products.data_ptr<double>(),
                                           workspace.data_ptr<double>(), stream);
                           },
                           bytes(s)};
  });
  // In float32, and of all tensors together rather than by tensor: less work than ours.
  bench.row(name + "/gemm", shapes, lists, [=, &bench](const Shapes& s) {
    bench.drop_lists();
    const torch::Tensor matrix = torch::rand({static_cast<std::int64_t>(sources), s.elements()},
                                             bench.options(torch::kFloat));
    return Bench::Measured{[=] { benchmark::DoNotOptimize(at::mm(matrix, matrix.t())); }, bytes(s)};
  });
}

/// Bytes: both matrices once.
void add_cosine(Bench& bench, std::int64_t rows, std::int64_t columns) {
  const Shapes shapes{"rows-" + std::to_string(rows) + "-of-" + std::to_string(columns),
                      {rows * columns}};
  const auto bytes = [](const Shapes& s) { return 8.0 * double(s.elements()); };
  bench.row("cosine/leapverify", shapes, 2, [=, &bench](const Shapes& s) {
    const torch::Tensor result = torch::empty({rows}, bench.options(torch::kDouble));
    const kernels::MatrixView a = {bench.list(s, 0).block.data_ptr(), rows, columns,
                                   kernels::DType::kFloat32};
    const kernels::MatrixView b = {bench.list(s, 1).block.data_ptr(), rows, columns,
                                   kernels::DType::kFloat32};
    const kernels::Device device = bench.list(s, 0).tensors.device();
    const kernels::Stream stream = bench.list(s, 0).tensors.stream();
    return Bench::Measured{
        [=] { kernels::cosine(a, b, result.data_ptr<double>(), device, stream); }, bytes(s)};
  });
  bench.row("cosine/torch", shapes, 2, [=, &bench](const Shapes& s) {
    const torch::Tensor a = bench.list(s, 0).views()[0].view({rows, columns});
    const torch::Tensor b = bench.list(s, 1).views()[0].view({rows, columns});
    return Bench::Measured{[=] { benchmark::DoNotOptimize(at::cosine_similarity(a, b)); },
                           bytes(s)};
  });
}

/// One observation's snapshot in each format, until the weights may change again. Bytes: the weights
/// read and the snapshot written.
void add_snapshots(Bench& bench, const Shapes& shapes) {
  for (const SnapshotFormat format :
       {SnapshotFormat::kFloat32, SnapshotFormat::kBFloat16Deltas, SnapshotFormat::kHost}) {
    bench.row(std::string("snapshot-") + name_of(format) + "/leapverify", shapes, 3,
              [=, &bench](const Shapes& s) {
                const auto store =
                    std::make_shared<SnapshotStore>(bench.list(s, 0).tensors, 2, format);
                store->record(0);
                return Bench::Measured{[=, step = std::int64_t{1}]() mutable {
                                         store->record(step++);
                                         store->let_weights_change();
                                       },
                                       2 * bench.list(s, 0).bytes()};
              });
  }
  if (!bench.on_cuda()) return;
  // The host's copies should hide behind the work of a training step.
  for (const bool records : {false, true}) {
    bench.row(
        std::string("work-beside-host-copies/") + (records ? "leapverify" : "work-alone"), shapes,
        3, [=, &bench](const Shapes& s) {
          const auto store =
              std::make_shared<SnapshotStore>(bench.list(s, 0).tensors, 2, SnapshotFormat::kHost);
          const torch::Tensor square = torch::rand({8192, 8192}, bench.options(torch::kFloat));
          return Bench::Measured{[=, step = std::int64_t{1}]() mutable {
                                   if (records) store->record(step++);
                                   for (int i = 0; i < 20; ++i) {
                                     benchmark::DoNotOptimize(at::mm(square, square));
                                   }
                                   if (records) store->let_weights_change();
                                 },
                                 2 * bench.list(s, 0).bytes()};
        });
  }
}

void add_model(Bench& bench, const Shapes& shapes) {
  for (const std::size_t sources : {2, 3, 5}) add_combine(bench, shapes, sources);
  add_combine(bench, shapes, 2, torch::kBFloat16);
  add_adam_direction(bench, shapes);
  add_average_step(bench, shapes);
  add_sample(bench, shapes);
  add_checksum_and_copy(bench, shapes);
  add_candidates(bench, shapes, 3, 4);
  add_snapshots(bench, shapes);
  add_gram(bench, shapes, 3);
}

void add_rows(Bench& bench, const std::string& which) {
  if (which == "smoke") {
    add_model(bench, tiny_tensors());
    add_model(bench, flat(100000));
    add_cosine(bench, 8, 128);
    return;
  }
  if (which == "all" || which == "gpt2") add_model(bench, gpt2());
  if (which == "all" || which == "qwen") add_model(bench, qwen());
  if (which != "all") return;
  add_model(bench, tiny_tensors());
  for (const std::int64_t elements : {100000, 10000000, 100000000, 2000000000}) {
    for (const std::size_t sources : {2, 4, 8, 16, 32}) add_gram(bench, flat(elements), sources);
    add_candidates(bench, flat(elements), 8, 4);
    add_candidates(bench, flat(elements), 32, 8);
  }
  add_cosine(bench, 100, 768);
  add_cosine(bench, 100, 1536);
}

/// The value of --name=value, taken out of the arguments.
std::string option(std::vector<char*>& arguments, const std::string& name,
                   const std::string& fallback) {
  const std::string prefix = "--" + name + "=";
  for (auto argument = arguments.begin(); argument != arguments.end(); ++argument) {
    if (std::string(*argument).rfind(prefix, 0) == 0) {
      const std::string value = std::string(*argument).substr(prefix.size());
      arguments.erase(argument);
      return value;
    }
  }
  return fallback;
}

int run(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  const std::string device =
      option(arguments, "device", torch::cuda::is_available() ? "cuda" : "cpu");
  const std::string shapes = option(arguments, "shapes", "all");
  const std::string iterations = option(arguments, "iterations", device == "cuda" ? "50" : "7");
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  if (device != "cpu" && device != "cuda") {
    std::fprintf(stderr, "bench_kernels: --device=%s, expected cpu or cuda\n", device.c_str());
    return 1;
  }
  const std::vector<std::string> legal = {"all", "gpt2", "qwen", "smoke"};
  if (std::find(legal.begin(), legal.end(), shapes) == legal.end()) {
    std::fprintf(stderr, "bench_kernels: --shapes=%s, expected all, gpt2, qwen or smoke\n",
                 shapes.c_str());
    return 1;
  }
  const auto number = std::strtoll(iterations.c_str(), nullptr, 10);
  if (number < 1) {
    std::fprintf(stderr, "bench_kernels: --iterations=%s, expected 1 or more\n",
                 iterations.c_str());
    return 1;
  }
  if (device == "cuda" && !torch::cuda::is_available()) {
    std::fprintf(stderr, "bench_kernels: --device=cuda, but this machine shows no CUDA device\n");
    return 1;
  }
  torch::manual_seed(0);
  Bench bench(device, number);
  add_rows(bench, shapes);
  benchmark::AddCustomContext("device", device);
  benchmark::AddCustomContext("torch_threads", std::to_string(torch::get_num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace leapverify::bench

int main(int argc, char** argv) { return leapverify::bench::run(argc, argv); }
