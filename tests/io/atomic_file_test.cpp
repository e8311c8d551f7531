// SPDX-License-Identifier: MIT
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>

#if defined(__unix__)
#include <sys/resource.h>
#include <sys/stat.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <heed/io/atomic_file.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"
#include "message_of.hpp"
#include "sanitized.hpp"

namespace fs = std::filesystem;
using heed::AtomicFile;
using heed::FileError;

TEST_CASE("A file appears under its name when it is complete", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  heed::write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new ");
    file.write(std::string_view("bytes\0.", 7));
    CHECK(heed::read_file(path) == "old");
    CHECK(folder.count() == 2);
    file.commit();
    CHECK(folder.count() == 1);
    CHECK_THROWS_WITH(file.write("more"), path + ": cannot write after commit");
    CHECK_THROWS_WITH(file.commit(), path + ": cannot commit twice");
  }
  CHECK(heed::read_file(path) == std::string("new bytes\0.", 11));
  heed::write_file(path, "");
  CHECK(heed::read_file(path).empty());
}

TEST_CASE("What is not committed leaves nothing behind", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  { AtomicFile(path).write("half"); }
  CHECK(folder.count() == 0);
  heed::write_file(path, "old");
  { AtomicFile(path).write("half"); }
  CHECK(folder.count() == 1);
  CHECK(heed::read_file(path) == "old");
}

TEST_CASE("Two writers of one path do not meet", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  AtomicFile first(path), second(path);
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(heed::read_file(path) == "second");
  first.commit();
  CHECK(heed::read_file(path) == "first");
  CHECK(folder.count() == 1);
}

TEST_CASE("Errors name the path and the cause", "[atomic_file]") {
  const ScratchFolder folder;
  CHECK(message_of([&] { heed::write_file(folder.file("no/such/a.bin"), "x"); }) ==
        folder.file("no/such/a.bin") + ": cannot create a temporary file beside it: No such file or directory");
  CHECK(message_of([&] { heed::write_file(folder.path(), "x"); }) == folder.path() + ": cannot write: it is a folder");
  CHECK(message_of([&] { heed::read_file(folder.path()); }) == folder.path() + ": cannot read: it is a folder");
  CHECK(message_of([&] { heed::read_file(folder.file("absent")); }) == folder.file("absent") + ": cannot open: No such file or directory");
  CHECK(folder.count() == 0);
}

