#!/usr/bin/python3
"""Writes kdf_vectors.txt, the key derivations that test-ike-codec compares ours with. Each line is "name hex".

nist_*: NIST's own (CAVP, SP 800-135 component test vectors for IKEv2; the SHA-256 ones are the ACVP sample that
OpenSSL's test/recipes/30-test_evp_data/evpkdf_ikev2.txt publishes). This script computes them again with Python's
hmac and stops if it disagrees, which makes its own values for the other PRFs (py_*) worth comparing with.
"""
import hmac
import os
import sys

CHILD = 2 * 100  # bytes: the longest key material of an ESP suite, for either direction
NI, NR = "3651fef5c9c35e93", "c09a8b90a3f04d59"
SPI_I, SPI_R = "8e5c3ae507221684", "b1f201bb155c3acd"
GIR = ("d084a30166a50fb7325c3960874a839449ef9741c2f4f947d0201dd8c1269273d79509f37e3ca3eb4fa2fe2a28254e289cd3f34dad4eb4df1a07"
       "685a4b8a94fa61e2491f7598b3ce65547ff133b3f63d1ac4175eaa695033f3cedb026a6873a36455172a8540b8a5d23a0143bed0390ee49b1682"
       "69d75fffee9fb62be965993c")
GIR_NEW = ("52f00ab174c25d5b7139ae5ff4e8e9eddee5992d2e36adf8a559ffd90dab1442e4fbe429d320c0f33552a17d1557fa41ea70e8fb916c4fa2"
           "7ed52b5f8ebd8461afa78f1159159a64055ac5f6319e29c28eae58cbc6847770f32c3fed1d04750484f854790f95e9ec01bc5bc461f24966"
           "462e359511329305038e94deb6dd42c2")
PUBLISHED = {
    "sha1": {
        "skeyseed": "cd2e8050137832245f1dbacc6e4f0a92f94d45d6",
        "dkm": "6f1b12cad3cbe097b35430356d869d54cddb0198ec859174d53ceb92dddedbe2436db69f60977c58fa63bbb667f8d36920b109baae8f"
               "6c61a9ac49feda01843225d080ec5539d5881a25521ffb2a0a91874a9c0a27fcc2d717eb8963a9e3a89c7ab264757284c28cf8c3ca40"
               "576f4220b052b1fb8e9ad60ba3c80557323331a8cbb89f20",
        "child": "4727dc0ef94eb326ce131cf282fb652faa638ad0ddae3786a11bcc0309876009f8c485de011ad962c5b1ca8a41ff8145445749079c"
                 "5686e26ffebbc342f06981f3da745e11ca0976424d1f8caec623d59dc7186deb20a27b411d1dcb70a365440bf7de905088b0692e8a"
                 "ddc094e18d1939bdb67e89798ca6b239e2ccb81c2409dac0106c",
        "child_dh": "b109c21ad4c0797768c1cec9e63554681e48f224bca7f23c20c4ea7041983451e9aa1d5408656c8a975ff1b9d9a12c75ffeb64b"
                    "decb30174664cccb4e14f1c377b7f6d1525af77c7092aac3e47f917ebae8297fb5539d2008ce830823a09cc197361d4a289c727"
                    "45f6ce9fefe812be5bf55b3200fbb82e41a4a40877d3fe106db909707b",
        "skeyseed_rekey": "3b03bce748c96d5e8306918d2ff89b68f0648da3",
    },
    "sha256": {
        "skeyseed": "efaa7ab0eaa85a3d0be2100cd4b6fe00ff5025a9eafddb3ef518e9f0d3fe60e6",
        "dkm": "462b9dd525d4fd71169174272779e704baf62c6231779ae9efe8c58b21916b42010164af2111ebd762f6916ca9a6f0ee05c8b320e4ee"
               "27705521de2589adea1878f1a551738af7c88dc4f0bb0c096a3f7d1f1a670fc79f49f678d60d665bb3710c8657f03ba9f62b9a818d7a"
               "228968c506e237ae9502aa6db395c61ea6a3e79504f86b7368bfb5423df79e48809bbccd49fd826d024f63d7c2a5566400a12e736aa0"
               "34510428f5ea008fe2fc16886fa388274ea6c2b4fcfc6141bf04f8207ef8afc224ea1059cb220dc0b23ac0e4ccda495a4e131b1d56e2"
               "23aba5a48e8ed1f5",
        "child": "23647677e7d403fa1e3006f19840aee18ad9fecc4215814c4131bdeba98433d8b0e31bfbbddf822abcce5e06486aa388022b75e27e"
                 "1e68aa5983028b65282c730c5d49ef7606770376cfdec41f7cc435d816029989bc353d3b67b9fd1168ddcb8978850da9b752aee6a3"
                 "0d0086d2c4d74ec0e03648a0dad334faf5fe88084e67b0f3e8fee8b5e1bd3850db540f1fb8cffe23c9e92cda209373f354880c246c"
                 "753e2a0eca9cb73b9910a8531c4010e6768fa29f909e60af777fed6e739c3cfda03467e915d6f03fce9c41f5f9d578f8912d66a754"
                 "57e79ee1d5bcc2be5c2f9bae",
        "child_dh": "6a919387a5fa2835fe8a8237e4a14845bd2b9930db87eff7adf268f62186004902dba9aa942d0259a0edc4120b932a503865b57"
                    "ba8fb88117ef5df7b26799cd8ba37aa5438108cb1a4fe117907c9d0597b708c3f11151fefd624d2317202b7c81430600e6fcbb6"
                    "e1a8df2b4861ef2363d53de1be69057b0cf6634a7e7bfa97b3c2810623e2bd6757738777177036e9c3a39794456954bd41fc444"
                    "a12507ab9cac69a0540d13c29db8510f566a691691baa2d9569dacc990d56a454bb444bcbbe8751b0550a5278812fc5ab4f2899"
                    "0dd6d608538d7ddde24dc81bdaaca7751fde",
        "skeyseed_rekey": "90722c42bd849e9b72d240fc254174270fa8295de6f0338dafc303a9ec104f12",
    },
}
PPK = bytes(range(200, 240))
PSK, ID_BODY, MESSAGE = b"correct horse battery staple", bytes.fromhex("02000000") + b"west.example", bytes(range(200))


