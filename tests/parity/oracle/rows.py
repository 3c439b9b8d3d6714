"""The behaviours of PyTorch's DistributedDataParallel and of its peers, and which tests show them in Rondo.

A test is "case NAME" (of cases.py) or a test of CTest, with * for any text. Where Rondo has nothing to run the row says
why instead; a test that does not exist fails its row.
"""
import dataclasses

GRADIENT = "trainer_gradient_test."
CORE, STATE = "Gradient reduction", "State, correctness, BatchNorm"


@dataclasses.dataclass
class Row:
    part: str
    behaviour: str
    tests: tuple = ()
    without: str = ""  # no test: "not built: ..." or "not applicable: ..."


def reducer(*names):
    return tuple(f"{GRADIENT}Reducer.{name}" for name in names)


def case(*names):
    return tuple(f"case {name}" for name in names)


ROWS = [
    Row(CORE, "Overlap with backward", reducer("FirstBucketIsLaunchedBeforeBackwardEnds", "WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame")),
    Row(CORE, "Buckets", (GRADIENT + "BucketPlan.HoldsEveryParameterOnceWithoutOverlap", *case("sgd-mlp", "default-buckets-mlp"))),
    Row(CORE, "Small first bucket", (GRADIENT + "BucketPlan.FollowsTheOrderWithASmallFirstAndASmallLastBucket",)),
    Row(CORE, "Small last bucket", (GRADIENT + "BucketPlan.FollowsTheOrderWithASmallFirstAndASmallLastBucket",)),
    Row(CORE, "Buckets in the order of real gradients", reducer("PlanFollowsTheOrderThatRankZeroSawAndStays")),
    Row(CORE, "One order for all ranks, rank 0's", reducer("PlanFollowsTheOrderThatRankZeroSawAndStays") + case("unused-parameters")),
    Row(CORE, "Gradients are views of buckets", (GRADIENT + "Kinds.GradientsLieInTheBucketsAfterEitherFormOfZeroGrad",)),
    Row(CORE, "Accumulation, no_sync()", reducer("NoSyncAccumulatesAndTheSyncedBackwardReducesTheSum")
        + case("accumulation-mlp", "accumulation-resnet8", "accumulation-gpt", "accumulation-world-3")),
    Row(CORE, "Unused parameters", reducer("ParameterUnusedOnOneRankGetsTheMeanWithZeros", "ParameterUnusedOnAllRanksKeepsItsGradientUntouched",
                                           "RankWhoseLossReachesNoParameterContributesZeros") + (GRADIENT + "Unused.*",) + case("unused-parameters", "unused-parameters-world-3")),
    Row(CORE, "Static graph", without="not applicable: nothing to switch on; what it is for works in any graph (re-entrant checkpoints, below)"),
    Row(CORE, "Unused buckets are not sent", without="not built: a bucket that no rank used is reduced all the same"),
    Row(CORE, "Delayed all-reduce of named parameters", without="not built"),
    Row(CORE, "Rule of averaging", reducer("GradientIsTheMeanOverRanksWhenBackwardReturns", "WeighedBatchesOfFiveThreeAndZeroGiveTheMeanOverAllSamples")
        + case("world-3-gradients-mlp", "world-3-gradients-cnn", "world-3-gradients-resnet8", "world-3-gradients-gpt", "unequal-batches")),
    Row(CORE, "Comm hooks: fp16, bf16, the user's", (GRADIENT + "CommHook.*", *case("bf16-hook-mlp"))),
    Row(CORE, "Comm hook PowerSGD", (GRADIENT + "PowerSgd.*",)),
    Row(CORE, "Adaptive summation (Adasum)", without="not built"),
    Row(CORE, "Sparse gradients", (GRADIENT + "Kinds.Sparse*",)),
    Row(CORE, "Complex parameters", (GRADIENT + "Kinds.Complex*",)),
    Row(CORE, "Mixed precision in the wrapper", without="not built: the wrapper reduces in the dtype of the parameters; autocast is a scope of the user, without a test"),
    Row(CORE, "Optimizer inside backward", without="not built"),
    Row(CORE, "Hierarchical all-reduce", ("comm_schedule_test.HierarchicalAllReduce.*",)),
    Row(CORE, "Several models side by side", (GRADIENT + "Wrap.TwoNetsTrainSideBySide",)),
    Row(CORE, "Process sets, sub-groups", without="not built: comm splits groups, a Job does not"),
    Row(CORE, "Grouped collectives", without="not built: buckets already go out together; tensors of a user are reduced one by one"),
    Row(STATE, "Initial broadcast", (GRADIENT + "Wrap.EveryRankHoldsRankZerosParametersAndBuffersOfAnyDtypeAfterwards",
                                     *case("sgd-mlp", "sgd-cnn", "sgd-resnet8", "sgd-gpt"))),
    Row(STATE, "Different models are refused", tuple(f"{GRADIENT}Wrap.{name}" for name in (
        "DifferentShapeIsNamedWithBothSidesOnEveryRank", "DifferentNameIsNamed", "DifferentDtypeIsNamed", "ParameterFrozenOnOneRankIsNamed",
        "AdditionalParameterIsNamed", "DifferentStridesAreNamed", "DifferentBufferIsNamed"))),
    Row(STATE, "Buffers of rank 0", reducer("BuffersFollowRankZeroAtTheEndOfEachBackward") + (GRADIENT + "Buffers.*",) + case("sgd-resnet8", "world-3-fp64-resnet8")),
    Row(STATE, "SyncBatchNorm", (GRADIENT + "SyncBatchNorm.*", *case("sync-batch-norm", "sync-batch-norm-unequal-world-3"))),
    Row(STATE, "Uneven inputs (join)", ("trainer_lockstep_test.Lockstep.*", *case("uneven-inputs", "uneven-inputs-world-3"))),
    Row(STATE, "Parameters to be ignored", (GRADIENT + "Kinds.Ignored*",)),
    Row(STATE, "backward(create_graph)", reducer("CreateGraphIsRefusedWithAdvice")),
    Row(STATE, "Re-entrant checkpoints", reducer("BackwardWithinABackwardIsReducedOnceAtTheEndOfTheOuterOne",
                                                 "ModelThatLiesWhollyInsideANestedBackwardIsReducedAtTheStepPoint")),
    Row(STATE, "A device for each rank", without="not applicable: this build has the CPU alone; `rondo run` gives each rank its cores"),
    Row(STATE, "Deterministic result", (GRADIENT + "Reducer.WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame", *case("sgd-resnet8"))),
    Row(STATE, "ZeRO-1", without="not built"),
    Row(STATE, "ZeRO-2, ZeRO-3", without="not built"),
    Row(STATE, "Checkpoint for another world size", ("training_state_test.TrainingState.WhatIsKeptPerRankGoesOnWithAsManyRanksOnly",)),
]
PROGRAMS = ("trainer_gradient_test", "trainer_lockstep_test", "training_state_test", "comm_schedule_test")  # that hold the tests
