"""Hashes made by Python's programs, for make-vectors.sh. The passwords are the arguments."""

import base64
import hashlib
import importlib.metadata
import os
import struct
import sys
import warnings

warnings.simplefilter("ignore")  # crypt is deprecated
import crypt

try:
    import django
    import passlib
    import passlib.hash as pl
    from django.conf import settings
    from django.contrib.auth import hashers as dj
    from passlib.utils.binary import h64
    from werkzeug.security import gen_salt, generate_password_hash
    import argon2, bcrypt  # noqa: what Django and passlib load late
except ImportError as e:
    sys.exit(f"{e}; run: make test")

settings.configure()
DJANGO = "Django " + django.get_version()
WERKZEUG = "Werkzeug " + importlib.metadata.version("werkzeug")
PASSLIB = "passlib " + passlib.__version__
MEMORY = 2**28  # what scrypt may take, in bytes
HASHLIB = "hashlib of Python " + sys.version.split()[0]


class Argon2(dj.Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 64, 8


class Bcrypt(dj.BCryptPasswordHasher):
    rounds = 4


class BcryptSHA256(dj.BCryptSHA256PasswordHasher):
    rounds = 4


def line(tool, scheme, password, text):
    print(tool, scheme, password, text, sep="\t")


def django_hashes(p):
    for hasher, scheme in ((Argon2(), "argon2id"), (Bcrypt(), "bcrypt"), (BcryptSHA256(), "bcrypt-sha256")):
        yield scheme, hasher.encode(p, hasher.salt())
    for hasher, scheme in ((dj.PBKDF2PasswordHasher(), "pbkdf2-sha256"), (dj.PBKDF2SHA1PasswordHasher(), "pbkdf2-sha1")):
        yield scheme, hasher.encode(p, hasher.salt(), iterations=1000)


def django_defaults(p):
    for hasher, scheme in (
        (dj.Argon2PasswordHasher(), "argon2id"),
        (dj.BCryptSHA256PasswordHasher(), "bcrypt-sha256"),
        (dj.PBKDF2PasswordHasher(), "pbkdf2-sha256"),
        (dj.PBKDF2SHA1PasswordHasher(), "pbkdf2-sha1"),
    ):
        yield scheme, hasher.encode(p, hasher.salt())


def passlib_hashes(p):
    yield "phpass", pl.phpass.using(rounds=7).hash(p)
    yield "phpass", pl.phpass.using(rounds=7, ident="H").hash(p)
    yield "pbkdf2-sha1", pl.pbkdf2_sha1.using(rounds=1000).hash(p)
    yield "pbkdf2-sha256", pl.pbkdf2_sha256.using(rounds=1000).hash(p)
    yield "pbkdf2-sha512", pl.pbkdf2_sha512.using(rounds=1000).hash(p)
    yield "scrypt", pl.scrypt.using(rounds=4).hash(p)
    yield "argon2i", pl.argon2.using(type="I", rounds=3, memory_cost=64).hash(p)
    yield "argon2id", pl.argon2.using(type="ID", rounds=1, memory_cost=64).hash(p)
    yield "apr1", pl.apr_md5_crypt.hash(p)
    yield "md5crypt", pl.md5_crypt.hash(p)
    yield "sha256crypt", pl.sha256_crypt.using(rounds=1000).hash(p)
    yield "sha512crypt", pl.sha512_crypt.using(rounds=1000).hash(p)


def passlib_defaults(p):
    yield "phpass", pl.phpass.hash(p)
    yield "pbkdf2-sha256", pl.pbkdf2_sha256.hash(p)
    yield "scrypt", pl.scrypt.hash(p)
    yield "sha512crypt", pl.sha512_crypt.hash(p)


def wordpress(p):
    """What WordPress before 6.8 gave phpass: with PHP's trim and addslashes."""
    p = p.strip(" \t\n\r\0\x0b")
    for c in "\\'\"":
        p = p.replace(c, "\\" + c)
    return p


def django4_scrypt(p, n=2**14, r=8, parallel=1):
    """Django 4.0's ScryptPasswordHasher, which Debian 12's Django 3.2 does not have yet."""
    salt = gen_salt(22)
    key = hashlib.scrypt(p.encode(), salt=salt.encode(), n=n, r=r, p=parallel, maxmem=MEMORY, dklen=64)
    return f"scrypt${n}${salt}${r}${parallel}${base64.b64encode(key).decode()}"


def werkzeug3_scrypt(p, n=2**15, r=8, parallel=1):
    """Werkzeug 2.3's generate_password_hash, which Debian 12's 2.2 does not have yet."""
    salt = gen_salt(16)
    key = hashlib.scrypt(p.encode(), salt=salt.encode(), n=n, r=r, p=parallel, maxmem=MEMORY)
    return f"scrypt:{n}:{r}:{parallel}${salt}${key.hex()}"


def aspnet2(p):
    """ASP.NET Identity, version 2. There is no .NET in Debian; published.tsv has its own vectors."""
    salt = os.urandom(16)
    return base64.b64encode(b"\0" + salt + hashlib.pbkdf2_hmac("sha1", p.encode(), salt, 1000, 32)).decode()


def aspnet3(p, number, iterations, salt_size=16, size=32):
    salt = os.urandom(salt_size)
    key = hashlib.pbkdf2_hmac(("sha1", "sha256", "sha512")[number], p.encode(), salt, iterations, size)
    return base64.b64encode(struct.pack(">BIII", 1, number, iterations, salt_size) + salt + key).decode()


def crypt_scrypt(p):
    """crypt(3)'s $7$ with N=2^6, r=8, p=1; mkpasswd makes it with N=2^14, r=32 only."""
    return crypt.crypt(p, "$7$46..../....%s$" % h64.encode_bytes(os.urandom(12)).decode())


def everything(p):
    for scheme, text in django_hashes(p):
        line(DJANGO, scheme, p, text)
    for scheme, text in passlib_hashes(p):
        line(PASSLIB, scheme, p, text)
    line(PASSLIB + " as WordPress' form", "phpass", p, pl.phpass.using(rounds=7).hash(wordpress(p)))
    for method in ("sha1", "sha256", "sha512"):
        line(WERKZEUG, "pbkdf2-" + method, p, generate_password_hash(p, f"pbkdf2:{method}:1000"))
    line(HASHLIB + " as Django 4", "scrypt", p, django4_scrypt(p, n=16))
    line(HASHLIB + " as Werkzeug 3", "scrypt", p, werkzeug3_scrypt(p, n=16))
    line(HASHLIB + " as ASP.NET", "pbkdf2-sha1", p, aspnet2(p))
    for number, scheme in enumerate(("pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512")):
        line(HASHLIB + " as ASP.NET", scheme, p, aspnet3(p, number, 1000))
    line("libxcrypt", "scrypt", p, crypt_scrypt(p))


def defaults(p):
    for scheme, text in django_defaults(p):
        line(DJANGO, scheme, p, text)
    for scheme, text in passlib_defaults(p):
        line(PASSLIB, scheme, p, text)
    line(WERKZEUG, "pbkdf2-sha256", p, generate_password_hash(p))
    line(HASHLIB + " as Django 4", "scrypt", p, django4_scrypt(p))
    line(HASHLIB + " as Django 5", "scrypt", p, django4_scrypt(p, parallel=5))
    line(HASHLIB + " as Werkzeug 3", "scrypt", p, werkzeug3_scrypt(p))
    line(HASHLIB + " as ASP.NET", "pbkdf2-sha512", p, aspnet3(p, 2, 100_000))


for argument in sys.argv[1:]:
    everything(argument)
defaults(sys.argv[1])