#if defined(__unix__)
TEST_CASE("A full device leaves the old file", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  heed::write_file(path, "old");
  // A limit on the size of files stands for the full device.
  struct rlimit limit {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const struct rlimit small { 100'000, limit.rlim_max };
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  AtomicFile file(path);
  const std::string message = message_of([&] { file.write(std::string(1'000'000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(message == path + ": cannot write: File too large");
  CHECK(heed::read_file(path) == "old");
  CHECK(folder.count() == 1);  // the room is given back at once, not when the writer goes
}

TEST_CASE("A symbolic link stays one, and a device is refused", "[atomic_file]") {
  const ScratchFolder folder;
  heed::write_file(folder.file("real.bin"), "old");
  fs::create_symlink("real.bin", folder.file("link.bin"));
  heed::write_file(folder.file("link.bin"), "new");
  CHECK(fs::is_symlink(folder.file("link.bin")));
  CHECK(heed::read_file(folder.file("real.bin")) == "new");
  CHECK(message_of([] { heed::write_file("/dev/null", "x"); }) == "/dev/null: cannot write: it is not a regular file");
}

TEST_CASE("A link to a file that is not there makes it there", "[atomic_file]") {
  const ScratchFolder folder;
  fs::create_directory(folder.file("runs"));
  fs::create_symlink("runs/last.bin", folder.file("first.bin"));  // a link to a link to nothing, each relative to its own folder
  fs::create_symlink("../real.bin", folder.file("runs/last.bin"));
  heed::write_file(folder.file("first.bin"), "new");
  CHECK(fs::is_symlink(folder.file("first.bin")));
  CHECK(fs::is_symlink(folder.file("runs/last.bin")));
  CHECK(heed::read_file(folder.file("real.bin")) == "new");
  fs::create_symlink(folder.file("runs/absolute.bin"), folder.file("second.bin"));
  heed::write_file(folder.file("second.bin"), "newer");
  CHECK(heed::read_file(folder.file("runs/absolute.bin")) == "newer");
  fs::create_symlink("loop", folder.file("loop"));
  CHECK(message_of([&] { heed::write_file(folder.file("loop"), "x"); }) ==
        folder.file("loop") + ": cannot write: more than 40 symbolic links lead on from it; is it a loop?");
  fs::create_symlink("none/file", folder.file("astray"));
  CHECK(message_of([&] { heed::write_file(folder.file("astray"), "x"); }) ==
        folder.file("astray") + ": cannot create a temporary file beside it: No such file or directory");
}

TEST_CASE("A file keeps its permissions, and nobody else reads what is written on the way", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  heed::write_file(path, "old");
  for (const fs::perms mode : {fs::perms::owner_read | fs::perms::owner_write, fs::perms::all, fs::perms::owner_read}) {
    fs::permissions(path, mode);
    AtomicFile file(path);
    for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.status().permissions() == mode);
    CHECK(folder.count() == 2);
    file.write("new");
    file.commit();
    CHECK(fs::status(path).permissions() == mode);
  }
}

#if defined(__linux__) && !HEED_TEST_SANITIZED
TEST_CASE("A file that does not fit into memory gets a sentence", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("large");
  heed::write_file(path, "");
  constexpr std::uintmax_t kBytes = std::uintmax_t{1} << 33;
  fs::resize_file(path, kBytes);  // a hole, which takes no room on the device
  struct rlimit limit {};
  REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
  const struct rlimit small { kBytes, limit.rlim_max };
  REQUIRE(setrlimit(RLIMIT_AS, &small) == 0);
  const std::string message = message_of([&] { heed::read_file(path); });
  setrlimit(RLIMIT_AS, &limit);
  CHECK(message == path + ": does not fit into memory (8589934592 bytes)");
}
#endif
#endif

#if defined(__unix__)
TEST_CASE("Devices and pipes, which may never end, are not read; a link to a file is", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string pipe = folder.file("pipe"), loop = folder.file("loop"), zeros = folder.file("zeros"), link = folder.file("link");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  fs::create_symlink("/dev/zero", zeros);
  fs::create_symlink(loop, loop);
  for (const std::string& path : {pipe, zeros, std::string("/dev/zero")})
    CHECK(message_of([&] { heed::read_file(path); }) == path + ": cannot read: it is a device or a pipe, expected a regular file");
  CHECK(message_of([&] { heed::read_file(loop); }).starts_with(loop + ": cannot open: "));
  heed::write_file(folder.file("real"), "bytes");
  fs::create_symlink("real", link);
  CHECK(heed::read_file(link) == "bytes");
}
#endif

#if defined(__linux__)
namespace {
std::function<void()> on_fsync;
}
/// In the place of the system's, which it calls.
extern "C" int fsync(int file) {
  if (on_fsync) on_fsync();
  return static_cast<int>(syscall(SYS_fsync, file));
}

TEST_CASE("A temporary name is told from others", "[atomic_file]") {
  const ScratchFolder folder;
  {
    heed::AtomicFile file(folder.file("a.bin"));
    for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(heed::is_temporary_name(entry.path().filename().string()));
    CHECK(folder.count() == 1);
  }
  CHECK(heed::is_temporary_name("log.jsonl.part-0123456789abcdef"));
  for (const char* other :
      {"", "log.jsonl", ".part-0123456789abcdef", "notes.part-1.txt", "a.part-0123456789abcde", "a.part-0123456789abcdefg",
          "a.part-0123456789abcdeg", "a.part_0123456789abcdef", "a.part-0123456789abcdef0", "a.part-0123456789abcdef.txt"})
    CHECK_FALSE(heed::is_temporary_name(other));
}

TEST_CASE("The bytes are on the device before they take the name", "[atomic_file]") {
  const ScratchFolder folder;
  const std::string path = folder.file("a.bin");
  heed::write_file(path, "old");
  int flushed = 0;
  on_fsync = [&] {
    ++flushed;
    CHECK(heed::read_file(path) == "old");
    std::uintmax_t bytes = 0;  // of both files: nothing waits in a buffer of the program
    for (const auto& entry : fs::directory_iterator(folder.path())) bytes += entry.file_size();
    CHECK(bytes == 3 + 9);
  };
  heed::write_file(path, "new bytes");
  on_fsync = nullptr;
  CHECK(flushed == 1);
  CHECK(heed::read_file(path) == "new bytes");
}
#endif
