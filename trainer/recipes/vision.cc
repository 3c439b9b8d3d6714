#include <string>
#include <utility>

#include "trainer/data/fashion_mnist.h"
#include "trainer/recipes/registry.h"

namespace rondo::trainer {
namespace {

std::vector<KeySpec> image_keys(const std::string& epochs, const std::string& peak) {
  constexpr double kMany = 1e9;
  return {
      {.name = "epochs",
       .type = KeyType::kInteger,
       .default_value = epochs,
       .help = "passes over the training images",
       .least = 1,
       .most = 10'000},
      {.name = "batch",
       .type = KeyType::kInteger,
       .default_value = "64",
       .help = "images a step and rank",
       .scope = Scope::kPerRank,
       .least = 1,
       .most = 1 << 20},
      {.name = "lr",
       .type = KeyType::kNumber,
       .default_value = peak,
       .help = "learning rate at the one-cycle's peak",
       .least = 0,
       .most = 1e6},
      {.name = "seed",
       .type = KeyType::kInteger,
       .default_value = "1",
       .help = "of initial values, order and flips",
       .least = 0,
       .most = kMany},
      {.name = "threads",
       .type = KeyType::kInteger,
       .default_value = "0",
       .help = "compute threads; 0: OMP_NUM_THREADS, else 1",
       .scope = Scope::kPerRank,
       .least = 0,
       .most = 1024},
      {.name = "transport",
       .type = KeyType::kChoice,
       .default_value = "auto",
       .help = "how gradients travel",
       .choices = {"auto", "shm", "tcp", "mpi", "shm+mpi"}},
      {.name = "algorithm",
       .type = KeyType::kChoice,
       .default_value = "auto",
       .help = "schedule of the all-reduce",
       .choices = {"auto", "direct", "one-shot", "ring"}},
      {.name = "overlap",
       .type = KeyType::kSwitch,
       .default_value = "on",
       .help = "reduce buckets while backward runs"},
      {.name = "trace",
       .type = KeyType::kSwitch,
       .default_value = "off",
       .help = "write trace.json: all ranks on one clock"},
      {.name = "bucket_bytes",
       .type = KeyType::kBytes,
       .default_value = "25MiB",
       .help = "largest bucket of gradients",
       .least = 1,
       .most = 1e12},
      {.name = "data",
       .type = KeyType::kText,
       .default_value = kFashionMnistFolder,
       .help = "folder with the four idx files"},
      {.name = "limit",
       .type = KeyType::kInteger,
       .default_value = "0",
       .help = "use only the first images of each split; 0: all",
       .least = 0,
       .most = kMany},
      {.name = "stop_after",
       .type = KeyType::kInteger,
       .default_value = "0",
       .help = "end after this epoch, to be resumed; 0: never",
       .least = 0,
       .most = 10'000},
  };
}

void check_images(const Settings& settings, Mode mode) {
  const std::string& folder = settings.text("data");
  if (mode != Mode::kEvaluate) read_fashion_mnist(folder, Split::kTrain);
  read_fashion_mnist(folder, Split::kTest);
}

}  // namespace

void register_vision(RecipeRegistry& registry) {
  registry.add({.name = "vision.fmnist-cnn",
                .summary = "two convolutions on Fashion-MNIST, 421,642 parameters: about 91 % after 3 epochs",
                .keys = image_keys("3", "0.1"),
                .check = check_images});
  registry.add({.name = "vision.fmnist-mlp",
                .summary = "three hidden layers on Fashion-MNIST, 242,762 parameters: a quick one",
                .keys = image_keys("3", "0.1"),
                .check = check_images});
}

}  // namespace rondo::trainer
