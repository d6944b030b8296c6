"""Settings of the Superset that scripts/interop starts: its own folder, loopback only."""

import os

SECRET_KEY = os.environ["TURNMILL_SUPERSET_KEY"]
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(os.environ["SUPERSET_HOME"], "superset.db")
# The script uses the REST API with a token; there is no browser.
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
