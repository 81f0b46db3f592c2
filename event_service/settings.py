"""Every environment variable of the service is read here, and nowhere else. docs/operations.md explains each."""

import ipaddress
import os
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dj_database_url
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"


def _listed(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _switch(name: str, default: bool = False) -> bool:
    given = os.environ.get(name, "")
    if given not in ("", "0", "1"):
        raise ImproperlyConfigured(f"{name} is {given!r}; give 1 or 0.")
    return given == "1" if given else default


def _whole(name: str, default: str) -> int:
    given = os.environ.get(name, default)
    if not (given.isascii() and given.isdigit()):
        raise ImproperlyConfigured(f"{name} is {given!r}; give a whole number, such as {default}.")
    return int(given)


def _days(name: str) -> int | None:
    """Return how many, or None for 0: for ever. A century and no more, so that dates that far back exist."""
    days = _whole(name, "0")
    if days > 36_500:
        raise ImproperlyConfigured(f"{name} is {days}; give at most 36500 days, or 0 for ever.")
    return days or None


def _rate(name: str, default: str) -> tuple[int, int] | None:
    """Return COUNT/SECONDS, or None for 0: no limit."""
    given = os.environ.get(name, default)
    count, _, seconds = given.partition("/")
    if given == "0":
        return None
    if not (count.isdecimal() and seconds.isdecimal() and int(count) and int(seconds)):
        raise ImproperlyConfigured(f"{name} is {given!r}; give COUNT/SECONDS, such as {default}, or 0 for no limit.")
    return int(count), int(seconds)


# Where the embedded database and the generated secret key live.
CHECKOUT = (BASE_DIR / "manage.py").exists()  # else it is installed, among other packages
_data_home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "event-service"
DATA_DIR = Path(os.environ.get("DATA_DIR") or (BASE_DIR / "var" if CHECKOUT else _data_home)).resolve()

# --- the web server
HOST = os.environ.get("HOST", "127.0.0.1")
PORT = _whole("PORT", "8000")
ALLOWED_HOSTS = _listed("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _listed("CSRF_TRUSTED_ORIGINS")
# The service is reached by https alone: cookies, redirects and HSTS are such.
HTTPS = _switch("EVENT_SERVICE_HTTPS")
# Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
TRUSTED_PROXIES = [ipaddress.ip_network(cidr) for cidr in _listed("EVENT_SERVICE_TRUSTED_PROXIES")]
if HTTPS and not TRUSTED_PROXIES:
    raise ImproperlyConfigured(
        "EVENT_SERVICE_HTTPS is 1, but nobody is believed to speak https: the service itself does not. Name the proxy "
        "that does in EVENT_SERVICE_TRUSTED_PROXIES, such as 127.0.0.1/32."
    )
# Connections of one web process at once, but for websockets; and of these from one address, where 0 is no limit.
CONNECTIONS_PER_PROCESS = _whole("EVENT_SERVICE_CONNECTIONS_PER_PROCESS", "10000")
CONNECTIONS_PER_ADDRESS = _whole("EVENT_SERVICE_CONNECTIONS_PER_ADDRESS", "0")
# The editor at GraphQL's address, and with it a schema that is told without a key.
GRAPHIQL = _switch("EVENT_SERVICE_GRAPHIQL", not HTTPS)


def _kept(name: str, make: Callable[[], str]) -> str:
    """Return what the first start made and wrote to DATA_DIR, for every process to share."""
    kept = DATA_DIR / name
    if not kept.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        draft = DATA_DIR / f"{name}.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(make())
        try:
            kept.hardlink_to(draft)  # atomic, and of two first starts at once only one wins
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        return kept.read_text()
    except PermissionError:
        raise ImproperlyConfigured(
            f"{kept} belongs to the user {kept.owner()} and can't be read. Run as this user, or set DATA_DIR to a "
            "folder of your own."
        ) from None


# --- secrets of the installation
SECRET_KEY = os.environ.get("SECRET_KEY") or _kept("secret_key", get_random_secret_key)
# Fernet keys that seal signing secrets in the database: the first seals, all of them open.
SEALING_KEYS = _listed("EVENT_SERVICE_SEALING_KEYS") or [_kept("sealing_key", lambda: Fernet.generate_key().decode())]


def _door(name: str) -> tuple[str, int] | None:
    """Return HOST and PORT, or None where nothing is given. Without a token, only this machine may come in."""
    host, _, port = os.environ.get(name, "").rpartition(":")
    if not (host or port):
        return None
    if not (port.isascii() and port.isdigit() and host):
        raise ImproperlyConfigured(f"{name} is {os.environ[name]!r}; give HOST:PORT, such as 127.0.0.1:9464.")
    if host not in ("127.0.0.1", "localhost") and not METRICS_TOKEN:
        raise ImproperlyConfigured(f"{name} is open to other machines; set EVENT_SERVICE_METRICS_TOKEN, or 127.0.0.1.")
    return host, int(port)


# --- what is measured
# Who asks for /metrics shows this as a bearer; without one there is no such page.
METRICS_TOKEN = os.environ.get("EVENT_SERVICE_METRICS_TOKEN", "")
# Where OpenTelemetry's spans go, and as whose; its own packages read what else begins with OTEL_.
TRACING = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
if TRACING and find_spec("opentelemetry") is None:
    raise ImproperlyConfigured(
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: script/setup requirements-tracing.txt"
    )
TRACED_AS = os.environ.get("OTEL_SERVICE_NAME", "event-service")
# HOST:PORT of the first process's own door; the next process has the next port.
PROCESS_DOOR = _door("EVENT_SERVICE_PROCESS_DOOR")

# --- the database: DATABASE_URL, or a PostgreSQL that runs beside the service
_POOL = {"min_size": 1, "max_size": 16, "timeout": 10}  # connections of one process; seconds to wait for one
# When a host that is gone without a word is given up: by us, and by the server, which then frees what we had locked.
_SILENT_S, _PROBE_S, _PROBES = 10, 5, 3
_GIVEN_UP_MS = (_SILENT_S + _PROBE_S * _PROBES) * 1000
_database: dict[str, Any] = {"ENGINE": "event_service.postgres.embedded", "NAME": "event_service"}
if _database_url := os.environ.get("DATABASE_URL"):
    if not _database_url.startswith(("postgres://", "postgresql://")):  # not repeated: it may hold a password
        raise ImproperlyConfigured("DATABASE_URL is not postgres://USER:PASSWORD@HOST:PORT/NAME.")
    _database = {**dj_database_url.parse(_database_url, engine="event_service.postgres")}
DATABASES = {
    "default": {
        **_database,
        "CONN_MAX_AGE": 0,  # the pool keeps them
        "CONN_HEALTH_CHECKS": True,  # a connection that a restart of the database broke is replaced when taken
        "OPTIONS": {
            "connect_timeout": _SILENT_S,
            "keepalives_idle": _SILENT_S,
            "keepalives_interval": _PROBE_S,
            "keepalives_count": _PROBES,
            "tcp_user_timeout": _GIVEN_UP_MS,
            **_database.get("OPTIONS", {}),
            "pool": _POOL,
            "options": " ".join(
                [
                    *filter(None, [_database.get("OPTIONS", {}).get("options")]),
                    # Plans are kept, of foreign keys too: one made while a table was small must not scan it when big.
                    "-c enable_seqscan=off",
                    # Statements are many and short: none is worth being compiled.
                    "-c jit=off",
                    # Accepted means committed, whatever the database's own setting.
                    "-c synchronous_commit=on",
                    # A process that stands still within a transaction gives up what it has locked.
                    "-c idle_in_transaction_session_timeout=10s",
                    f"-c tcp_keepalives_idle={_SILENT_S} -c tcp_keepalives_interval={_PROBE_S}",
                    f"-c tcp_keepalives_count={_PROBES} -c tcp_user_timeout={_GIVEN_UP_MS}",
                ]
            ),
        },
    }
}

# --- the chaos suite's kill points: only beside a database of its own, in a DATA_DIR that it has prepared
FAILPOINTS = DATA_DIR / "failpoints" if _switch("EVENT_SERVICE_FAILPOINTS") else None
if FAILPOINTS and (_database_url or not FAILPOINTS.is_dir()):
    raise ImproperlyConfigured(
        f"EVENT_SERVICE_FAILPOINTS is for script/chaos: it kills processes, so it needs the folder {FAILPOINTS} and "
        "no DATABASE_URL. Remove the variable."
    )

# --- delivery
# Networks that webhooks may reach besides the public internet.
EGRESS_ALLOW = [ipaddress.ip_network(cidr) for cidr in _listed("EVENT_SERVICE_EGRESS_ALLOW")]
# Ports that webhooks may reach outside these networks, where every port is free.
EGRESS_PORTS = [int(port) for port in _listed("EVENT_SERVICE_EGRESS_PORTS", "443,80,8443,8080")]
# A proxy of the installation, http://[USER:PASSWORD@]HOST:PORT, that all webhooks go through with CONNECT.
EGRESS_PROXY = os.environ.get("EVENT_SERVICE_EGRESS_PROXY", "")
# PEM files: authorities to trust besides the public ones; a certificate and its key to show to receivers.
EGRESS_CA = os.environ.get("EVENT_SERVICE_EGRESS_CA", "")
EGRESS_CLIENT_CERT = os.environ.get("EVENT_SERVICE_EGRESS_CLIENT_CERT", "")
# --- websockets
# Endpoints that anybody may read who knows their id, as the published API has it.
OPEN_WEBSOCKETS = _switch("EVENT_SERVICE_OPEN_WEBSOCKETS")
# Web pages that may open them, such as https://app.example.com; none: those of our own address.
ORIGINS = _listed("EVENT_SERVICE_ORIGINS")
# Open at once.
SOCKETS_PER_KEY = _whole("EVENT_SERVICE_SOCKETS_PER_KEY", "2000")
SOCKETS_PER_WORKSPACE = _whole("EVENT_SERVICE_SOCKETS_PER_WORKSPACE", "5000")
SOCKETS_PER_PROCESS = _whole("EVENT_SERVICE_SOCKETS_PER_PROCESS", "5000")

# --- quotas of a workspace that has none of its own; 0 is no limit
QUOTAS = {
    "max_events_per_day": _whole("EVENT_SERVICE_EVENTS_PER_DAY", "0"),
    "max_endpoints": _whole("EVENT_SERVICE_ENDPOINTS_PER_WORKSPACE", "20000"),
    "max_event_filters": _whole("EVENT_SERVICE_FILTERS_PER_WORKSPACE", "20000"),
    "max_sockets": SOCKETS_PER_WORKSPACE,
}

# --- rate limits: units in any period, for all doors and processes together. See endpoints/rates.py.
RATE_PER_KEY = _rate("EVENT_SERVICE_RATE_PER_KEY", "1000000/60")
RATE_PER_WORKSPACE = _rate("EVENT_SERVICE_RATE_PER_WORKSPACE", "2000000/60")
RATE_PER_ADDRESS = _rate("EVENT_SERVICE_RATE_PER_ADDRESS", "2000000/60")

# --- commands for trying things: here, and not on the command line, which everybody on the machine can read
# The key of `listen`; the secret of `listen` and `receive`.
CLIENT_KEY = os.environ.get("EVENT_SERVICE_KEY", "")
CLIENT_SECRET = os.environ.get("EVENT_SERVICE_SECRET", "")

# --- the message bus of `consume`: nats:// or amqp://, with its password; of a cluster, several addresses
BUS_URLS = _listed("EVENT_SERVICE_BUS_URL")

# --- Django
INSTALLED_APPS = [
    "endpoints",  # before Django's admin, whose templates these two have their own versions of
    "routing",
    "event_service.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "django_filters",
    "graphene_django",
    "graphene_django_graphiql_static",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "endpoints.pages.Policies",
    "event_service.charged.Charged",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "event_service.language.Language",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "event_service.audited.OperatorsActs",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
# --- retention: days for which events, with all that became of them, and payloads and attempts are kept; None: for ever
KEEP_DAYS = _days("EVENT_SERVICE_KEEP_DAYS")
KEEP_PAYLOADS_DAYS = _days("EVENT_SERVICE_KEEP_PAYLOADS_DAYS")
KEEP_ATTEMPTS_DAYS = _days("EVENT_SERVICE_KEEP_ATTEMPTS_DAYS")
# --- signing in
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# After so many failures of a name, from an address or, in browsers that it has not signed in with before, from all, it
# is locked there for so long; the database counts, for all processes. By the address of the server, not of a header.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # who goes on trying does not keep it locked
AXES_LOCKOUT_PARAMETERS = "event_service.known_browsers.lockout_parameters"
AXES_CLIENT_IP_CALLABLE = "event_service.audited.address"
AXES_CLIENT_STR_CALLABLE = "event_service.logs.who_signs_in"
AXES_SENSITIVE_PARAMETERS = ["otp_token"]  # not kept, as passwords are not: a recovery code may still be good
AXES_RESET_ON_SUCCESS = AXES_DISABLE_ACCESS_LOG = True
AXES_LOCKOUT_TEMPLATE = "endpoints/locked.html"
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
# Nobody is in the admin without a second factor; manage.py two_factor gives one.
TWO_FACTOR = _switch("EVENT_SERVICE_TWO_FACTOR")
OTP_TOTP_ISSUER = "Event Service"
SESSION_COOKIE_AGE = 12 * 3600  # after which one signs in again
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# --- https
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_SECONDS = 365 * 86_400 if HTTPS else 0
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$", "^metrics$"]  # asked by what runs beside us
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # to have a whole domain preloaded is for its owner to say
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
ROOT_URLCONF = "event_service.urls"
ASGI_APPLICATION = "event_service.asgi.application"
GRAPHENE = {"SCHEMA": "event_service.schema.schema"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "event_service.formats"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LOCALE_PATHS = [Path(__file__).resolve().parent / "locale"]
LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE, LANGUAGE_COOKIE_SECURE = True, "Lax", HTTPS
LANGUAGE_COOKIE_AGE = 365 * 86_400
STATIC_URL = "/event-service/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: there is no collectstatic step to forget
# A line for people, or a JSON object a line.
LOG_FORMAT = os.environ.get("EVENT_SERVICE_LOG_FORMAT", "line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"EVENT_SERVICE_LOG_FORMAT is {LOG_FORMAT!r}; it is line or json.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "event_service.logs.Discreet",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "event_service.logs.Structured"},
    },
    "filters": {
        "refusals": {"()": "event_service.logs.Refusals"},
        "sign_ins": {"()": "event_service.logs.SignIns"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["refusals"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "axes.handlers.database": {"filters": ["sign_ins"]},
        "aiormq": {"level": "CRITICAL"},  # it says what it raises, too
    },
}
