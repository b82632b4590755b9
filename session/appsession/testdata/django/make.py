"""Writes what Django writes, as cases for the Go tests: /usr/bin/python3 make.py > vectors.json"""
import base64
import json
import sys
import warnings

import django
from django.conf import settings

KEY = "django-insecure-#1 ünïcode & all"
OLD = "the key before the last"
AUTH = "django.contrib.auth"

settings.configure(
    SECRET_KEY=KEY,
    INSTALLED_APPS=[AUTH, "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    ROOT_URLCONF=__name__,
)
urlpatterns = []
warnings.simplefilter("ignore")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

cases = []


def case(name, data, want, keys=(KEY,), **more):
    data = base64.b64encode(data.encode()).decode()
    cases.append({"name": name, "kind": "django", "secrets": list(keys), "data": data, "want": want, **more})


def login(username, **session):
    """Logs in at the real thing and gives what stands in django_session."""
    client = Client()
    assert client.login(username=username, password="right")
    if session:
        store = client.session
        store.update(session)
        store.save()
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    return Session.objects.get(session_key=key).session_data


call_command("migrate", verbosity=0)
User.objects.create_user("someone", password="right")
user = User.objects.create_user("zoë", password="right")
before = user.password
identity = {"backend": AUTH + ".backends.ModelBackend", "password": before, "otherPassword": "pbkdf2_sha256$1$x$y"}

case("logged in", login("zoë"), "2", **identity)
big = login("zoë", cart=["the same thing"] * 500)
assert big.startswith(".")
case("compressed", big, "2", **identity)
with override_settings(SECRET_KEY=OLD):
    case("an older key", login("zoë"), "2", keys=[KEY, OLD], **identity)
    case("of another key", login("zoë"), "", error=True)
case("tampered", login("zoë").replace("e", "f", 1), "", error=True)

data = login("zoë")
user.set_password("new")
user.save()
case("the password was changed", data, "2", backend=identity["backend"], password=before, otherPassword=user.password)

with override_settings(DEFAULT_HASHING_ALGORITHM="sha1"):  # as Django wrote before 3.1
    user.set_password("right")
    user.save()
    identity["password"] = user.password
    data = login("zoë")
    assert ":" not in data and ":" in base64.b64decode(data).decode()
    case("before 3.1", data, "2", **identity)
    case("before 3.1, of another key", data, "", keys=[OLD], error=True)
    case("before 3.1, tampered", data.replace("A", "B", 1) if "A" in data else "B" + data, "", error=True)

encode = SessionStore().encode
case("nobody", encode({"csrf": "x"}), "")
case("empty", encode({}), "")
case("no backend", encode({"_auth_user_id": "2", "_auth_user_hash": "x"}), "")
case("a bomb", encode({"_auth_user_id": "2", "_auth_user_backend": "b", "x": " " * (1 << 20)}), "", error=True)
case("a UUID", encode({"_auth_user_id": "1b4e28ba-2fa1-4d2c-883f-0016d3cca427", "_auth_user_backend": "b"}),
     "1b4e28ba-2fa1-4d2c-883f-0016d3cca427", backend="b")
case("a list", encode({"_auth_user_id": ["2"], "_auth_user_backend": "b"}), "", error=True)
with override_settings(SESSION_SERIALIZER="django.contrib.sessions.serializers.PickleSerializer"):
    case("pickled", SessionStore().encode({"_auth_user_id": "2", "_auth_user_backend": "b"}), "", error=True)

json.dump(cases, sys.stdout, indent=1)
print()
