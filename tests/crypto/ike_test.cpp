// IKE's cryptography against published vectors, Python's, and OpenSSL's arithmetic below the interface that
// the product uses.
#include "crypto/ike.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/crypto/esp_packets.hpp"
#include "tests/crypto/ike_vectors.hpp"

using namespace espgate::crypto;
using namespace espgate::crypto::test;

namespace {

using ByteVector = std::vector<std::uint8_t>;

ByteVector to_vector(Bytes bytes) { return {bytes.begin(), bytes.end()}; }
ByteVector to_vector(const SecretBytes& bytes) { return to_vector(bytes.view()); }

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* handle) const {
    Free(handle);
  }
};
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using Scratch = std::unique_ptr<BN_CTX, Deleter<BN_CTX_free>>;
using Curve = std::unique_ptr<EC_GROUP, Deleter<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Deleter<EC_POINT_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>>;

Number number(Bytes bytes) {
  return Number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

// A number (p, q or g) of one of OpenSSL's named groups.
ByteVector group_number(const char* group, const char* name) {
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "DHX", nullptr));
  EVP_PKEY* key = nullptr;
  REQUIRE(EVP_PKEY_keygen_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_set_group_name(context.get(), group) == 1);
  REQUIRE(EVP_PKEY_generate(context.get(), &key) == 1);
  const Key owned(key);
  BIGNUM* value = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(key, name, &value) == 1);
  const Number number(value);
  ByteVector out(static_cast<std::size_t>(BN_num_bytes(value)));
  BN_bn2bin(value, out.data());
  return out;
}

// base ^ exponent mod prime, padded to the prime's length.
ByteVector power(Bytes base, Bytes exponent, Bytes prime) {
  const Number result(BN_new());
  const Scratch scratch(BN_CTX_new());
  REQUIRE(BN_mod_exp(result.get(), number(base).get(), number(exponent).get(), number(prime).get(),
                     scratch.get()) == 1);
  ByteVector out(prime.size());
  REQUIRE(BN_bn2binpad(result.get(), out.data(), static_cast<int>(out.size())) > 0);
  return out;
}

// scalar * point as x | y; the generator without a point.
ByteVector multiply(int curve_id, Bytes scalar, Bytes point) {
  const Curve curve(EC_GROUP_new_by_curve_name(curve_id));
  const Scratch scratch(BN_CTX_new());
  const Point result(EC_POINT_new(curve.get()));
  Point factor;
  if (!point.empty()) {
    ByteVector encoded{4};
    encoded.insert(encoded.end(), point.begin(), point.end());
    factor.reset(EC_POINT_new(curve.get()));
    REQUIRE(EC_POINT_oct2point(curve.get(), factor.get(), encoded.data(), encoded.size(), scratch.get()) ==
            1);
  }
  const Number times = number(scalar);
  REQUIRE(EC_POINT_mul(curve.get(), result.get(), factor ? nullptr : times.get(), factor.get(),
                       factor ? times.get() : nullptr, scratch.get()) == 1);
  ByteVector out(200);
  out.resize(EC_POINT_point2oct(curve.get(), result.get(), POINT_CONVERSION_UNCOMPRESSED, out.data(),
                                out.size(), scratch.get()));
  REQUIRE(out.size() > 1);
  out.erase(out.begin());
  return out;
}

ByteVector x25519(Bytes private_value, Bytes public_value) {
  const Key own(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_value.data(), private_value.size()));
  const Key peer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, public_value.data(), public_value.size()));
  const KeyContext context(EVP_PKEY_CTX_new(own.get(), nullptr));
  ByteVector out(32);
  std::size_t length = out.size();
  REQUIRE(EVP_PKEY_derive_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1);
  REQUIRE(EVP_PKEY_derive(context.get(), out.data(), &length) == 1);
  return out;
}

constexpr DhGroup kAllGroups[] = {DhGroup::modp768,      DhGroup::modp1024,     DhGroup::modp1536,
                                  DhGroup::modp2048,     DhGroup::modp3072,     DhGroup::modp4096,
                                  DhGroup::ecp256,       DhGroup::ecp384,       DhGroup::ecp521,
                                  DhGroup::modp1024s160, DhGroup::modp2048s224, DhGroup::modp2048s256,
                                  DhGroup::curve25519};

}  // namespace

