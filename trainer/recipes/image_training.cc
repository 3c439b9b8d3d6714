#include "trainer/recipes/image_training.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "rondo/rondo.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/data/image_batch.h"
#include "trainer/data/sample_order.h"
#include "trainer/models/models.h"
#include "trainer/observe/event_file.h"
#include "trainer/observe/metrics.h"
#include "trainer/recipes/recipe_check.h"

namespace rondo::trainer {
namespace {

using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;

std::unique_ptr<ImageNet28> make_net(const Recipe& recipe, uint64_t seed) {
  torch::manual_seed(seed);
  if (recipe.short_name() == "fmnist-mlp") return std::make_unique<FmnistMlp>();
  return std::make_unique<FmnistCnn>();
}

ImageSet limited(ImageSet images, int64_t limit) {
  if (limit > 0 && limit < images.count()) {
    images.labels.resize(static_cast<size_t>(limit));
    images.pixels.resize(static_cast<size_t>(limit * kImagePixels));
  }
  return images;
}

std::string exact(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", value);
  return text.data();
}

double fact(const Manifest& manifest, const std::string& name, const std::filesystem::path& folder) {
  const auto found = manifest.facts.find(name);
  if (found == manifest.facts.end())
    throw Error((folder / kManifestFile).string() + ": the fact " + name + " is missing", ExitCode::kCorrupt);
  return std::stod(found->second);
}

int thread_count(const Settings& settings, int fallback) {
  const auto threads = static_cast<int>(settings.integer("threads"));
  return threads > 0 ? threads : fallback;
}

/// A batch that is filled in place and used again.
struct Batch {
  torch::Tensor images;  // (B, 1, 28, 28) float32
  torch::Tensor labels;  // (B) int64 in [0, 10)

  explicit Batch(int64_t count)
      : images(torch::empty({count, 1, kImageSide, kImageSide})), labels(torch::empty({count}, torch::kInt64)) {}
  Batch first(int64_t count) const {
    Batch part(0);
    part.images = images.narrow(0, 0, count);
    part.labels = labels.narrow(0, 0, count);
    return part;
  }
};

/// Correct predictions of this rank's blocks.
int64_t count_correct(ImageNet28& net, const ImageSet& images, const ImageWriter& writer,
                      const std::vector<Range>& blocks) {
  const torch::NoGradGuard no_grad;
  net.eval();
  const Batch storage(kEvaluationBlock);
  int64_t correct = 0;
  for (const Range& block : blocks) {
    const Batch batch = storage.first(block.count());
    for (int64_t i = 0; i < block.count(); ++i) {
      writer.write(images, block.first + i, ImageWriter::Mirror::kNo,
                   batch.images.data_ptr<float>() + i * kImagePixels);
      batch.labels.data_ptr<int64_t>()[i] = images.labels[static_cast<size_t>(block.first + i)];
    }
    correct += net.forward(batch.images).argmax(1).eq(batch.labels).sum().item<int64_t>();
  }
  net.train();
  return correct;
}

void load_model(ImageNet28& net, const Checkpoint& checkpoint) {
  const auto file = checkpoint.folder / kModelFile;
  decode_module(net, SafetensorsFile::read(file), file.string());
}

/// One rank's run, from joining to the summary.
class ImageRun {
 public:
  ImageRun(const RunPlan& plan, const TrainingContext& context, Reporter& reporter)
      : plan_(plan),
        settings_(plan.settings),
        reporter_(reporter),
        job_(init(context.argc, context.argv, init_options(plan.settings))),
        run_folder_(context.run_folder),
        resume_(plan.resume) {
    reporter_.set_rank(job_.rank);
    reporter_.hello(job_.description(), TORCH_VERSION);
    const bool again = context.restarts > 0 && plan.mode == Mode::kTrain && !run_folder_.empty();
    if (again) take_own_checkpoint();
    if (resume_) {
      for (const std::string& why : resume_->skipped) say("skipped: " + why);
      check_same_checkpoint();
    } else if (again) {
      say("restart " + std::to_string(context.restarts) +
          ": no checkpoint that all ranks can read, from the beginning");
    }
    if (job_.rank == 0 && run_folder_.empty()) run_folder_ = make_run_folder(plan.recipe->short_name());
  }

  /// The signal that stopped it before its end, after a checkpoint; 0: none.
  int stop_signal() const { return stop_signal_; }

