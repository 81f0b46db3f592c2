"""Somebody's Django project, which publishes to Event Service."""

import os

import dj_database_url

SECRET_KEY = "of-a-test"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "event_service_client.django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": dj_database_url.parse(os.environ.get("SHOP_DATABASE", "sqlite:///:memory:"))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Of tests in a file, too: other processes look at it. Writers wait for each other from their beginning on.
    DATABASES["default"] |= {
        "TEST": {"NAME": DATABASES["default"]["NAME"]},
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True

EVENT_SERVICE_URL = os.environ.get("EVENT_SERVICE_URL", "")
EVENT_SERVICE_KEY = os.environ.get("EVENT_SERVICE_KEY", "")
