// A program with everything that has a state. `resume_worker through RUN` trains 9 steps and saves after the 5th;
// `resume_worker resume RUN PART` starts from other numbers, loads all but PART and goes on to the 9th. Both print what
// is left at the end, a line a rank.
#include <torch/torch.h>

#include <cstdio>
#include <functional>
#include <string>

#include "rondo/rondo.h"
#include "trainer/checkpoint/hash.h"

namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    first = register_module("first", torch::nn::Linear(6, 16));
    norm = register_module("norm", torch::nn::BatchNorm1d(16));
    second = register_module("second", torch::nn::Linear(16, 3));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return second(torch::dropout(torch::relu(norm(first(x))), 0.5, is_training()));
  }
  torch::nn::Linear first{nullptr}, second{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
};
TORCH_MODULE(Net);

/// Sample i of 56: numbers of i alone.
struct Numbers : torch::data::Dataset<Numbers> {
  torch::data::Example<> get(size_t index) override {
    const auto i = static_cast<int64_t>(index);
    return {torch::sin(torch::arange(6).to(torch::kFloat32) * static_cast<double>(i + 1)), torch::tensor(i % 3)};
  }
  torch::optional<size_t> size() const override { return 56; }
};

class Program {
 public:
  Program(const rondo::Job& job, int64_t seed)
      : job_(job),
        net_((torch::manual_seed(seed), Net())),
        ddp_(job, *net_),
        optimizer_(ddp_, net_->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9)),
        sampler_(job, 56, {.seed = 3}),
        rates_(optimizer_, rondo::cosine(20)),
        scale_({.initial = 1024, .interval = 3}),
        averages_(*net_, optimizer_, 0.9),
        own_(at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed + job.rank))) {
    optimizer_.set_rules({.loss_scale = &scale_});
    torch::manual_seed(100 * seed + job.rank);  // dropout of each rank is its own
  }

  rondo::TrainingState state() {
    rondo::TrainingState state(*net_, optimizer_, sampler_);
    return state.add("rates", rates_)
        .add("scale", scale_)
        .add("ema", averages_)
        .add("noise", own_)
        .add_default_generator();
  }

  /// Up to step `last`; `after` hears of each.
  void train(int last, const std::function<void(int)>& after) {
    for (int step = static_cast<int>(rates_.position()); step < last;) {
      auto data = Numbers().map(torch::data::transforms::Stack<>());
      auto loader = torch::data::make_data_loader(data, sampler_, 8);  // 28 samples of each rank: 4 batches an epoch
      for (auto& batch : *loader) {
        optimizer_.zero_grad();
        const auto inputs = batch.data + 0.1 * torch::rand(batch.data.sizes(), own_);
        scale_.scale(torch::nn::functional::cross_entropy(net_->forward(inputs), batch.target)).backward();
        optimizer_.step();
        rates_.step();
        averages_.update();
        after(++step);
        if (step == last) return;
      }
    }
  }

  void print(const std::string& title) const {
    rondo::trainer::FastHash hash;
    const auto add = [&](const torch::Tensor& tensor) {
      hash.add(std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()));
    };
    for (const auto& parameter : net_->parameters()) add(parameter);
    for (const auto& buffer : net_->buffers()) add(buffer);
    for (const auto& [name, average] : averages_.state()) add(average);
    std::printf("%s: rank %d %s, factor %g after %lld, rate %.17g, position %lld\n", title.c_str(), job_.rank,
                hash.hex().c_str(), scale_.factor(), static_cast<long long>(scale_.state().good_steps),
                rates_.rates()[0], static_cast<long long>(sampler_.position().position));
  }

 private:
  const rondo::Job& job_;
  Net net_;
  rondo::DistributedDataParallel ddp_;
  rondo::Optimizer<torch::optim::SGD> optimizer_;
  rondo::Sampler sampler_;
  rondo::RateScheduler rates_;
  rondo::LossScale scale_;
  rondo::Ema averages_;
  at::Generator own_;
};

void run(int argc, char** argv) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  const std::string mode = argv[1], run = argv[2];
  if (mode == "through") {
    Program program(job, 1);
    program.train(9, [&](int step) {
      if (step == 5) rondo::save(job, run, program.state());
    });
    program.print(mode);
    return;
  }
  for (int i = 3; i < argc; ++i) {
    Program program(job, 2);
    const std::string part = argv[i];
    rondo::load(job, run, program.state(), {.without = {part}});
    program.train(part == "rates" ? 4 : 9, [](int) {});
    program.print("without " + part);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