  void run() {
    test_ = limited(read_fashion_mnist(settings_.text("data"), Split::kTest), settings_.integer("limit"));
    net_ = make_net(*plan_.recipe, static_cast<uint64_t>(settings_.integer("seed")));
    const auto start = SteadyClock::now();
    if (plan_.mode == Mode::kEvaluate) {
      evaluate_checkpoint();
    } else {
      train();
    }
    if (plan_.mode == Mode::kCheck || stop_signal_ != 0) return;
    finish(Seconds(SteadyClock::now() - start).count());
  }

 private:
  static InitOptions init_options(const Settings& settings) {
    InitOptions options;
    if (settings.text("transport") != "auto") options.transport = settings.text("transport");
    if (settings.text("algorithm") != "auto") options.algorithm = settings.text("algorithm");
    return options;
  }

  void say(const std::string& line) {
    if (plan_.output == Request::Output::kText) reporter_.say(line);
  }

  /// After a restart the run's own newest checkpoint counts, if every rank finds it: hosts may have folders of their
  /// own, and only rank 0 writes.
  void take_own_checkpoint() {
    std::optional<FoundCheckpoint> own;
    try {
      own = newest_valid_checkpoint(run_folder_ / "checkpoints");
    } catch (const Error&) {
      own.reset();  // there is none yet
    }
    constexpr int64_t kNone = -1;
    const int64_t step = own ? own->checkpoint.manifest.step : kNone;
    const auto steps = job_.all_gather(torch::tensor({step}, torch::kInt64));
    if (own && !(steps != step).any().item<bool>()) resume_ = std::move(own);
  }

  /// All ranks read the checkpoint by themselves; another one may have been written in between.
  void check_same_checkpoint() {
    const Manifest& manifest = resume_->checkpoint.manifest;
    const auto steps = job_.all_gather(torch::tensor({manifest.step}, torch::kInt64));
    if ((steps != manifest.step).any().item<bool>()) {
      throw Error("the ranks found different checkpoints to resume from: is the run that writes them still going on?");
    }
    say("resumed from " + resume_->checkpoint.folder.string());
  }

  void evaluate_checkpoint() {
    const Checkpoint& checkpoint = resume_->checkpoint;
    load_model(*net_, checkpoint);
    normalisation_ = {.mean = fact(checkpoint.manifest, "pixel_mean", checkpoint.folder),
                      .deviation = fact(checkpoint.manifest, "pixel_deviation", checkpoint.folder)};
    steps_done_ = checkpoint.manifest.step;
    epochs_done_ = checkpoint.manifest.cursor.epoch;
    evaluate(ImageWriter(normalisation_));
    samples_done_ = test_.count();
  }

  void evaluate(const ImageWriter& writer) {
    reporter_.progress({.epoch = static_cast<int>(epochs_done_),
                        .epochs = static_cast<int>(settings_.integer("epochs")),
                        .phase = "evaluation"});
    test_correct_ =
        job_.sum(count_correct(*net_, test_, writer, evaluation_blocks(test_.count(), job_.rank, job_.world_size)));
  }

