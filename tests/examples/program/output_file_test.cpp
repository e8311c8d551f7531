// SPDX-License-Identifier: MIT
#include "program/output_file.hpp"

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using namespace program;

TEST_CASE("a file is written where there is none, and over another one if that is asked for") {
  const ScratchFolder folder;
  const std::string fresh = folder.file("fresh.json"), there = folder.file("there.json");
  heed::write_file(there, "old");
  CHECK_NOTHROW(check_output("", "--output", false, {there}));
  CHECK_NOTHROW(check_output(fresh, "--output", false, {there}));
  CHECK_THROWS_AS(check_output(there, "--output", false, {}), heed::FileError);
  CHECK_THROWS_WITH(
      check_output(there, "--output", false, {}), there + ": the file exists already; choose another one, or replace it with --overwrite");
  CHECK_NOTHROW(check_output(there, "--output", true, {fresh}));
  CHECK(heed::read_file(there) == "old");
  CHECK(folder.count() == 1);  // trying leaves nothing
}

TEST_CASE("no file that is read is written, by whatever name") {
  const ScratchFolder folder;
  const std::string model = folder.file("model"), link = folder.file("link.png");
  heed::write_file(model, "a model");
  std::filesystem::create_symlink(model, link);
  for (const bool overwrite : {false, true})
    for (const std::string& name : {model, link, folder.file("./model")})
      CHECK_THROWS_WITH(check_output(name, "--logits", overwrite, {folder.file("none"), model}),
          name + ": --logits names a file that is read; choose another one");
}

TEST_CASE("a folder that takes no file is known before the work") {
  const ScratchFolder folder;
  CHECK_THROWS_AS(check_output(folder.file("none/a.json"), "--output", false, {}), heed::FileError);
  CHECK_THROWS_WITH(
      check_output(folder.file("none/a.json"), "--output", false, {}), contains("none/a.json: cannot create a temporary file beside it"));
  CHECK_THROWS_WITH(check_output(folder.path(), "--output", true, {}), contains("it is a folder"));
  CHECK(folder.count() == 0);
}

TEST_CASE("a picture is written under a name that ends in .png") {
  const ScratchFolder folder;
  for (const char* name : {"a.png", "a.PNG", ""})
    CHECK_NOTHROW(check_picture_output(*name ? folder.file(name) : "", "--overlay", false, {}));
  for (const char* name : {"a.jpg", "png", "a"})
    CHECK_THROWS_WITH(check_picture_output(folder.file(name), "--overlay", false, {}),
        contains(": --overlay writes a PNG file, expected a name that ends in .png"));
  heed::write_file(folder.file("a.png"), "a picture");
  CHECK_THROWS_WITH(check_picture_output(folder.file("a.png"), "--overlay", false, {}), contains("--overwrite"));
  CHECK_THROWS_WITH(check_picture_output(folder.file("a.png"), "--overlay", true, {folder.file("a.png")}), contains("is read"));
}