TEST_CASE("the PRFs give what RFC 4231 and RFC 2202 say") {
  for (const PrfVector& vector : kPrfVectors) {
    const ByteVector key = from_hex(vector.key), data = from_hex(vector.data),
                     output = from_hex(vector.output);
    CHECK(to_vector(prf(vector.prf, key, {data})) == output);
    CHECK(prf_length(vector.prf) == output.size());
    // In pieces, some of them empty.
    const Bytes whole(data);
    CHECK(to_vector(prf(vector.prf, key, {whole.first(1), {}, whole.subspan(1, 3), whole.subspan(4)})) ==
          output);
  }
}

TEST_CASE("prf+ gives what Python's hmac gives") {
  for (const PrfPlusVector& vector : kPrfPlusVectors) {
    const ByteVector key = from_hex(vector.key), seed = from_hex(vector.seed),
                     output = from_hex(vector.output);
    CHECK(to_vector(prf_plus(vector.prf, key, {seed}, output.size())) == output);
    const Bytes whole(seed);
    const std::size_t half = seed.size() / 2;
    CHECK(to_vector(prf_plus(vector.prf, key, {whole.first(half), whole.subspan(half)}, output.size())) ==
          output);
  }
}

TEST_CASE("prf+ ends after 255 blocks") {
  const ByteVector key(20, 1);
  CHECK(prf_plus(Prf::hmac_sha1, key, {key}, 0).empty());
  CHECK(prf_plus(Prf::hmac_sha1, key, {key}, 255 * 20).size() == 255 * 20);
  CHECK_THROWS_AS(prf_plus(Prf::hmac_sha1, key, {key}, 255 * 20 + 1), std::runtime_error);
}

// NIST's vectors for the key derivation of IKEv2 (SP 800-135): CAVP's with SHA-1, ACVP's with SHA-256.
TEST_CASE("SKEYSEED and SK_* of NIST's IKEv2 vectors") {
  struct Vector {
    Prf prf;
    std::string_view nonces, shared_secret, skeyseed, spis, keys;
  };
  const Vector vectors[] = {
      {Prf::hmac_sha1, "32b50d5f4a3763f39206a04b26564cb1",
       "4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52",
       "a9a7b222b59f8f48645f28a1db5b5f5d7479cba7", "34c9e7c1888687853ff77d760d2b2199",
       "a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002a2a63080e514a062768b76606f9fa5e992204"
       "fc5"
       "a670bde3f10d6b027113936a5c55b648a194ae587b0088d52204b702c979fa280870d2ed41efa9c549fd11198af1670b143d3"
       "84b"
       "d275c5f594cf266b05ebadca855e4249520a441a81157435a7a56cc4"},
      {Prf::hmac_sha256, "3651fef5c9c35e93c09a8b90a3f04d59",
       "d084a30166a50fb7325c3960874a839449ef9741c2f4f947d0201dd8c1269273d79509f37e3ca3eb4fa2fe2a28254e289cd3f"
       "34d"
       "ad4eb4df1a07685a4b8a94fa61e2491f7598b3ce65547ff133b3f63d1ac4175eaa695033f3cedb026a6873a36455172a8540b"
       "8a5"
       "d23a0143bed0390ee49b168269d75fffee9fb62be965993c",
       "efaa7ab0eaa85a3d0be2100cd4b6fe00ff5025a9eafddb3ef518e9f0d3fe60e6", "8e5c3ae507221684b1f201bb155c3acd",
       "462b9dd525d4fd71169174272779e704baf62c6231779ae9efe8c58b21916b42010164af2111ebd762f6916ca9a6f0ee05c8b"
       "320"
       "e4ee27705521de2589adea1878f1a551738af7c88dc4f0bb0c096a3f7d1f1a670fc79f49f678d60d665bb3710c8657f03ba9f"
       "62b"
       "9a818d7a228968c506e237ae9502aa6db395c61ea6a3e79504f86b7368bfb5423df79e48809bbccd49fd826d024f63d7c2a55"
       "664"
       "00a12e736aa034510428f5ea008fe2fc16886fa388274ea6c2b4fcfc6141bf04f8207ef8afc224ea1059cb220dc0b23ac0e4c"
       "cda"
       "495a4e131b1d56e223aba5a48e8ed1f5"},
  };
  for (const Vector& vector : vectors) {
    const ByteVector nonces = from_hex(vector.nonces), secret = from_hex(vector.shared_secret);
    const SecretBytes skeyseed = prf(vector.prf, nonces, {secret});
    CHECK(to_vector(skeyseed) == from_hex(vector.skeyseed));
    const ByteVector spis = from_hex(vector.spis), keys = from_hex(vector.keys);
    CHECK(to_vector(prf_plus(vector.prf, skeyseed.view(), {nonces, spis}, keys.size())) == keys);
  }
}

