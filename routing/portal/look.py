"""How a workspace's portal looks: its name, its logo, and a colour that can be read on what it stands on."""

from typing import NamedTuple

from django.http import Http404, HttpRequest, HttpResponse

from endpoints.models import PortalTheme, Workspace
from routing.portal.door import Visit, page

CONTRAST = 4.5  # of text at least: WCAG 2.2, 1.4.3
# The surfaces of portal.css, the darkest of the light ones and the lightest of the dark ones.
LIGHT, DARK = "#eef0f4", "#262c38"
_STEPS = 20  # from a colour to black or white
# It is an image and nothing else, whatever else its bytes may be taken for.
LOGO_POLICY = "default-src 'none'; sandbox"

Color = tuple[float, float, float]


class Look(NamedTuple):
    name: str
    color: str
    has_logo: bool
    version: int  # of what is served apart from the pages

    @classmethod
    def of(cls, workspace: Workspace) -> "Look":
        theme = getattr(workspace, "portal_theme", None)
        if theme is None:
            return cls(workspace.name, PortalTheme.COLOR, False, 0)
        return cls(theme.name, theme.color, bool(theme.logo_type), int(theme.last_modified.timestamp() * 1000))


def stylesheet(color: str) -> str:
    """Return the colour as the stylesheet uses it: darker on light, and lighter on dark, as far as it has to be."""
    light, dark = legible(color, LIGHT), legible(color, DARK)
    return (
        f":root {{ --brand: light-dark({light}, {dark}); "
        f"--on-brand: light-dark({_text_on(light)}, {_text_on(dark)}); }}\n"
    )


def legible(color: str, surface: str) -> str:
    """Return `color`, or the nearest one towards black or white that is read on `surface`."""
    goal = "#000000" if contrast("#000000", surface) > contrast("#ffffff", surface) else "#ffffff"
    mixed = (_mix(color, goal, step / _STEPS) for step in range(_STEPS + 1))
    return next(each for each in mixed if contrast(each, surface) >= CONTRAST)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _text_on(color: str) -> str:
    return max(("#ffffff", "#000000"), key=lambda text: contrast(text, color))


def _parts(color: str) -> Color:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _mix(color: str, goal: str, part: float) -> str:
    mixed = (a + (b - a) * part for a, b in zip(_parts(color), _parts(goal), strict=True))
    return "#" + "".join(f"{round(value * 255):02x}" for value in mixed)


def _luminance(color: str) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in _parts(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@page("GET", "HEAD", cost=-1)  # free: the page that says that there was too much has its colour too
def theme(request: HttpRequest, visit: Visit) -> HttpResponse:
    return HttpResponse(stylesheet(Look.of(visit.link.workspace).color), "text/css; charset=utf-8")


@page("GET", "HEAD")
def logo(request: HttpRequest, visit: Visit) -> HttpResponse:
    return logo_of(visit.link.workspace)


def logo_of(workspace: Workspace) -> HttpResponse:
    found = PortalTheme.objects.filter(workspace=workspace).exclude(logo_type="").first()
    if found is None:
        raise Http404
    headers = {"Content-Security-Policy": LOGO_POLICY, "X-Content-Type-Options": "nosniff"}
    return HttpResponse(bytes(found.logo), found.logo_type, headers=headers)