  void train() {
    const ImageSet all = read_fashion_mnist(settings_.text("data"), Split::kTrain);
    normalisation_ = measure_pixels(all);
    train_ = limited(all, settings_.integer("limit"));
    order_plan_ = {.sample_count = train_.count(), .batch = settings_.integer("batch"), .world_size = job_.world_size};
    const ImageWriter writer(normalisation_);

    Cursor cursor;
    if (resume_) {
      load_model(*net_, resume_->checkpoint);
      cursor = resume_->checkpoint.manifest.cursor;
      steps_done_ = resume_->checkpoint.manifest.step;
      epochs_done_ = cursor.epoch;
    }
    ReplicaOptions replica;
    replica.bucket_cap_bytes = settings_.integer("bucket_bytes");
    replica.first_bucket_bytes = std::min(replica.first_bucket_bytes, replica.bucket_cap_bytes);
    replica.overlap = settings_.on("overlap") ? Overlap::kOn : Overlap::kOff;
    DistributedDataParallel ddp(job_, *net_, replica);
    Optimizer<torch::optim::SGD> optimizer(
        ddp, parameters(*net_),
        torch::optim::SGDOptions(settings_.number("lr")).momentum(0.9).nesterov(true).weight_decay(5e-4));
    if (resume_) {
      const auto file = resume_->checkpoint.folder / kOptimizerFile;
      decode_optimizer(*net_, optimizer, SafetensorsFile::read(file), file.string());
    }
    if (plan_.mode == Mode::kCheck) return look_for_mistakes(cursor.epoch, writer, ddp, optimizer);
    requests_.emplace(job_);
    begin_metrics();
    if (settings_.on("trace")) trace_.emplace(job_);
    say("global batch " + std::to_string(order_plan_.global_batch()) + ", " +
        std::to_string(order_plan_.steps_per_epoch()) + " steps an epoch; " + ddp.description());

    const int64_t stop_after = settings_.integer("stop_after");
    const int64_t epochs =
        stop_after > 0 ? std::min(stop_after, settings_.integer("epochs")) : settings_.integer("epochs");
    if (cursor.epoch >= epochs) evaluate(writer);  // started again when all was trained
    for (; cursor.epoch < epochs; cursor = {.epoch = cursor.epoch + 1, .step = 0}) {
      train_epoch(cursor, writer, ddp, optimizer);
      if (stop_signal_ != 0) return;
      epochs_done_ = cursor.epoch + 1;
      evaluate(writer);
      end_epoch(cursor.epoch);
      save_checkpoint({.epoch = cursor.epoch + 1, .step = 0}, optimizer);
    }
    if (trace_) {
      trace_->write(run_folder_ / "trace.json");
      say("trace of all ranks: " + (run_folder_ / "trace.json").string() + " (open it in ui.perfetto.dev)");
    }
  }

  /// Instead of training.
  void look_for_mistakes(int64_t epoch, const ImageWriter& writer, DistributedDataParallel& ddp,
                         Optimizer<torch::optim::SGD>& optimizer) {
    const EpochKey key{.seed = static_cast<uint64_t>(settings_.integer("seed")), .epoch = epoch};
    const std::vector<int64_t> order = permutation(key, train_.count());
    const Batch storage(order_plan_.batch);
    const RateSchedule cycle = make_cycle();
    const auto loss = [&](int64_t step) {
      return loss_of(batch_of(step % order_plan_.steps_per_epoch(), key, order, storage, writer));
    };
    const auto prepare = [&](int64_t step) {
      const double rate = cycle.rate(settings_.number("lr"), epoch * order_plan_.steps_per_epoch() + step);
      for (auto& group : optimizer.param_groups()) group.options().set_lr(rate);
      optimizer.zero_grad();
    };
    const Findings found = check_training({.job = job_,
                                           .ddp = ddp,
                                           .optimizer = optimizer,
                                           .loss = loss,
                                           .prepare = prepare,
                                           .equal = {{"seed", settings_.integer("seed")},
                                                     {"epoch", epoch},
                                                     {"training images", train_.count()},
                                                     {"images a step and rank", order_plan_.batch}}});
    if (plan_.output == Request::Output::kJson) reporter_.say(found.json());
    std::istringstream lines(found.text());
    for (std::string line; std::getline(lines, line);) say(line);
    refuse_errors(found, plan_.recipe->short_name());
  }

  RateSchedule make_cycle() const {
    return one_cycle(
        {.peak = settings_.number("lr"), .total_steps = settings_.integer("epochs") * order_plan_.steps_per_epoch()});
  }

  /// This rank's part of the global batch of `step`, in `storage`. A rank without samples in a short last batch gets
  /// one that counts for nothing.
  Batch batch_of(int64_t step, const EpochKey& key, const std::vector<int64_t>& order, const Batch& storage,
                 const ImageWriter& writer) const {
    const Range mine = order_plan_.rank_range(step, job_.rank);
    const int64_t first = mine.count() > 0 ? mine.first : order_plan_.global_range(step).first;
    Batch batch = storage.first(std::max<int64_t>(mine.count(), 1));
    for (int64_t i = 0; i < batch.labels.size(0); ++i) {
      const int64_t sample = order[static_cast<size_t>(first + i)];
      const auto mirror = flipped(key, sample) ? ImageWriter::Mirror::kYes : ImageWriter::Mirror::kNo;
      writer.write(train_, sample, mirror, batch.images.data_ptr<float>() + i * kImagePixels);
      batch.labels.data_ptr<int64_t>()[i] = train_.labels[static_cast<size_t>(sample)];
    }
    return batch;
  }

