#include "trainer/gradient/model_table.h"

#include <gtest/gtest.h>

namespace rondo::trainer {
namespace {

const ModelTable kModel{{"parameter", "conv.weight", "float32 [64, 32, 3, 3]"},
                        {"parameter", "conv.bias", "float32 [64]"},
                        {"buffer", "bn.count", "int64 []"}};

std::string compared(const ModelTable& other) {
  return difference({.rank = 0, .table = kModel}, {.rank = 3, .table = other}).value_or("equal");
}

TEST(ModelTable, SurvivesItsText) { EXPECT_EQ(parse_model_table(to_text(kModel)), kModel); }

TEST(ModelTable, EqualTablesHaveNoDifference) { EXPECT_EQ(compared(kModel), "equal"); }

TEST(ModelTable, NamesBothSidesOfADifferentShape) {
  ModelTable other = kModel;
  other[0].what = "float32 [48, 32, 3, 3]";
  EXPECT_EQ(compared(other),
            "parameter \"conv.weight\": rank 0 has float32 [64, 32, 3, 3], rank 3 has float32 [48, 32, 3, 3]");
}

TEST(ModelTable, NamesTheSideThatLacksAnEntry) {
  ModelTable shorter = kModel;
  shorter.erase(shorter.begin() + 1);
  EXPECT_EQ(compared(shorter), "parameter \"conv.bias\": rank 0 has float32 [64], rank 3 has none");
  ModelTable longer = kModel;
  longer.push_back({"parameter", "fc.bias", "float32 [10]"});
  EXPECT_EQ(compared(longer), "parameter \"fc.bias\": rank 3 has float32 [10], rank 0 has none");
}

TEST(ModelTable, NamesTheFirstEntryOfADifferentOrder) {
  ModelTable other{kModel[1], kModel[0], kModel[2]};
  EXPECT_EQ(compared(other),
            "entry 0 of the model: rank 0 has parameter \"conv.weight\" float32 [64, 32, 3, 3], rank 3 has parameter "
            "\"conv.bias\" float32 [64]");
}

}  // namespace
}  // namespace rondo::trainer
