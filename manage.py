#!/usr/bin/env python
from event_service.__main__ import main

if __name__ == "__main__":
    main()
