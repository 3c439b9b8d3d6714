"""The behaviours of PyTorch's DistributedDataParallel and of its peers, and which tests show them in Rondo.

A test is "case NAME" (of cases.py) or a test of CTest, with * for any text. Where Rondo has nothing to run the row says
why instead; a test that does not exist makes its row "not built".
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
    Row(CORE, "Buckets in the order of real gradients", reducer("RebuildsOnceFromRankZerosOrderAndKeepsGradients")),
    Row(CORE, "One order for all ranks, rank 0's", reducer("RebuildsOnceFromRankZerosOrderAndKeepsGradients") + case("unused-parameters")),
    Row(CORE, "Gradients are views of buckets", reducer("GradientsAreViews*")),
    Row(CORE, "Accumulation, no_sync()", reducer("NoSyncAccumulatesAndTheSyncedBackwardReducesTheSum")
        + case("accumulation-mlp", "accumulation-resnet8", "accumulation-gpt", "accumulation-world-3")),
    Row(CORE, "Unused parameters", reducer("ParameterUnusedOnOneRankGetsTheMeanWithZeros", "ParameterUnusedOnAllRanksKeepsItsGradientUntouched",
                                           "RankWhoseLossReachesNoParameterContributesZeros") + case("unused-parameters", "unused-parameters-world-3")),
    Row(CORE, "Static graph", without="not applicable: nothing to switch on; what it is for works in any graph (re-entrant checkpoints, below)"),
    Row(CORE, "Unused buckets are not sent", without="not built: a bucket that no rank used is reduced all the same"),
    Row(CORE, "Delayed all-reduce of named parameters", without="not built"),
    Row(CORE, "Rule of averaging", reducer("GradientIsTheMeanOverRanksWhenBackwardReturns", "WeighedBatchesOfFiveThreeAndZeroGiveTheMeanOverAllSamples")
        + case("world-3-gradients-mlp", "world-3-gradients-cnn", "world-3-gradients-resnet8", "world-3-gradients-gpt", "unequal-batches")),
    Row(CORE, "Comm hooks: fp16, bf16, the user's", case("bf16-hook-mlp")),
    Row(CORE, "Comm hook PowerSGD", ("*PowerSgd*",)),
    Row(CORE, "Adaptive summation (Adasum)", without="not built"),
    Row(CORE, "Sparse gradients", (GRADIENT + "*Sparse*",)),
    Row(CORE, "Complex parameters", (GRADIENT + "*Complex*",)),
    Row(CORE, "Mixed precision in the wrapper", ("*Autocast*",)),
    Row(CORE, "Optimizer inside backward", without="not built"),
    Row(CORE, "Hierarchical all-reduce", ("comm_*Hierarchical*",)),
    Row(CORE, "Sub-groups, several models", (GRADIENT + "Wrap.TwoNetsTrainSideBySide",)),
    Row(CORE, "Grouped collectives", without="not built: buckets already go out together; tensors of a user are reduced one by one"),
    Row(STATE, "Initial broadcast", (GRADIENT + "Wrap.EveryRankHoldsRankZerosParametersAndBuffersOfAnyDtypeAfterwards",
                                     *case("sgd-mlp", "sgd-cnn", "sgd-resnet8", "sgd-gpt"))),
    Row(STATE, "Different models are refused", tuple(f"{GRADIENT}Wrap.{name}" for name in (
        "DifferentShapeIsNamedWithBothSidesOnEveryRank", "DifferentNameIsNamed", "DifferentDtypeIsNamed", "ParameterFrozenOnOneRankIsNamed",
        "AdditionalParameterIsNamed", "DifferentStridesAreNamed", "DifferentBufferIsNamed"))),
    Row(STATE, "Buffers of rank 0", reducer("BuffersFollowRankZeroAtTheEndOfEachBackward") + case("sgd-resnet8", "world-3-fp64-resnet8")),
    Row(STATE, "SyncBatchNorm", (GRADIENT + "SyncBatchNorm.*", *case("sync-batch-norm", "sync-batch-norm-unequal-world-3"))),
    Row(STATE, "Uneven inputs (join)", case("uneven-inputs", "uneven-inputs-world-3")),
    Row(STATE, "Parameters to be ignored", (GRADIENT + "*Ignore*",)),
    Row(STATE, "backward(create_graph)", reducer("CreateGraphIsRefusedWithAdvice")),
    Row(STATE, "Re-entrant checkpoints", reducer("BackwardWithinABackwardIsReducedOnceAtTheEndOfTheOuterOne",
                                                 "ModelThatLiesWhollyInsideANestedBackwardIsReducedAtTheStepPoint")),
    Row(STATE, "A device for each rank", without="not applicable: this build has the CPU alone; `rondo run` gives each rank its cores"),
    Row(STATE, "Deterministic result", (GRADIENT + "Reducer.WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame", *case("sgd-resnet8"))),
    Row(STATE, "ZeRO-1", without="not built"),
    Row(STATE, "ZeRO-2, ZeRO-3", without="not built"),
    Row(STATE, "Checkpoint for another world size", ("module_state_test.*WorldSize*",)),
]
PROGRAMS = ("trainer_gradient_test", "module_state_test")  # that hold the tests; others are run when they are built
