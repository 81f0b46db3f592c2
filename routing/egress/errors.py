"""How an exchange comes to nothing: in full for the operator, without a map of the network for the tenant."""

# A tenant who could tell these apart could find out what stands behind the firewall, one URL at a time.
_ALIKE = frozenset({"ADDRESS_REFUSED", "PORT_REFUSED", "DNS_FAILED", "CONNECT_FAILED", "PROXY_FAILED"})
_UNREACHABLE = (
    "UNREACHABLE",
    "The receiver can't be reached: something must listen there, its name must resolve, and its address and port must "
    "be ones that webhooks may reach.",
)


class EgressError(Exception):
    """An exchange that came to nothing. `code` is its class of failure."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    @property
    def cause(self) -> str:
        """What the tenant is not told, for the operator; "" where the tenant is told all."""
        return f"{self.code}: {self.detail}" if self.code in _ALIKE else ""

    @property
    def public(self) -> tuple[str, str]:
        """The code and text that the tenant may see."""
        return _UNREACHABLE if self.code in _ALIKE else (self.code, self.detail)
