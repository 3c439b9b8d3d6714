#include "launcher/agent/progress_bar.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

const TrainingProgress kHalf{.epoch = 2,
                             .epochs = 3,
                             .step = 50,
                             .steps = 100,
                             .loss = 0.3121,
                             .learning_rate = 0.1,
                             .samples_per_second = 8123.4,
                             .phase = "training"};

TEST(ProgressBar, ShowsEpochStepLossAndSpeed) {
  EXPECT_EQ(progress_bar(kHalf, 200),
            "epoch 2/3 [============>           ]  50 %  step 50/100  loss 0.3121  8123 samples/s");
  EXPECT_EQ(progress_line(kHalf), "epoch 2/3, step 50/100, loss 0.3121, 8123 samples/s");
}

TEST(ProgressBar, NeverReachesTheLastColumn) {
  for (int columns = 0; columns < 120; ++columns) {
    EXPECT_LT(static_cast<int>(progress_bar(kHalf, columns).size()), std::max(columns, 1)) << columns;
  }
}

TEST(ProgressBar, StaysInBoundsForNonsense) {
  TrainingProgress wild = kHalf;
  wild.step = 1000;
  EXPECT_NE(progress_bar(wild, 200).find("[========================] 100 %"), std::string::npos);
  wild.steps = 0;
  EXPECT_NE(progress_bar(wild, 200).find("   0 %"), std::string::npos);
}

}  // namespace
}  // namespace rondo::launcher
