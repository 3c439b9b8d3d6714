/// Makes a LibTorch program data-parallel: one process per rank, gradients averaged while backward still runs.
///
/// Brings the whole public API of the trainer. Errors are thrown as rondo::Error, on every rank that can know of them.
/// Threading: a Job may be used from any thread; the others belong to the thread that trains. Collectives, wrapping,
/// synced backwards and step points are issued in the same order on every rank. at::Tensor is torch::Tensor.
#pragma once

#include "rondo/autocast.h"
#include "rondo/check.h"
#include "rondo/checkpoint.h"
#include "rondo/checkpoint_writer.h"
#include "rondo/comm_hook.h"
#include "rondo/distributed_data_parallel.h"
#include "rondo/ema.h"
#include "rondo/error.h"
#include "rondo/findings.h"
#include "rondo/job.h"
#include "rondo/keep_rules.h"
#include "rondo/lockstep.h"
#include "rondo/log.h"
#include "rondo/loss_scale.h"
#include "rondo/optimizer.h"
#include "rondo/random_streams.h"
#include "rondo/rate_schedule.h"
#include "rondo/rate_scheduler.h"
#include "rondo/recompute.h"
#include "rondo/replica_state.h"
#include "rondo/requests.h"
#include "rondo/sampler.h"
#include "rondo/spawn.h"
#include "rondo/state_dict.h"
#include "rondo/state_distance.h"
#include "rondo/step_statistics.h"
#include "rondo/trace.h"
#include "rondo/training_state.h"
#include "rondo/verdict.h"
#include "rondo/verify.h"
