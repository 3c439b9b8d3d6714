#include "trainer/recipes/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <toml++/toml.h>

#include "rondo/error.h"
#include "trainer/recipes/registry.h"

namespace rondo::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Settings cnn_settings() {
  const RecipeRegistry registry = all_recipes();
  const Recipe& recipe = registry.find("fmnist-cnn");
  return {recipe.short_name(), recipe.keys};
}

/// The words with which `action` is refused, all of them usage errors.
template <typename Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    return error.what();
  }
  return "accepted";
}
std::string refusal_of(const std::string& assignment) {
  return refusal([&] { cnn_settings().set_assignment(assignment); });
}

TEST(Settings, DefaultsAreThoseOfTheDocumentation) {
  const Settings settings = cnn_settings();
  EXPECT_EQ(settings.integer("epochs"), 3);
  EXPECT_EQ(settings.integer("batch"), 64);
  EXPECT_EQ(settings.number("lr"), 0.1);
  EXPECT_EQ(settings.integer("bucket_bytes"), 25 << 20);
  EXPECT_TRUE(settings.on("overlap"));
  EXPECT_EQ(settings.text("data"), "/usr/share/datasets/fashion-mnist");
}

TEST(Settings, ValuesAreReadInTheirTypes) {
  Settings settings = cnn_settings();
  for (const char* assignment :
       {"epochs=7", "lr=2.5e-3", "overlap=off", "bucket_bytes=64KiB", "data=/a=b c", "transport=tcp"}) {
    settings.set_assignment(assignment);
  }
  EXPECT_EQ(settings.integer("epochs"), 7);
  EXPECT_EQ(settings.number("lr"), 0.0025);
  EXPECT_FALSE(settings.on("overlap"));
  EXPECT_EQ(settings.integer("bucket_bytes"), 65536);
  EXPECT_EQ(settings.text("data"), "/a=b c");
}

TEST(Settings, AnUnknownKeyComesWithTheNearestOne) {
  EXPECT_THAT(refusal_of("epoch=3"),
              AllOf(HasSubstr("\"epoch\""), HasSubstr("did you mean \"epochs\""), HasSubstr("fmnist-cnn")));
  EXPECT_THAT(refusal_of("bucketbytes=3"), HasSubstr("did you mean \"bucket_bytes\""));
  EXPECT_THAT(refusal_of("zzzzzzzzzzzz=3"), AllOf(Not(HasSubstr("did you mean")), HasSubstr("Its keys: epochs")));
  EXPECT_THAT(refusal_of("=3"), HasSubstr("expected key=value"));
  EXPECT_THAT(refusal_of("epochs"), HasSubstr("expected key=value"));
}

TEST(Settings, ValuesThatDoNotFitAreRefusedWithWhatWouldFit) {
  EXPECT_THAT(refusal_of("epochs=0"), AllOf(HasSubstr("epochs=0"), HasSubstr("integer from 1")));
  for (const char* bad :
       {"epochs=", "epochs=3x", "epochs=3.5", "epochs=-1", "epochs=99999999999999999999", "lr=nan", "lr=inf", "lr=-1",
        "lr=0.1f", "overlap=maybe", "transport=tpc", "bucket_bytes=0", "bucket_bytes=25 MiB", "bucket_bytes=-1MiB",
        "bucket_bytes=1.5B", "bucket_bytes=MiB", "bucket_bytes=1e300GiB", "data="}) {
    EXPECT_NE(refusal_of(bad), "accepted") << bad;
  }
  EXPECT_THAT(refusal_of("transport=tpc"), HasSubstr("did you mean tcp"));
  EXPECT_THAT(refusal_of("bucket_bytes=many"), HasSubstr("25MiB"));
}

TEST(Settings, BytesUnderstandUnits) {
  EXPECT_EQ(parse_bytes("k", "25MiB"), 25 << 20);
  EXPECT_EQ(parse_bytes("k", "0.5GiB"), 1 << 29);
  EXPECT_EQ(parse_bytes("k", "10kB"), 10'000);
  EXPECT_EQ(parse_bytes("k", "7B"), 7);
  EXPECT_EQ(parse_bytes("k", "7"), 7);
}

TEST(Settings, TomlHoldsEveryKeyInItsType) {
  Settings settings = cnn_settings();
  settings.set("lr", "1");
  settings.set("data", "/quo\"te\\back\nline\x01");
  const toml::table table = toml::parse(settings.toml());
  EXPECT_EQ(table.size(), settings.keys().size());
  EXPECT_EQ(table["lr"].value_exact<double>(), 1.0);
  EXPECT_EQ(table["epochs"].value_exact<int64_t>(), 3);
  EXPECT_EQ(table["overlap"].value_exact<bool>(), true);
  EXPECT_EQ(table["data"].value_exact<std::string>(), "/quo\"te\\back\nline\x01");
}

TEST(Nearest, FindsTyposAndNothingElse) {
  const std::vector<std::string> names{"fmnist-cnn", "fmnist-mlp"};
  EXPECT_EQ(nearest("fminst-cnn", names), "fmnist-cnn");
  EXPECT_EQ(nearest("mnist-mlp", names), "fmnist-mlp");
  EXPECT_EQ(nearest("gpt", names), "");
  EXPECT_EQ(nearest("", {}), "");
}

TEST(Registry, FindsRecipesByBothNames) {
  const RecipeRegistry registry = all_recipes();
  EXPECT_EQ(&registry.find("fmnist-cnn"), &registry.find("vision.fmnist-cnn"));
  EXPECT_THAT(refusal([&] { (void)registry.find("fmnist-cnm"); }),
              AllOf(HasSubstr("did you mean \"fmnist-cnn\""), HasSubstr("fmnist-mlp")));
}

TEST(Registry, RefusesASecondRecipeOfTheSameName) {
  RecipeRegistry registry = all_recipes();
  EXPECT_THAT(refusal([&] { registry.add({.name = "other.fmnist-cnn", .summary = "", .keys = {}, .check = {}}); }),
              HasSubstr("fmnist-cnn"));
}

TEST(Registry, TheListSaysPerRankOrGlobalForEveryKey) {
  const RecipeRegistry registry = all_recipes();
  EXPECT_THAT(registry.list_text(), AllOf(HasSubstr("vision.fmnist-mlp"), HasSubstr("batch=64"),
                                          HasSubstr("(integer, per rank)"), HasSubstr("(number, global)")));
  EXPECT_THAT(registry.list_json(),
              AllOf(HasSubstr("\"scope\": \"per rank\""), HasSubstr("\"short_name\": \"fmnist-cnn\"")));
}

}  // namespace
}  // namespace rondo::trainer