TEST_CASE("SHA-1 of RFC 3174") {
  const std::string_view text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  const Bytes data(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  CHECK(sha1({data}) == from_hex("84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
  CHECK(sha1({data.first(20), {}, data.subspan(20)}) == from_hex("84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
  CHECK(sha1({}) == from_hex("da39a3ee5e6b4b0d3255bfef95601890afd80709"));
}

TEST_CASE("numbers that are no algorithm") {
  CHECK(prf_length(static_cast<Prf>(1)) == 0);
  CHECK(integrity_key_length(IkeIntegrity::none) == 0);
  CHECK(integrity_icv_length(static_cast<IkeIntegrity>(99)) == 0);
  CHECK(dh_public_length(DhGroup::none) == 0);
  CHECK(dh_public_length(static_cast<DhGroup>(17)) == 0);
  CHECK_THROWS_AS(prf(static_cast<Prf>(1), {}, {}), std::runtime_error);
  CHECK_THROWS_AS(prf_plus(static_cast<Prf>(0), {}, {}, 1), std::runtime_error);
  CHECK_THROWS_AS(DhKey::generate(DhGroup::none), std::runtime_error);
  CHECK_THROWS_AS(DhKey::generate(static_cast<DhGroup>(18)), std::runtime_error);
}

TEST_CASE("both sides of every group share a secret, and no two exchanges share one") {
  for (const DhGroup group : kAllGroups) {
    const auto ours = DhKey::generate(group), theirs = DhKey::generate(group);
    INFO("group " << static_cast<int>(group));
    CHECK(ours->group() == group);
    CHECK(ours->public_value().size() == dh_public_length(group));
    CHECK(to_vector(ours->public_value()) != to_vector(theirs->public_value()));
    const auto a = ours->shared_secret(theirs->public_value()),
               b = theirs->shared_secret(ours->public_value());
    REQUIRE((a && b));
    CHECK(to_vector(*a) == to_vector(*b));
    const auto other = ours->shared_secret(DhKey::generate(group)->public_value());
    REQUIRE(other);
    CHECK(to_vector(*other) != to_vector(*a));
  }
}

TEST_CASE("the MODP groups have the primes of RFC 2409 and 3526") {
  for (const ModpVector& vector : kModpVectors) {
    const ByteVector prime = from_hex(vector.prime), value = from_hex(vector.private_value);
    const ByteVector public_value = from_hex(vector.public_value);
    REQUIRE(power(ByteVector{2}, value, prime) == public_value);
    const auto ours = DhKey::generate(vector.group);
    const auto secret = ours->shared_secret(public_value);
    REQUIRE(secret);
    CHECK(to_vector(*secret) == power(ours->public_value(), value, prime));
  }
}

TEST_CASE("a MODP secret keeps its leading zeros") {
  const ModpVector& vector = kModpVectors[0];
  const ByteVector prime = from_hex(vector.prime);
  const auto ours = DhKey::generate(vector.group);
  // Peers 2^1025, 2^1026, ...: one secret of 256 begins with a zero byte, so one of these does.
  int with_leading_zero = 0;
  for (std::uint16_t exponent = 1025; exponent < 20000 && with_leading_zero == 0; ++exponent) {
    const ByteVector scalar{static_cast<std::uint8_t>(exponent >> 8), static_cast<std::uint8_t>(exponent)};
    const auto secret = ours->shared_secret(power(ByteVector{2}, scalar, prime));
    REQUIRE(secret);
    REQUIRE(to_vector(*secret) == power(ours->public_value(), scalar, prime));
    if (secret->view()[0] == 0) ++with_leading_zero;
  }
  CHECK(with_leading_zero > 0);
}

TEST_CASE("MODP values outside 2..p-2 are refused") {
  for (const ModpVector& vector : kModpVectors) {
    const ByteVector prime = from_hex(vector.prime);
    const auto ours = DhKey::generate(vector.group);
    ByteVector value(prime.size());
    CHECK_FALSE(ours->shared_secret(value));
    value.back() = 1;
    CHECK_FALSE(ours->shared_secret(value));
    value.back() = 2;
    CHECK(ours->shared_secret(value));
    value = prime;
    CHECK_FALSE(ours->shared_secret(value));
    --value.back();  // p - 1: p is odd
    CHECK_FALSE(ours->shared_secret(value));
    std::ranges::fill(value, std::uint8_t{0xff});
    CHECK_FALSE(ours->shared_secret(value));
  }
}

// A peer of RFC 5114 appendix A: its private value xA and its public one yA. Where the generator to the power
// of xA is yA, prime and generator are the RFC's.
TEST_CASE("the groups with small subgroups agree with RFC 5114 appendix A") {
  struct Vector {
    DhGroup group;
    const char* name;
    std::string_view private_value, public_value;
  };
  const Vector vectors[] = {
      {DhGroup::modp1024s160, "dh_1024_160", "B9A3B3AE8FEFC1A2930496507086F8455D48943E",
       "2A853B3D92197501B9015B2DEB3ED84F5E021DCC3E52F109D3273D2B7521281CBABE0E76FF5727FA8ACCE26956BA9A1F"
       "CA26F20228D8693FEB10841D84A7360054ECE5A7F5B7A61AD3DFB3C60D2E43106D8727DA37DF9CCE95B478755D06BCEA"
       "8F9D45965F75A5F3D1DF3701165FC9E50C4279CEB07F989540AE96D5D88ED776"},
      {DhGroup::modp2048s224, "dh_2048_224", "22E62601DBFFD06708A680F747F361F76D8F4F721A0548E483294B0C",
       "1B3A63451BD886E699E67B494E288BD7F8E0D370BADDA7A0EFD2FDE7D8F66145CC9F280419975EB808877C8A4C0C8E0B"
       "D48D4A5401EB1E8776BFEEE134C03831AC273CD9D635AB0CE006A42A887E3F52FB8766B650F38078BC8EE8580CEFE243"
       "968CFC4F8DC3DB084554171D41BF2E861B7BB4D69DD0E01EA387CBAA5CA672AFCBE8BDB9D62D4CE15F17DD36F91ED1EE"
       "DD65CA4A06455CB94CD40A52EC360E84B3C926E22C4380A3BF309D56849768B7F52CFDF655FD053A7EF706979E7E5806"
       "B17DFAE53AD2A5BC568EBB529A7A61D68D256F8FC97C074A861D827E2EBC8C6134553115B70E7103920AA16D85E52BCB"
       "AB8D786A68178FA8FF7C2F5C71648D6F"},
      {DhGroup::modp2048s256, "dh_2048_256",
       "0881382CDB87660C6DC13E614938D5B9C8B2F248581CC5E31B35454397FCE50E",
       "2E9380C8323AF97545BC4941DEB0EC3742C62FE0ECE824A6ABDBE66C59BEE0242911BFB967235CEBA35AE13E4EC752BE"
       "630B92DC4BDE2847A9C62CB8152745421FB7EB60A63C0FE9159FCCE726CE7CD8523D7450667EF840E4919121EB5F01C8"
       "C9B0D3D648A93BFB75689E8244AC134AF544711CE79A02DCC34226684780DDDCB498594106C37F5BC79856487AF5AB02"
       "2A2E5E42F09897C1A85A11EA0212AF04D9B4CEBC937C3C1A3E15A8A0342E337615C84E7FE3B8B9B87FB1E73A15AF12A3"
       "0D746E06DFC34F290D797CE51AA13AA785BF6658AFF5E4B093003CBEAF665B3C2E113A3A4E905269341DC0711426685F"
       "4EF37E868A8126FF3F2279B57CA67E29"},
  };
  for (const Vector& vector : vectors) {
    INFO("group " << static_cast<int>(vector.group));
    const ByteVector scalar = from_hex(vector.private_value), public_value = from_hex(vector.public_value);
    const ByteVector prime = group_number(vector.name, OSSL_PKEY_PARAM_FFC_P);
    const ByteVector order = group_number(vector.name, OSSL_PKEY_PARAM_FFC_Q);
    REQUIRE(power(group_number(vector.name, OSSL_PKEY_PARAM_FFC_G), scalar, prime) == public_value);
    const auto ours = DhKey::generate(vector.group);
    const auto secret = ours->shared_secret(public_value);
    REQUIRE(secret);
    CHECK(to_vector(*secret) == power(ours->public_value(), scalar, prime));
    // Of the subgroup, whose order is q; values of others would tell the private one piece by piece (RFC
    // 2785).
    ByteVector one(prime.size());
    one.back() = 1;
    CHECK(power(ours->public_value(), order, prime) == one);
    ByteVector value(prime.size());
    value.back() = 2;
    REQUIRE(power(value, order, prime) != one);
    CHECK_FALSE(ours->shared_secret(value));
    CHECK_FALSE(ours->shared_secret(one));
    CHECK_FALSE(ours->shared_secret(prime));
    CHECK_FALSE(ours->shared_secret(ByteVector(prime.size())));
  }
}

TEST_CASE("the ECP groups agree with RFC 5903 section 8") {
  struct Vector {
    DhGroup group;
    int curve;
    std::string_view initiator, initiator_x, initiator_y, responder_x, responder_y, shared_x;
  };
  const Vector vectors[] = {
      {DhGroup::ecp256, NID_X9_62_prime256v1,
       "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
       "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180",
       "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
       "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63",
       "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
       "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE"},
      {DhGroup::ecp384, NID_secp384r1,
       "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
       "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA",
       "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
       "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571",
       "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
       "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746"},
      {DhGroup::ecp521, NID_secp521r1,
       "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D937BA9777F5957"
       "B26"
       "39BAB072462F68C27A57382D4A52",
       "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBEE1E3BF42E00B8E380AEAE57C2D10756494188"
       "594"
       "2AF5A7F4601723C4195D176CED3E",
       "017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10AD8A788015AC405D7799DC75E7B7D5B6CF2261"
       "A6A"
       "7F1507438BF01BEB6CA3926F9582",
       "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A219B97C356436ADC6E95BB0352F6BE64A6C2912"
       "D4E"
       "F2D0433CED2B6171640012D9460F",
       "015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87220B6536C5C408A1D2AEBB8E86D678AE49CB5"
       "709"
       "1F4732296579AB44FCD17F0FC56A",
       "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A34786859810C06B3C71"
       "5A3"
       "A8CC3151F2BEE417996D19F3DDEA"},
  };
  for (const Vector& vector : vectors) {
    const ByteVector scalar = from_hex(vector.initiator), shared_x = from_hex(vector.shared_x);
    const ByteVector initiator = from_hex(std::string(vector.initiator_x).append(vector.initiator_y));
    const ByteVector responder = from_hex(std::string(vector.responder_x).append(vector.responder_y));
    // The arithmetic of this test reproduces the RFC's exchange,
    REQUIRE(multiply(vector.curve, scalar, {}) == initiator);
    ByteVector shared = multiply(vector.curve, scalar, responder);
    shared.resize(shared.size() / 2);
    REQUIRE(shared == shared_x);
    // and our key's with the RFC's initiator.
    const auto ours = DhKey::generate(vector.group);
    const auto secret = ours->shared_secret(initiator);
    REQUIRE(secret);
    ByteVector expected = multiply(vector.curve, scalar, ours->public_value());
    expected.resize(expected.size() / 2);
    CHECK(to_vector(*secret) == expected);
  }
}

TEST_CASE("what is no point of an ECP group is refused") {
  for (const DhGroup group : {DhGroup::ecp256, DhGroup::ecp384, DhGroup::ecp521}) {
    const auto ours = DhKey::generate(group);
    const ByteVector good = to_vector(DhKey::generate(group)->public_value());
    CHECK(ours->shared_secret(good));
    for (std::size_t at = 0; at < good.size(); ++at) {
      ByteVector bad = good;
      bad[at] ^= 1;
      CHECK_FALSE(ours->shared_secret(bad));
    }
    CHECK_FALSE(ours->shared_secret(ByteVector(good.size())));
    CHECK_FALSE(ours->shared_secret(ByteVector(good.size(), 0xff)));
  }
}

TEST_CASE("X25519 agrees with RFC 7748 section 6.1") {
  const ByteVector alice = from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const ByteVector alice_public =
      from_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const ByteVector bob_public = from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  REQUIRE(x25519(alice, bob_public) ==
          from_hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
  const auto ours = DhKey::generate(DhGroup::curve25519);
  const auto secret = ours->shared_secret(alice_public);
  REQUIRE(secret);
  CHECK(to_vector(*secret) == x25519(alice, ours->public_value()));
}

// The u coordinates of small order: 0, 1, the two of order 8, p - 1, and p and p + 1, which are 0 and 1
// again.
TEST_CASE("X25519 values of small order are refused") {
  const auto ours = DhKey::generate(DhGroup::curve25519);
  for (const std::string_view value : {
           "0000000000000000000000000000000000000000000000000000000000000000",
           "0100000000000000000000000000000000000000000000000000000000000000",
           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
           "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
       })
    CHECK_FALSE(ours->shared_secret(from_hex(value)));
}

TEST_CASE("public values of a wrong length are refused") {
  for (const DhGroup group : kAllGroups) {
    const auto ours = DhKey::generate(group);
    const ByteVector good = to_vector(DhKey::generate(group)->public_value());
    ByteVector longer = good;
    longer.insert(longer.begin(), group == DhGroup::curve25519 ? 0 : 4);  // SEC 1's prefix is not IKE's
    INFO("group " << static_cast<int>(group));
    CHECK_FALSE(ours->shared_secret(longer));
    CHECK_FALSE(ours->shared_secret(Bytes(good).first(good.size() - 1)));
    CHECK_FALSE(ours->shared_secret(Bytes(good).first(1)));
    CHECK_FALSE(ours->shared_secret({}));
  }
}

namespace {

std::unique_ptr<IkeCipher> cipher_of(const SealedVector& vector) {
  return IkeCipher::make(vector.cipher, vector.key_bits, vector.integrity, from_hex(vector.key),
                         from_hex(vector.integrity_key));
}

}  // namespace

TEST_CASE("payloads sealed by python's cryptography open") {
  for (const SealedVector& vector : kSealedVectors) {
    const auto plaintext = cipher_of(vector)->open(from_hex(vector.aad), from_hex(vector.sealed));
    REQUIRE(plaintext);
    CHECK(to_vector(*plaintext) == from_hex(vector.plaintext));
  }
}

TEST_CASE("what is sealed opens, and its lengths are those announced") {
  for (const SealedVector& vector : kSealedVectors) {
    const auto cipher = cipher_of(vector);
    const ByteVector aad = from_hex(vector.aad), plaintext = from_hex(vector.plaintext);
    const ByteVector sealed = cipher->seal(aad, plaintext);
    CHECK(sealed.size() == cipher->iv_length() + plaintext.size() + cipher->icv_length());
    CHECK(sealed.size() == vector.sealed.size() / 2);
    CHECK(plaintext.size() % cipher->block_length() == 0);
    CHECK(cipher->icv_length() ==
          (vector.integrity == IkeIntegrity::none ? 16 : integrity_icv_length(vector.integrity)));
    const auto opened = cipher_of(vector)->open(aad, sealed);
    REQUIRE(opened);
    CHECK(to_vector(*opened) == plaintext);
  }
}

TEST_CASE("any flipped bit of the payload or of what is authenticated with it is noticed") {
  for (const SealedVector& vector : kSealedVectors) {
    if (vector.sealed.size() > 300) continue;
    const auto cipher = cipher_of(vector);
    ByteVector aad = from_hex(vector.aad), sealed = from_hex(vector.sealed);
    for (ByteVector* part : {&aad, &sealed}) {
      for (std::size_t bit = 0; bit < part->size() * 8; ++bit) {
        (*part)[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        REQUIRE_FALSE(cipher->open(aad, sealed));
        (*part)[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      }
    }
    REQUIRE(cipher->open(aad, sealed));
  }
}

TEST_CASE("payloads of every shorter length are refused") {
  for (const SealedVector& vector : kSealedVectors) {
    if (vector.sealed.size() > 400) continue;
    const auto cipher = cipher_of(vector);
    const ByteVector aad = from_hex(vector.aad), sealed = from_hex(vector.sealed);
    for (std::size_t length = 0; length < sealed.size(); ++length)
      REQUIRE_FALSE(cipher->open(aad, Bytes(sealed).first(length)));
  }
}

TEST_CASE("an IV is never used twice") {
  for (const SealedVector& vector : kSealedVectors) {
    if (vector.plaintext.size() > 32) continue;
    const auto cipher = cipher_of(vector), twin = cipher_of(vector);
    const ByteVector aad = from_hex(vector.aad), plaintext = from_hex(vector.plaintext);
    std::set<std::string> ivs;
    for (int i = 0; i < 500; ++i) {
      for (IkeCipher* sealer : {cipher.get(), twin.get()}) {
        const ByteVector sealed = sealer->seal(aad, plaintext);
        ivs.emplace(reinterpret_cast<const char*>(sealed.data()), sealer->iv_length());
      }
    }
    CHECK(ivs.size() == 1000);
  }
}

TEST_CASE("keys and algorithms that do not fit each other are refused") {
  const ByteVector key(64);
  const Bytes keys(key);
  const auto make = [&](IkeCipherId cipher, std::uint16_t bits, IkeIntegrity integrity,
                        std::size_t key_length, std::size_t integrity_length) {
    return IkeCipher::make(cipher, bits, integrity, keys.first(key_length), keys.first(integrity_length));
  };
  constexpr auto kCbc = IkeCipherId::aes_cbc;
  constexpr auto kGcm = IkeCipherId::aes_gcm16;
  CHECK(make(kCbc, 128, IkeIntegrity::hmac_sha256_128, 16, 32));
  CHECK(make(kGcm, 256, IkeIntegrity::none, 36, 0));
  CHECK_THROWS_AS(make(kCbc, 256, IkeIntegrity::hmac_sha256_128, 16, 32), std::runtime_error);
  CHECK_THROWS_AS(make(kCbc, 128, IkeIntegrity::hmac_sha256_128, 16, 20), std::runtime_error);
  CHECK_THROWS_AS(make(kCbc, 128, IkeIntegrity::none, 16, 0), std::runtime_error);
  CHECK_THROWS_AS(make(kCbc, 160, IkeIntegrity::hmac_sha256_128, 20, 32), std::runtime_error);
  CHECK_THROWS_AS(make(kCbc, 0, IkeIntegrity::hmac_sha256_128, 0, 32), std::runtime_error);
  CHECK_THROWS_AS(make(kCbc, 130, IkeIntegrity::hmac_sha256_128, 16, 32), std::runtime_error);
  CHECK_THROWS_AS(make(kGcm, 256, IkeIntegrity::none, 32, 0), std::runtime_error);
  CHECK_THROWS_AS(make(kGcm, 0, IkeIntegrity::none, 4, 0), std::runtime_error);
  CHECK_THROWS_AS(make(kGcm, 128, IkeIntegrity::none, 20, 20), std::runtime_error);
  CHECK_THROWS_AS(make(kGcm, 128, IkeIntegrity::hmac_sha1_96, 20, 20), std::runtime_error);
  CHECK_THROWS_AS(make(static_cast<IkeCipherId>(3), 128, IkeIntegrity::none, 16, 0), std::runtime_error);
  const auto cbc = make(kCbc, 128, IkeIntegrity::hmac_sha1_96, 16, 20);
  CHECK_THROWS_AS(cbc->seal({}, keys.first(15)), std::runtime_error);
  CHECK_THROWS_AS(cbc->seal({}, {}), std::runtime_error);
}
