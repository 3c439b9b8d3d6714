/// Folders of runs: where a new one goes, and which one `--resume` means.
#pragma once

#include <filesystem>
#include <string>

#include "trainer/checkpoint/checkpoint.h"

namespace rondo::trainer {

inline constexpr const char* kRunsFolder = "runs";

/// The folder of RUN: "latest" (the link runs/latest), a run id under runs/, or any folder. Throws rondo::Error,
/// kUsage, when there is none, with the ids that there are; `asked_by` begins the message.
std::filesystem::path find_run_folder(const std::string& run, const std::string& asked_by);

/// `--resume` RUN: "latest" (the link runs/latest), a run id under runs/, a run's folder, or a checkpoint's folder.
/// Throws rondo::Error: kUsage when there is no such run (with the ids that there are), kPreflight when it has no
/// checkpoint, kCorrupt when it has no whole one.
FoundCheckpoint find_resume_point(const std::string& run);

/// Makes runs/<short name>-<date>-<pid> and points runs/latest to it: for a worker that nobody gave a folder.
std::filesystem::path make_run_folder(const std::string& short_name);

/// What version.json of a run's folder says about the build; "unknown" without one.
std::string commit_of_run(const std::filesystem::path& run_folder);

}  // namespace rondo::trainer
