"""What people type into the configuration, checked: each returns the value, or raises BadInput with what is right."""

from urllib.parse import urlsplit

from endpoints.errors import BadInput

NAME_LENGTH = 200
URL_LENGTH = 2000
METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")


def checked_name(name: str) -> str:
    if not name.strip():
        raise BadInput(f"name is empty; give 1 to {NAME_LENGTH} characters.", "name")
    if len(name) > NAME_LENGTH:
        raise BadInput(f"name has {len(name)} characters; at most {NAME_LENGTH} are kept.", "name")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in name):
        raise BadInput("name holds a NUL character or half a surrogate pair, which can't be stored.", "name")
    return name


def checked_url(url: str) -> str:
    """Return `url` if it is a plain http(s) URL with a host. What it may reach is judged when it is dialled."""
    problem = _url_problem(url)
    if problem:
        raise BadInput(f"url {url[:200]!r} {problem}.", "url")
    return url


def _url_problem(url: str) -> str | None:
    if len(url) > URL_LENGTH:
        return f"has {len(url)} characters; at most {URL_LENGTH} are kept"
    if any(character <= " " or character in "\x7f\\" for character in url):
        return "holds a space, a control character or a backslash; write them percent-encoded"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "is not http:// or https://"
    if not parts.hostname:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; send credentials in a header"
    if port == 0:
        return "has port 0; use 1 to 65535"
    return None


def checked_method(method: str) -> str:
    if method not in METHODS:
        raise BadInput(f"method {method!r} is unknown; use one of {', '.join(METHODS)}.", "method")
    return method
