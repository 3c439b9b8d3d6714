/// `rondo-train verify ...`: compares where the runs of `rondo train --verify` ended. The launcher has made the runs
/// and knows no tensors.
#pragma once

#include <string>
#include <vector>

namespace rondo::trainer {

/// FOLDER REFERENCE ONE VARIANT... [--json]: names of run folders in FOLDER. REFERENCE: the run on all ranks; ONE: that
/// of one process with the whole batch, to be equal but for rounding; VARIANT: to be equal bit for bit. Prints a table,
/// or JSON, and returns the exit code: 0, or that of a training that diverged. Throws rondo::Error.
int run_verify_tool(const std::vector<std::string>& arguments);

}  // namespace rondo::trainer
