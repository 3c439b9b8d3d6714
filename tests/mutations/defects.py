"""Seeded defects: each is one replacement in one file, and the test that must fail for it."""
import dataclasses


@dataclasses.dataclass
class Defect:
    name: str
    file: str
    old: str  # stands there exactly once
    new: str
    test: str  # GoogleTest filter
    program: str = "trainer_gradient_test"


REDUCER = "trainer/gradient/reducer.cc"
BATCH_NORM = "trainer/gradient/sync_batch_norm.cc"
PLAN = "trainer/gradient/bucket_plan.cc"
BUCKETS = "trainer/gradient/buckets.cc"

DEFECTS = [
    Defect("last-bucket-skipped", REDUCER, "while (launched() < buckets_.count()) launch(complete ? weight() : 0.0);",
           "while (launched() + 1 < buckets_.count()) launch(complete ? weight() : 0.0);",
           "Reducer.WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame"),
    Defect("launched-out-of-order", REDUCER, "missing_[launched()] == 0) launch(weight());", "missing_.back() == 0) launch(weight());",
           "Reducer.*:CommHook.*:Unused.*"),
    Defect("no-rebuild", REDUCER, "std::vector<int64_t> observed(arrivals_.begin(), arrivals_.end());", "std::vector<int64_t> observed;",
           "Reducer.PlanFollowsTheOrderThatRankZeroSawAndStays"),
    Defect("order-of-each-rank", REDUCER, "{.rank = 0}, {.tag = \"order of gradients\"}", "{.rank = 1}, {.tag = \"order of gradients\"}",
           "Reducer.RanksThatSeeAnotherOrderTakeRankZeros"),
    Defect("bitmap-ignored", REDUCER, "if (!agreed.used[kept.parameter]) gradient_of", "if (false) gradient_of",
           "Reducer.ParameterUnusedOnAllRanksKeepsItsGradientUntouched"),
    Defect("unused-anywhere-gets-no-gradient", REDUCER, "if (agreed.used[i] && !is_sparse(i) &&", "if (used_[i] && !is_sparse(i) &&",
           "Reducer.ParameterUnusedOnOneRankGetsTheMeanWithZeros"),
    Defect("weight-ignored", "trainer/gradient/reducer.cc", "bucket.weight = weight;", "bucket.weight = 1;",
           "Reducer.WeighedBatchesOfFiveThreeAndZeroGiveTheMeanOverAllSamples"),
    Defect("weights-of-a-window-not-summed", REDUCER, "weight_ += count;", "weight_ = count;", "Weights.OfUnequalMicroBatchesUnderNoSyncGiveTheMeanOverAllSamples",
           "trainer_lockstep_test"),
    Defect("no-sync-reduces", REDUCER, "if (no_sync_depth_ > 0) {", "if (no_sync_depth_ > 1) {",
           "Reducer.NoSyncAccumulatesAndTheSyncedBackwardReducesTheSum"),
    Defect("overlap-off-is-on", REDUCER, "if (options_.launch == ReducerOptions::Launch::kDuringBackward) launch_full_buckets();", "launch_full_buckets();",
           "Reducer.WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame"),
    Defect("no-overlap", REDUCER, "if (options_.launch == ReducerOptions::Launch::kDuringBackward) launch_full_buckets();", "",
           "Reducer.FirstBucketIsLaunchedBeforeBackwardEnds"),
    Defect("buffers-not-synchronised", REDUCER, "if (!failed && options_.after_reduction) status", "if (failed && options_.after_reduction) status",
           "Reducer.BuffersFollowRankZeroAtTheEndOfEachBackward"),
    Defect("failed-step-is-applied", REDUCER, "verdict_ = failed ? Verdict::kSkip : Verdict::kApply;", "verdict_ = Verdict::kApply;",
           "Reducer.BackwardThatThrowsOnOneRankIsSkippedOnAllAndTheNextWorks"),
    Defect("create-graph-accepted", REDUCER, "if (builds_a_graph()) {", "if (false) {", "Reducer.CreateGraphIsRefusedWithAdvice"),
    Defect("nested-backward-ends-the-outer-one", REDUCER, "if (inside_a_node()) {  //", "if (false) {  //",
           "Reducer.BackwardWithinABackwardIsReducedOnceAtTheEndOfTheOuterOne"),
    Defect("missing-step-point-accepted", REDUCER, "if (!skipped) fail(Code::kInvalidArgument, kMissingStep);", "", "Reducer.MissingStepPointIsNamedWithItsCure"),
    Defect("unused-accepted-in-strict-mode", REDUCER, "if (names.empty()) return;", "return;", "Unused.StrictMode*"),
    Defect("sparse-gradient-dropped", REDUCER, "if (agreed.used[sparse.parameter]) gradient_of", "if (false) gradient_of", "Kinds.SparseGradient*"),
    Defect("model-change-unseen", REDUCER, "changed_ = true;", "changed_ = false;", "ModelChanges.*"),
    Defect("hooks-of-ranks-not-compared", REDUCER, ".what = name}}));", ".what = \"\"}}));", "CommHook.MustBeTheSameOnAllRanksAndIsNotChangedWithinAStep"),
    Defect("no-small-last-bucket", PLAN, "if (!closed.empty()) split_last(closed, shapes, caps.edge_bytes);", "", "BucketPlan.FollowsTheOrderWithASmallFirstAndASmallLastBucket"),
    Defect("no-small-first-bucket", PLAN, "closed.empty() ? std::min(caps.edge_bytes, caps.bucket_bytes) : caps.bucket_bytes", "caps.bucket_bytes",
           "BucketPlan.FollowsTheOrderWithASmallFirstAndASmallLastBucket"),
    Defect("buckets-unsorted", PLAN, "std::ranges::sort(closed, {}, &OpenBucket::last_position);", "", "BucketPlan.LaunchesDtypesInTheOrderInWhichTheirBucketsFill"),
    Defect("slots-overlap", PLAN, "layout.element_count += aligned_count(shapes[parameter]);", "layout.element_count = aligned_count(shapes[parameter]);",
           "BucketPlan.*"),
    Defect("gradient-at-the-wrong-place", BUCKETS, "+ layout.byte_offset + slot.offset * width", "+ layout.byte_offset", "Reducer.GradientIsTheMeanOverRanksWhenBackwardReturns"),
    Defect("batch-norm-of-this-rank", BATCH_NORM, "all.mean = (counts * means).sum(0) / count;", "", "SyncBatchNorm.IsBatchNormOfTheWholeBatchInAllItsForms"),
    Defect("running-variance-biased", BATCH_NORM, "static_cast<double>(all.count - 1)", "static_cast<double>(all.count)",
           "SyncBatchNorm.IsBatchNormOfTheWholeBatchInAllItsForms"),
]