  void train_epoch(Cursor from, const ImageWriter& writer, DistributedDataParallel& ddp,
                   Optimizer<torch::optim::SGD>& optimizer) {
    const EpochKey key{.seed = static_cast<uint64_t>(settings_.integer("seed")), .epoch = from.epoch};
    const std::vector<int64_t> order = permutation(key, train_.count());
    const int64_t steps = order_plan_.steps_per_epoch();
    const double peak = settings_.number("lr");
    const RateSchedule cycle = make_cycle();
    const Batch storage(order_plan_.batch);
    epoch_ = {};
    epoch_start_ = SteadyClock::now();
    for (int64_t step = from.step; step < steps; ++step) {
      const Range global = order_plan_.global_range(step);
      const Range mine = order_plan_.rank_range(step, job_.rank);
      const Batch batch = batch_of(step, key, order, storage, writer);
      const double rate = cycle.rate(peak, from.epoch * steps + step);
      for (auto& group : optimizer.param_groups()) group.options().set_lr(rate);
      optimizer.zero_grad();
      torch::Tensor loss = traced_loss_of(batch);
      const double loss_value = loss.item<double>();
      check_finite(loss_value, step, from.epoch);
      // Every rank of a full batch weighs the same: the plain mean. Only a short one needs weights.
      if (global.count() < order_plan_.global_batch()) loss = ddp.weigh(loss, static_cast<double>(mine.count()));
      loss.backward();
      optimizer.step();

      ++steps_done_;
      epoch_.loss += loss_value * static_cast<double>(mine.count());
      epoch_.samples += global.count();
      epoch_.lr = rate;
      const StepStatistics statistics = ddp.statistics();
      if (trace_) trace_->add(statistics);
      report_step({.first = step, .last = steps}, global.count(), loss_value, statistics);
      const Requests::Asked asked = requests_->agree();
      const bool saved_anyway = step + 1 == steps && !asked.stop;  // at the end of the epoch
      if (asked.checkpoint && !saved_anyway) save_on_request({.epoch = from.epoch, .step = step + 1}, optimizer);
      stop_signal_ = asked.signal;
      if (asked.stop) return;
    }
    epoch_.order_hash =
        order_hash(std::span(order).first(static_cast<size_t>(order_plan_.global_range(steps - 1).last)));
    epoch_.loss = job_.sum(epoch_.loss) / static_cast<double>(epoch_.samples);
    epoch_.seconds = Seconds(SteadyClock::now() - epoch_start_).count();
    samples_done_ += epoch_.samples;
    check_same_order();
  }

  torch::Tensor loss_of(const Batch& batch) {
    return torch::nn::functional::cross_entropy(net_->forward(batch.images), batch.labels);
  }
  torch::Tensor traced_loss_of(const Batch& batch) {
    if (!trace_) return loss_of(batch);
    const auto span = trace_->span("forward");
    return loss_of(batch);
  }

  void check_finite(double loss, int64_t step, int64_t epoch) const {
    if (std::isfinite(loss)) return;
    throw Error("training diverged: the loss of rank " + std::to_string(job_.rank) + " is not finite in step " +
                    std::to_string(step + 1) + " of epoch " + std::to_string(epoch + 1) + "; try a smaller lr than " +
                    settings_.text("lr"),
                Error::Details{.exit_code = ExitCode::kDiverged, .culprit_rank = job_.rank});
  }

  /// The order is computed on every rank; equal hashes prove that no sample was seen twice.
  void check_same_order() const {
    const auto bits = static_cast<int64_t>(std::stoull(epoch_.order_hash, nullptr, 16));
    const auto all = job_.all_gather(torch::tensor({bits}, torch::kInt64));
    if ((all != bits).any().item<bool>())
      throw Error("the ranks disagree about the order of samples: do all have the same data?");
  }

  double samples_per_second() const {
    const double seconds = Seconds(SteadyClock::now() - epoch_start_).count();
    return seconds > 0 ? static_cast<double>(epoch_.samples) / seconds : 0;
  }

