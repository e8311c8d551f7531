// SPDX-License-Identifier: MIT
#include "program/run_folder.hpp"

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using namespace program;

TEST_CASE("a run that goes on removes what a killed one left, and no file of the user's") {
  const ScratchFolder folder;
  for (const char* name : {"checkpoint.safetensors", "log.jsonl", "checkpoint.safetensors.part-0123456789abcdef",
           "log.jsonl.part-fedcba9876543210", "notes.part-1.txt", "thesis.part-two"})
    heed::write_file(folder.file(name), "{}\n{}\n");
  RunFolder run = RunFolder::of_interrupted_run(folder.path());
  CHECK(folder.count() == 6);
  run.reopen(1);
  CHECK(run.records() == 1);
  CHECK(heed::read_file(run.log_path()) == "{}\n");
  CHECK(folder.count() == 4);
  CHECK(heed::read_file(folder.file("notes.part-1.txt")) == "{}\n{}\n");
  CHECK(heed::read_file(folder.file("thesis.part-two")) == "{}\n{}\n");
}

TEST_CASE("a run that takes the place of another takes its log before its checkpoint") {
  const ScratchFolder folder;
  for (const char* name : {"checkpoint.safetensors", "model.safetensors"}) heed::write_file(folder.file(name), "old");
  std::filesystem::create_directories(folder.file("log.jsonl/taken"));  // its place cannot be taken
  RunFolder run(folder.path(), "demo", true);
  CHECK(run.replaces());
  run.open();
  run.log({{"event", "start"}});
  CHECK_THROWS_WITH(run.model_is_written(), contains("log.jsonl: cannot replace it"));
  CHECK(heed::read_file(run.checkpoint_path()) == "old");

  std::filesystem::remove_all(folder.file("log.jsonl"));
  heed::write_file(folder.file("log.jsonl"), "old");
  RunFolder next(folder.path(), "demo", true);
  next.open();
  next.log({{"event", "start"}});
  next.model_is_written();
  CHECK_FALSE(next.replaces());
  CHECK(heed::read_file(next.log_path()) == "{\"event\":\"start\"}\n");
  CHECK_FALSE(std::filesystem::exists(next.checkpoint_path()));
}

TEST_CASE("a checkpoint alone is a run, too: it is not overwritten unasked") {
  const ScratchFolder folder;
  heed::write_file(folder.file("checkpoint.safetensors"), "old");
  CHECK_THROWS_WITH(RunFolder(folder.path(), "demo", false), contains("the folder holds a run"));
  RunFolder run(folder.path(), "demo", true);
  run.open();
  run.log({{"event", "start"}});
  CHECK(heed::read_file(run.checkpoint_path()) == "old");
  run.model_is_written();
  CHECK_FALSE(std::filesystem::exists(run.checkpoint_path()));
}

TEST_CASE("an onlooker without a folder is told which one it is, and who writes keeps its own") {
  RunFolder onlooker = RunFolder::of_onlooker("");
  onlooker.told("runs/demo-3");
  CHECK(onlooker.log_path() == "runs/demo-3/log.jsonl");
  RunFolder writer("mine", "demo", false);
  writer.told("another");
  CHECK(writer.path() == "mine");
}
