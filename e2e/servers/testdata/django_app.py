"""A Django application with patterns that do not regard case, which is how people make its routes forgiving."""
import os
import re

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests only", APPEND_SLASH=True,
                   MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
django.setup()


def whoami(request):
    return HttpResponse("id=[%s]\n" % request.META.get("HTTP_X_USER_ID", ""), content_type="text/plain")


def area(says):
    return lambda request, *args, **kwargs: HttpResponse(says + "\n", content_type="text/plain")


urlpatterns = [re_path(r"^whoami$", whoami)]
with open(os.environ["AREAS"]) as lines:
    for line in lines:
        prefix, says = line.split()
        urlpatterns.append(re_path("(?i)^%s(/|$)" % re.escape(prefix[1:]), area(says)))

application = get_wsgi_application()