def prf(digest, key, data):
    return hmac.new(key, data, digest).digest()


def prf_plus(digest, key, seed, length):
    out, block = b"", b""
    for counter in range(1, 256):
        block = prf(digest, key, block + seed + bytes([counter]))
        out += block
        if len(out) >= length:
            return out[:length]
    raise ValueError("more than 255 blocks")


def derive(digest, dkm_length, child_length):
    ni, nr, gir, gir_new = (bytes.fromhex(text) for text in (NI, NR, GIR, GIR_NEW))
    spis, size = bytes.fromhex(SPI_I + SPI_R), hmac.new(b"", b"", digest).digest_size
    values = {"skeyseed": prf(digest, ni + nr, gir)}
    values["dkm"] = prf_plus(digest, values["skeyseed"], ni + nr + spis, dkm_length)
    sk_d, sk_pr = values["dkm"][:size], values["dkm"][-size:]
    values["child"] = prf_plus(digest, sk_d, ni + nr, child_length)
    values["child_dh"] = prf_plus(digest, sk_d, gir_new + ni + nr, child_length)
    values["skeyseed_rekey"] = prf(digest, sk_d, gir_new + ni + nr)
    values["dkm_rekey"] = prf_plus(digest, values["skeyseed_rekey"], ni + nr + spis, dkm_length)
    values["auth"] = prf(digest, prf(digest, PSK, b"Key Pad for IKEv2"), MESSAGE + ni + prf(digest, sk_pr, ID_BODY))
    # RFC 8784 section 3: the three keys behind each other.
    values["with_ppk"] = b"".join(prf_plus(digest, PPK, key, size)
                                  for key in (sk_d, values["dkm"][-2 * size:-size], sk_pr))
    return values


def check_published():
    for digest, published in PUBLISHED.items():
        values = derive(digest, len(published["dkm"]) // 2, len(published["child"]) // 2)
        for name, text in published.items():
            if values[name].hex() != text:
                sys.exit(f"{digest} {name}: Python's hmac disagrees with the published value")


def lines():
    inputs = {"ni": NI, "nr": NR, "spi_i": SPI_I, "spi_r": SPI_R, "gir": GIR, "gir_new": GIR_NEW, "psk": PSK.hex(),
              "ppk": PPK.hex(), "id_body": ID_BODY.hex(), "message": MESSAGE.hex()}
    yield from inputs.items()
    for digest, published in PUBLISHED.items():
        yield from ((f"nist_{digest}_{name}", text) for name, text in published.items())
    # AES-256-CBC with the PRF's own hash, 3 keys of the PRF and 2 of each kind; and AES-256-GCM with its salt.
    for digest, size in (("sha1", 20), ("sha256", 32), ("sha384", 48), ("sha512", 64)):
        yield from ((f"py_{digest}_{name}", value.hex()) for name, value in derive(digest, 5 * size + 64, CHILD).items())
        yield f"py_{digest}_gcm", derive(digest, 3 * size + 72, CHILD)["dkm"].hex()


def main():
    check_published()
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "kdf_vectors.txt"), "w", encoding="ascii") as out:
        out.writelines(f"{name} {text}\n" for name, text in lines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
