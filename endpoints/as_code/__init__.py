"""Configuration as code: a workspace's endpoints, filters, links and event types as a YAML file, and back.

A document of each object, with defaults left out, is what is exported, what a file is read into and what is compared.
"""

from endpoints.as_code.applying import apply
from endpoints.as_code.documents import stored
from endpoints.as_code.planning import Plan, plan
from endpoints.as_code.reading import Mistake, Mistakes, read
from endpoints.as_code.writing import exported, text_of

__all__ = ["Mistake", "Mistakes", "Plan", "apply", "exported", "plan", "read", "stored", "text_of"]