  void begin_metrics() {
    if (job_.rank != 0) return;
    metrics_ = std::make_unique<MetricsWriter>(run_folder_ / "metrics.jsonl");
    events_ = std::make_unique<EventFile>(run_folder_);
    int64_t count = 0;
    for (const auto& parameter : parameters(*net_)) count += parameter.numel();
    metrics_->write(RunMetrics{.recipe = plan_.recipe->name,
                               .world_size = job_.world_size,
                               .steps_per_epoch = order_plan_.steps_per_epoch(),
                               .parameters = count,
                               .samples = train_.count(),
                               .config = settings_.values()});
  }

  void report_step(Range place, int64_t samples, double loss, const StepStatistics& statistics) {
    if (job_.rank != 0) return;
    const int64_t epoch = epochs_done_ + 1;
    const StepMetrics metrics{.step = steps_done_,
                              .epoch = epoch,
                              .loss = loss,
                              .lr = epoch_.lr,
                              .samples = samples,
                              .samples_per_second = samples_per_second(),
                              .statistics = statistics};
    metrics_->write(metrics);
    events_->write(metrics);
    reporter_.progress({.epoch = static_cast<int>(epoch),
                        .epochs = static_cast<int>(settings_.integer("epochs")),
                        .step = place.first + 1,
                        .steps = place.last,
                        .loss = loss,
                        .learning_rate = epoch_.lr,
                        .samples_per_second = samples_per_second(),
                        .phase = "training"});
  }

  void end_epoch(int64_t epoch) {
    if (job_.rank != 0) return;
    const double rate = static_cast<double>(epoch_.samples) / epoch_.seconds;
    const EpochMetrics metrics{.step = steps_done_,
                               .epoch = epoch + 1,
                               .loss = epoch_.loss,
                               .lr = epoch_.lr,
                               .samples = epoch_.samples,
                               .samples_per_second = rate,
                               .order_hash = epoch_.order_hash,
                               .test_correct = test_correct_,
                               .test_samples = test_.count()};
    metrics_->write(metrics);
    events_->write(metrics);
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(), "epoch %lld of %lld: loss %.4f, test accuracy %.2f %%, %.0f samples/s",
                  static_cast<long long>(epoch + 1), static_cast<long long>(settings_.integer("epochs")), epoch_.loss,
                  100.0 * static_cast<double>(test_correct_) / static_cast<double>(test_.count()), rate);
    say(line.data());
  }

  void save_checkpoint(Cursor next, Optimizer<torch::optim::SGD>& optimizer) {
    if (job_.rank == 0) {
      ModuleState model = encode_module(*net_);
      const Manifest manifest{
          .step = steps_done_,
          .cursor = next,
          .seed = static_cast<uint64_t>(settings_.integer("seed")),
          .world_size = job_.world_size,
          .recipe = plan_.recipe->name,
          .config = settings_.values(),
          .facts = {{"pixel_mean", exact(normalisation_.mean)}, {"pixel_deviation", exact(normalisation_.deviation)}},
          .aliases = std::move(model.aliases),
          .params_hash = hash_parameters(*net_),
          .files = {}};
      write_checkpoint(run_folder_ / "checkpoints", manifest,
                       {{kModelFile, std::move(model.content)}, {kOptimizerFile, encode_optimizer(*net_, optimizer)}});
    }
    job_.barrier();
  }

  /// A signal to the launcher asked for it.
  void save_on_request(Cursor next, Optimizer<torch::optim::SGD>& optimizer) {
    if (next.step == order_plan_.steps_per_epoch()) next = {.epoch = next.epoch + 1, .step = 0};
    save_checkpoint(next, optimizer);
    say("checkpoint on request: step " + std::to_string(steps_done_));
  }

  void finish(double seconds) {
    Summary summary{.recipe = plan_.recipe->name,
                    .world_size = job_.world_size,
                    .epochs = epochs_done_,
                    .steps = steps_done_,
                    .train_samples = train_.count(),
                    .test_samples = test_.count(),
                    .test_correct = test_correct_,
                    .seconds = seconds,
                    .samples_per_second = seconds > 0 ? static_cast<double>(samples_done_) / seconds : 0,
                    .params_hash = gather_hashes(),
                    .transport = job_.world_size == 1 ? "none" : job_.transport(),
                    .torch = TORCH_VERSION,
                    .commit = job_.rank == 0 ? commit_of_run(run_folder_) : ""};
    if (job_.rank == 0) {
      const std::string text = encode_summary(summary);
      write_atomically(run_folder_ / "summary.json", std::as_bytes(std::span(text)));
      if (plan_.output == Request::Output::kJson) {
        reporter_.say(text.substr(0, text.size() - 1));
      } else {
        reporter_.say(summary.accuracy_line());
        reporter_.say(summary.parameters_line());
      }
    }
    if (!summary.params_equal()) throw Error("the replicas differ after training: " + summary.parameters_line());
  }

