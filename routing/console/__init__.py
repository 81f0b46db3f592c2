"""The operators' console: what its pages show, for Django's admin to show it."""
