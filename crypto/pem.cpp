#include "crypto/pem.hpp"

#include <openssl/pem.h>

#include <string_view>

#include "crypto/openssl.hpp"

namespace espgate::crypto {

bool is_pem(Bytes file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  return text.find("-----BEGIN ") != text.npos;
}

std::vector<PemBlock> read_pem(Bytes file) {
  const openssl::Bio bio = openssl::required(
      openssl::Bio(BIO_new_mem_buf(file.data(), static_cast<int>(file.size()))), "reading PEM");
  std::vector<PemBlock> out;
  for (;;) {
    char* label = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long length = 0;
    if (PEM_read_bio(bio.get(), &label, &header, &data, &length) != 1) break;
    out.push_back({label, SecretBytes(Bytes(data, static_cast<std::size_t>(length)))});
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_cleanse(data, static_cast<std::size_t>(length));
    OPENSSL_free(data);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) throw std::runtime_error("PEM that is not well-formed");
  return out;
}

}  // namespace espgate::crypto
