// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/io/npy.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"

using heed::FileError;
using heed::Shape;
using heed::Tensor;
using heed::io::load_npy;
using heed::io::save_npy;

namespace {

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

/// A file as NumPy 2.4 writes it: the dictionary, padded so that 10 (format 1) or 12 bytes and it are a multiple of 64.
std::string numpy_file(const std::string& dictionary, const std::string& hex, int version = 1) {
  const std::size_t prefix = version == 1 ? 10 : 12;
  // NumPy leaves room for the first axis, so short dictionaries fill 128 bytes.
  const std::string header = dictionary + std::string(128 - prefix - 1 - dictionary.size(), ' ') + '\n';
  std::string file = "\x93NUMPY" + std::string{static_cast<char>(version), '\0'};
  for (std::size_t i = 8; i < prefix; ++i) file += static_cast<char>(i == 8 ? header.size() : 0);
  return file + header + from_hex(hex);
}
std::string dictionary(const std::string& kind, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + kind + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

template <class T, int Rank = 2>
Tensor<T, Rank> read(const std::string& bytes) {
  const ScratchFolder folder;
  heed::write_file(folder.file("a.npy"), bytes);
  return load_npy<T, Rank>(folder.file("a.npy"));
}
template <class T, int Rank>
std::string written(const Tensor<T, Rank>& tensor) {
  const ScratchFolder folder;
  save_npy(folder.file("a.npy"), tensor);
  return heed::read_file(folder.file("a.npy"));
}
template <class T, int Rank>
std::vector<T> elements(const Tensor<T, Rank>& tensor) {
  return {tensor.data(), tensor.data() + tensor.size()};
}

/// What is said about the bytes, without the file's name.
template <class T = float, int Rank = 2>
std::string said_of(const std::string& bytes) {
  try {
    read<T, Rank>(bytes);
  } catch (const FileError& error) {
    const std::string message = error.what();
    return message.substr(message.find("a.npy: ") + 7);
  }
  return "accepted";
}

// Written by NumPy 2.4.6 from numpy.arange(6).reshape(2, 3), halved, less 1.5, and so on.
const std::string kF8 = "0000000000000000000000000000e03f000000000000f03f000000000000f83f00000000000000400000000000000440";
const std::string kF4 = "0000c0bf000000bf0000003f0000c03f0000204000006040";
const std::string kI8 = "fdfffffffffffffffeffffffffffffffffffffffffffffff000000000000000001000000000000000200000000000000";

}  // namespace

TEST_CASE("Arrays of every kind that NumPy writes are read", "[npy]") {
  CHECK(elements(read<double>(numpy_file(dictionary("<f8", "(2, 3)"), kF8))) == std::vector<double>{0, .5, 1, 1.5, 2, 2.5});
  CHECK(elements(read<float>(numpy_file(dictionary("<f8", "(2, 3)"), kF8))) == std::vector<float>{0, .5, 1, 1.5, 2, 2.5});
  CHECK(elements(read<float>(numpy_file(dictionary("<f4", "(2, 3)"), kF4))) == std::vector<float>{-1.5, -.5, .5, 1.5, 2.5, 3.5});
  CHECK(elements(read<float>(numpy_file(dictionary("<f2", "(2, 3)"), "000000340038003a003c003d"))) ==
        std::vector<float>{0, .25, .5, .75, 1, 1.25});
  CHECK(elements(read<std::int64_t>(numpy_file(dictionary("<i8", "(2, 3)"), kI8))) == std::vector<std::int64_t>{-3, -2, -1, 0, 1, 2});
  CHECK(elements(read<std::int32_t>(numpy_file(dictionary("<i4", "(2, 3)"), "fdfffffffeffffffffffffff000000000100000002000000"))) ==
        std::vector<std::int32_t>{-3, -2, -1, 0, 1, 2});
  CHECK(elements(read<std::uint8_t>(numpy_file(dictionary("|u1", "(2, 3)"), "fafbfcfdfeff"))) ==
        std::vector<std::uint8_t>{250, 251, 252, 253, 254, 255});
  const auto odd = read<bool>(numpy_file(dictionary("|b1", "(2, 3)"), "000100010001"));
  CHECK((!odd(0, 0) && odd(0, 1) && odd(1, 0) && !odd(1, 1)));
  CHECK(read<float>(numpy_file(dictionary("<f4", "(2, 0)"), "")).shape() == Shape{2, 0});
  CHECK(elements(read<float, 1>(numpy_file(dictionary("<f4", "(3,)"), "0000c03f00000040000040c0"))) == std::vector<float>{1.5, 2, -3});
  CHECK(elements(read<double>(numpy_file(dictionary("<i8", "(2, 3)"), kI8))) == std::vector<double>{-3, -2, -1, 0, 1, 2});
  const auto pair = [](const char* kind, const char* hex) {
    return elements(read<std::int64_t, 1>(numpy_file(dictionary(kind, "(2,)"), hex)));
  };
  CHECK(pair("<i2", "0100feff") == std::vector<std::int64_t>{1, -2});
  CHECK(pair("|i1", "01fe") == std::vector<std::int64_t>{1, -2});
  CHECK(pair("<u8", "0100000000000000feffffffffffff00") == std::vector<std::int64_t>{1, 0x00fffffffffffffe});
  CHECK(pair("<u4", "01000000feffffff") == std::vector<std::int64_t>{1, 0xfffffffe});
  CHECK(pair("<u2", "0100feff") == std::vector<std::int64_t>{1, 0xfffe});
  CHECK(elements(read<float, 1>(numpy_file(dictionary("<f4", "()"), "0000c03f"))) == std::vector<float>{1.5});  // numpy.float32(1.5)
  CHECK(elements(read<float, 1>(numpy_file(dictionary("<f4", "()", "True"), "0000c03f"))) == std::vector<float>{1.5});
}

TEST_CASE("Formats 1, 2 and 3 are read, and dictionaries as others write them", "[npy]") {
  const std::vector<float> expected{-1.5, -.5, .5, 1.5, 2.5, 3.5};
  for (int version : {2, 3}) CHECK(elements(read<float>(numpy_file(dictionary("<f4", "(2, 3)"), kF4, version))) == expected);
  for (const char* other : {"{\"shape\":(2L,3L),\"descr\":\"<f4\",\"fortran_order\":False}",
           "{ 'fortran_order' : False,\n 'descr':'<f4' , 'shape': ( 2 , 3 , ) , }"})
    CHECK(elements(read<float>(numpy_file(other, kF4))) == expected);
}

TEST_CASE("Fortran order is turned into rows", "[npy]") {
  CHECK(elements(read<std::int32_t>(numpy_file(dictionary("<i4", "(2, 3)", "True"), "000000000300000001000000040000000200000005000000"))) ==
        std::vector<std::int32_t>{0, 1, 2, 3, 4, 5});
  std::vector<std::uint8_t> expected(24);
  for (std::size_t i = 0; i < 24; ++i) expected[i] = static_cast<std::uint8_t>(i);
  const std::string stored = "000c04100814010d05110915020e06120a16030f07130b17";
  CHECK(elements(read<std::uint8_t, 3>(numpy_file(dictionary("|u1", "(2, 3, 4)", "True"), stored))) == expected);
  CHECK(read<float>(numpy_file(dictionary("<f4", "(0, 3)", "True"), "")).shape() == Shape{0, 3});
}

TEST_CASE("What is written is what NumPy writes, and is read", "[npy]") {
  CHECK(written(read<float>(numpy_file(dictionary("<f4", "(2, 3)"), kF4))) == numpy_file(dictionary("<f4", "(2, 3)"), kF4));
  CHECK(written(read<double>(numpy_file(dictionary("<f8", "(2, 3)"), kF8))) == numpy_file(dictionary("<f8", "(2, 3)"), kF8));
  CHECK(written(read<std::int64_t>(numpy_file(dictionary("<i8", "(2, 3)"), kI8))) == numpy_file(dictionary("<i8", "(2, 3)"), kI8));
  CHECK(written(read<bool>(numpy_file(dictionary("|b1", "(2, 3)"), "000100010001"))) ==
        numpy_file(dictionary("|b1", "(2, 3)"), "000100010001"));
  CHECK(written(Tensor<float, 2>(Shape{2, 0})) == numpy_file(dictionary("<f4", "(2, 0)"), ""));
  CHECK(written(Tensor<std::uint8_t, 1>(Shape{1})) == numpy_file(dictionary("|u1", "(1,)"), "00"));
  Tensor<std::int32_t, 8> deep(Shape{1, 2, 1, 3, 1, 2, 1, 2});
  for (heed::Index i = 0; i < deep.size(); ++i) deep[i] = static_cast<std::int32_t>(i);
  CHECK(elements(read<std::int32_t, 8>(written(deep))) == elements(deep));
  CHECK_THROWS_WITH(written(Tensor<float, 2>()), "save_npy: the tensor was never given a shape");
  const ScratchFolder folder;
  CHECK_THROWS_WITH(save_npy(folder.path(), deep), folder.path() + ": cannot write: it is a folder");
}

TEST_CASE("Arrays that do not fit are refused with a sentence", "[npy]") {
  const auto file = [](const std::string& kind, const std::string& shape) { return numpy_file(dictionary(kind, shape), "00000000"); };
  CHECK(said_of(file(">f4", "(1, 1)")) ==
        "at offset 20: expected little-endian numbers, found \">f4\"; numpy.save(path, array.astype('<f4')) turns them");
  for (const char* kind : {"<c8", "<V2", "|S4", "", "=f4", "|f4", "<f44", "<m8[D]"})
    CHECK(said_of(file(kind, "(1, 1)")) ==
          std::string("at offset 20: expected numbers of kind <f8, <f4, <f2, <i8, <i4, <i2, |i1, <u8, <u4, <u2, |u1 or |b1, found \"") +
              kind + '"');
  CHECK(
      said_of(numpy_file("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }", "00000000")) ==
      "at offset 20: expected the kind of the numbers in quotation marks (arrays of records are not read), found \"[('x', '<f4')], 'for\"");
  CHECK(said_of(file("<f4", "(1,)")) == "expected an array of 2 axes, found 1 (1)");
  CHECK(said_of(file("<f4", "()")) == "expected an array of 2 axes, found 0 (scalar)");
  CHECK(said_of<std::int32_t>(file("<f4", "(1, 1)")) == "at offset 128: expected I32, found F32");
  CHECK(said_of<std::uint8_t>(numpy_file(dictionary("<i4", "(1, 2)"), "ff00000000010000")) ==
        "at offset 132: expected U8, found a number out of its range in I32");
  CHECK(said_of<float>(numpy_file(dictionary("<i4", "(1, 2)"), "0000000101000001")) ==  // 2^24, and one more
        "at offset 132: expected F32, found a number of more digits than it has in I32");
  CHECK(said_of<bool>(numpy_file(dictionary("|u1", "(1, 2)"), "0105")) ==
        "at offset 129: expected BOOL, found a number out of its range in U8");
  CHECK(said_of(file(">u2", "(1, 1)")) ==
        "at offset 20: expected little-endian numbers, found \">u2\"; numpy.save(path, array.astype('<u2')) turns them");
  CHECK(said_of(file("<f4", "(1, 2)")) == "at offset 128: expected 8 bytes of <f4 for shape 1x2, found 4; the file is cut");
  CHECK(said_of(file("|u1", "(1, 3)")) == "at offset 131: expected the end of the file, found 1 more bytes; one file holds one array");
}

TEST_CASE("Damaged and hostile headers are refused with a sentence", "[npy]") {
  const auto header = [](const std::string& text) { return said_of(numpy_file(text, "")); };
  CHECK(said_of("") == "at offset 0: expected a file that starts with \\x93NUMPY; this is no .npy file");
  CHECK(said_of("\x93NUMPY\1") == "at offset 6: expected the version, found the end of the file");
  CHECK(said_of(std::string("\x93NUMPY\1\0", 8)) == "at offset 8: expected the length of the header, found the end of the file");
  CHECK(said_of(std::string("\x93NUMPY\0\0", 8)) == "at offset 6: expected format 1, 2 or 3, found 0");
  CHECK(said_of(std::string("\x93NUMPY\4\0", 8)) == "at offset 6: expected format 1, 2 or 3, found 4");
  CHECK(said_of(std::string("\x93NUMPY\1\0v", 9)) == "at offset 8: expected the length of the header, found the end of the file");
  CHECK(said_of("\x93NUMPY" + std::string("\2\0\xff\xff\xff\xff{}", 8)) ==
        "at offset 8: expected 4294967295 bytes of header, found 2 in the file; it is cut, or is no .npy file");
  CHECK(header("") == "at offset 128: expected '{', found the end of the header");
  CHECK(header("{}") == "at offset 12: expected 'descr', 'fortran_order' and 'shape', found the end of the header before all were there");
  CHECK(header("{'descr': '<f4', 'descr': '<f4'}") ==
        "at offset 27: expected 'descr', 'fortran_order' and 'shape', each once, found \"descr\"");
  CHECK(header("{'rest': 1}") == "at offset 11: expected 'descr', 'fortran_order' and 'shape', each once, found \"rest\"");
  CHECK(header("{'descr'").substr(0, 29) == "at offset 128: expected ':', ");
  CHECK(header("{'descr': '<f4").substr(0, 50) == "at offset 21: expected a closing quotation mark, f");
  CHECK(header("{descr").substr(0, 60) == "at offset 11: expected a key in quotation marks, or '}', fou");
  CHECK(header("{'fortran_order': 1").substr(0, 38) == "at offset 28: expected True or False, ");
  CHECK(header("{'descr': '<f4' 'shape'").substr(0, 33) == "at offset 26: expected ',' or '}'");
  CHECK(header(dictionary("<f4", "(0,)") + "x").substr(0, 60) == "at offset 67: expected nothing but blanks behind the header'");
  for (const char* shape : {"(-1,)", "(1.5,)", "(99999999999999999999,)", "(a,)", "(,)", "[1]", "1", "(1", "((1,),)", "(1 2)", "(0x1,)"}) {
    INFO(shape);
    CHECK_THAT(header(dictionary("<f4", shape)), contains("at offset") && contains("expected"));
  }
  CHECK(header(dictionary("<f4", "(9223372036854775807, 4)")).substr(0, 63) ==
        "at offset 61: expected an array that fits into memory, found an");
  CHECK_THAT(header(dictionary("<f4", "(0, 9223372036854775807)")), contains("fits into memory"));
  CHECK_THAT(header(dictionary("|u1", "(1152921504606846976,)")), contains("fits into memory"));  // as double it would not
  CHECK_THAT(header(dictionary("<f4", "(1,1,1,1,1,1,1,1,1)")), contains("expected at most 8 axes"));
}

TEST_CASE("No bytes make the reader fall over", "[npy]") {
  const std::string good = numpy_file(dictionary("<f4", "(2, 3)"), kF4);
  for (std::size_t length = 0; length < good.size(); ++length)  // cut anywhere
    if (said_of(good.substr(0, length)) == "accepted") FAIL("accepted " << length << " of " << good.size() << " bytes");
  const heed::CounterRandom random({7});
  std::uint64_t draw = 0;
  for (int round = 0; round < 4000; ++round) {  // bytes exchanged, most of them where the dictionary is
    std::string bytes = good;
    for (std::uint64_t i = 0; i <= random.below(draw++, 3); ++i) {
      const bool dense = random.below(draw++, 4) != 0;
      const auto place = static_cast<std::size_t>(random.below(draw++, dense ? 72u : static_cast<std::uint32_t>(bytes.size())));
      constexpr char kTelling[] = "'\"(){},:0129-<>|fiubTrueFalse \n\x93";
      bytes[place] = random.below(draw++, 2) ? static_cast<char>(random.below(draw++, 256))
                                             : kTelling[random.below(draw++, static_cast<std::uint32_t>(sizeof kTelling - 1))];
    }
    said_of(bytes);  // an array or a FileError; anything else ends the test
  }
}

TEST_CASE("how much memory a file makes at most, as docs/interchange.md says it") {
  CHECK(heed::io::npy_memory_factor<float>() == 12);
  CHECK(heed::io::npy_memory_factor<double>() == 22);
}
