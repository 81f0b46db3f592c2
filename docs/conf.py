"""The site of the documentation: script/docs. Its pages are those that GitHub shows, where they are."""

from event_service.settings import VERSION

project, author, release = "Event Service", "", VERSION
copyright = ""
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "README.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md"]
include_patterns += ["benchmarks/latest.md", "clients/*/README.md"]
exclude_patterns = [".*", "var", "tests", "routing", "endpoints", "event_service", "chaos", "fuzz"]
exclude_patterns += ["clients/*/node_modules"]
myst_heading_anchors = 4
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # GraphQL has numbers that Pygments does not know
highlight_language = "none"
html_theme = "furo"
html_title = f"Event Service {VERSION}"
html_show_sphinx = html_show_copyright = False