  /// The parameters' hash of every rank, in rank order.
  std::vector<std::string> gather_hashes() const {
    const std::string mine = hash_parameters(*net_);
    auto bytes = torch::empty({static_cast<int64_t>(mine.size())}, torch::kUInt8);
    std::memcpy(bytes.data_ptr(), mine.data(), mine.size());
    const torch::Tensor all = job_.all_gather(bytes).contiguous();
    std::vector<std::string> hashes;
    for (int rank = 0; rank < job_.world_size; ++rank) {
      hashes.emplace_back(static_cast<const char*>(all.const_data_ptr()) + static_cast<size_t>(rank) * mine.size(),
                          mine.size());
    }
    return hashes;
  }

  struct EpochSums {
    double loss = 0, lr = 0, seconds = 0;
    int64_t samples = 0;  // of all ranks
    std::string order_hash;
  };

  const RunPlan& plan_;
  const Settings& settings_;
  Reporter& reporter_;
  const Job job_;
  std::filesystem::path run_folder_;  // rank 0 only, unless the agent named it
  std::optional<FoundCheckpoint> resume_;
  ImageSet train_, test_;
  Normalisation normalisation_;
  std::unique_ptr<ImageNet28> net_;
  BatchPlan order_plan_;
  std::unique_ptr<MetricsWriter> metrics_;  // rank 0 only
  std::unique_ptr<EventFile> events_;       // rank 0 only
  std::optional<Requests> requests_;        // while it trains
  int stop_signal_ = 0;
  std::optional<Trace> trace_;  // of every rank, on request
  EpochSums epoch_;
  SteadyClock::time_point epoch_start_;
  int64_t steps_done_ = 0, epochs_done_ = 0, samples_done_ = 0, test_correct_ = 0;
};

}  // namespace

void run_image_recipe(const RunPlan& plan, const TrainingContext& context, Reporter& reporter) {
  torch::set_num_threads(thread_count(plan.settings, context.default_threads));
  const int signal = [&] {
    ImageRun run(plan, context, reporter);
    run.run();
    return run.stop_signal();
  }();
  if (signal != 0)
    throw Error("stopped by signal " + std::to_string(signal) + " with a checkpoint; --resume goes on from it",
                kPreempted);
}

void dump_outputs(const RunPlan& plan, const std::filesystem::path& file) {
  constexpr int64_t kSamples = 64;
  torch::set_num_threads(1);
  const Checkpoint& checkpoint = plan.resume->checkpoint;
  const ImageSet test = limited(read_fashion_mnist(plan.settings.text("data"), Split::kTest), kSamples);
  const auto net = make_net(*plan.recipe, 0);
  load_model(*net, checkpoint);
  net->eval();
  const ImageWriter writer({.mean = fact(checkpoint.manifest, "pixel_mean", checkpoint.folder),
                            .deviation = fact(checkpoint.manifest, "pixel_deviation", checkpoint.folder)});
  const Batch batch(test.count());
  for (int64_t i = 0; i < test.count(); ++i) {
    writer.write(test, i, ImageWriter::Mirror::kNo, batch.images.data_ptr<float>() + i * kImagePixels);
    batch.labels.data_ptr<int64_t>()[i] = test.labels[static_cast<size_t>(i)];
  }
  const torch::NoGradGuard no_grad;
  const torch::Tensor logits = net->forward(batch.images).contiguous();
  const auto record = [](const std::string& name, const std::string& dtype, const torch::Tensor& tensor) {
    return TensorRecord{.name = name,
                        .dtype = dtype,
                        .shape = tensor.sizes().vec(),
                        .bytes = {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
  };
  const auto content = encode_safetensors(
      {record("inputs", "F32", batch.images), record("logits", "F32", logits), record("labels", "I64", batch.labels)},
      {{"recipe", plan.recipe->name}, {"checkpoint", checkpoint.folder.string()}});
  write_atomically(file, content);
}

}  // namespace rondo::trainer
