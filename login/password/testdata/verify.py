"""Says what Python's programs think of passwords: reads lines of  hash <tab> password in hexadecimal,
answers each with 1, 0 (also where a program refuses the password), or - where none knows such hashes."""

import sys
import warnings

warnings.simplefilter("ignore")  # crypt is deprecated
import crypt

try:
    from django.conf import settings
    from django.contrib.auth.hashers import identify_hasher
    from passlib.context import CryptContext
    from werkzeug.security import check_password_hash
    import argon2, bcrypt  # noqa: what Django and passlib load late
except ImportError as e:
    sys.exit(f"{e}; run: make test")

HASHERS = ("Argon2", "PBKDF2", "PBKDF2SHA1", "BCrypt", "BCryptSHA256")
settings.configure(PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{h}PasswordHasher" for h in HASHERS])
PASSLIB = CryptContext("argon2 bcrypt scrypt pbkdf2_sha1 pbkdf2_sha256 pbkdf2_sha512 phpass apr_md5_crypt".split())


def matches(text, password):
    if text.startswith(("argon2$", "pbkdf2_", "bcrypt")):
        return identify_hasher(text).verify(password, text)
    if text.startswith("pbkdf2:"):
        return check_password_hash(text, password)
    if text.startswith(("$1$", "$5$", "$6$", "$7$")):
        return crypt.crypt(password, text) == text
    if PASSLIB.identify(text):
        return PASSLIB.verify(password, text)
    return None


for line in sys.stdin:
    text, password = line.rstrip("\n").split("\t")
    try:
        answer = matches(text, bytes.fromhex(password).decode())
    except ValueError:
        answer = False
    print({True: "1", False: "0", None: "-"}[answer])
