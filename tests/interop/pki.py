"""Authorities, certificates and revocation lists by the openssl command, valid for two days."""
import datetime
import os

from lab import run

KINDS = {"rsa": ["RSA", "rsa_keygen_bits:2048"], "rsa4096": ["RSA", "rsa_keygen_bits:4096"],
         "p256": ["EC", "ec_paramgen_curve:P-256"],
         "p384": ["EC", "ec_paramgen_curve:P-384"], "p521": ["EC", "ec_paramgen_curve:P-521"], "ed25519": ["ED25519"]}

CONFIGURATION = """
[ca]
default_ca = here
[here]
database = {0}/index.txt
serial = {0}/serial
crlnumber = {0}/crlnumber
new_certs_dir = {0}
default_md = sha256
default_crl_days = 2
unique_subject = no
policy = any
[any]
countryName = optional
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[end]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = ${{ENV::NAMES}}
[responder]
subjectKeyIdentifier = hash
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, OCSPSigning
"""


def openssl(*argv, names="DNS:none"):
    return run(["openssl", *map(str, argv)], env={**os.environ, "NAMES": names})


def private_key(path, kind):
    algorithm, *options = KINDS[kind]
    chosen = [word for each in options for word in ("-pkeyopt", each)]
    openssl("genpkey", "-algorithm", algorithm, *chosen, "-out", path)
    os.chmod(path, 0o600)
    return path


def public_key(key):
    path = key.replace(".key", ".pub")
    openssl("pkey", "-in", key, "-pubout", "-out", path)
    return path


def stamp(days):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


def read(path):
    with open(path) as file:
        return file.read()


class Authority:
    """`issuer`: of one between; a root without. Everything is in a folder of its own."""

    def __init__(self, directory, name, issuer=None):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        for file, text in {"index.txt": "", "serial": "1000\n", "crlnumber": "10\n",
                           "ca.cnf": CONFIGURATION.format(self.directory)}.items():
            with open(self.path(file), "w") as out:
                out.write(text)
        self.key = private_key(self.path("ca.key"), "p256")
        self.certificate = self.path("ca.crt")
        if issuer:
            issuer.sign(self.request(self.key, name), self.certificate, "authority")
        else:
            openssl("req", "-x509", "-new", "-key", self.key, "-subj", f"/C=DE/O=Example/CN={name}", "-days", 2,
                    "-config", self.path("ca.cnf"), "-extensions", "authority", "-out", self.certificate)

    def path(self, name):
        return os.path.join(self.directory, name)

    def request(self, key, name):
        path = self.path(f"{name}.csr")
        empty = self.path("req.cnf")
        with open(empty, "w") as out:
            out.write("[req]\ndistinguished_name = dn\n[dn]\n")
        openssl("req", "-new", "-key", key, "-subj", f"/C=DE/O=Example/CN={name}", "-config", empty, "-out", path)
        return path

    def sign(self, request, out, extensions, names="DNS:none", begin=-1, end=2):
        self.ca("-batch", "-notext", "-in", request, "-out", out, "-extensions", extensions,
                "-startdate", stamp(begin), "-enddate", stamp(end), names=names)

    def ca(self, *argv, **more):
        openssl("ca", "-config", self.path("ca.cnf"), "-keyfile", self.key, "-cert", self.certificate, *argv, **more)

    def issue(self, name, kind, **more):
        """Paths of a certificate for NAME.example, and of its key."""
        key = private_key(self.path(f"{name}-{kind}.key"), kind)
        certificate = key.replace(".key", ".crt")
        self.sign(self.request(key, name), certificate, "end", names=f"DNS:{name}.example", **more)
        return certificate, key

    def revoke(self, certificate):
        self.ca("-revoke", certificate)

    def status(self, certificate, delegate=False):
        """An OCSP response for the certificate, in a file: by the authority, or by whom it certified for that."""
        signer, key = self.certificate, self.key
        if delegate:
            key = private_key(self.path("responder.key"), "p256")
            signer = self.path("responder.crt")
            self.sign(self.request(key, "responder"), signer, "responder")
        request, response = certificate + ".ocsp-request", certificate + ".ocsp"
        openssl("ocsp", "-issuer", self.certificate, "-cert", certificate, "-no_nonce", "-reqout", request)
        openssl("ocsp", "-index", self.path("index.txt"), "-CA", self.certificate, "-rsigner", signer, "-rkey", key,
                "-reqin", request, "-respout", response, "-ndays", 1)
        return response

    def revocations(self):
        path = self.path("ca.crl")
        self.ca("-gencrl", "-out", path)
        return path
