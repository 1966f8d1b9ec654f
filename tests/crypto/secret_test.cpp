#include "crypto/secret.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <set>

using namespace espgate::crypto;

TEST_CASE("bytes compare equal only when all of them are") {
  const std::array<std::uint8_t, 4> a{1, 2, 3, 4};
  CHECK(equal_in_constant_time(a, a));
  CHECK(equal_in_constant_time({}, {}));
  CHECK_FALSE(equal_in_constant_time(a, Bytes(a).first(3)));
  CHECK_FALSE(equal_in_constant_time(a, {}));
  for (std::size_t bit = 0; bit < 32; ++bit) {
    std::array<std::uint8_t, 4> b = a;
    b[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    CHECK_FALSE(equal_in_constant_time(a, b));
  }
}

TEST_CASE("random bytes fill all of the buffer and do not repeat") {
  std::set<std::vector<std::uint8_t>> seen;
  for (int i = 0; i < 100; ++i) {
    std::vector<std::uint8_t> bytes(1000);
    random_bytes(bytes);
    // 64 zeros in a row are a tail that was not written.
    CHECK(std::search_n(bytes.begin(), bytes.end(), 64, std::uint8_t{0}) == bytes.end());
    seen.insert(bytes);
  }
  CHECK(seen.size() == 100);
  random_bytes({});
}

TEST_CASE("a moved secret leaves nothing behind") {
  SecretBytes first(std::string_view("secret"));
  SecretBytes second(std::move(first));
  CHECK(first.empty());
  CHECK(second.size() == 6);
  SecretBytes third = second.copy();
  CHECK(equal_in_constant_time(second.view(), third.view()));
  second = SecretBytes(std::size_t{3});
  CHECK(second.size() == 3);
  CHECK(third.size() == 6);
}
