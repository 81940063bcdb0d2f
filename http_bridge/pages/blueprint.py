"""The pages as a part of the application."""

from flask import Blueprint

from http_bridge.pages.health import add_health_view
from http_bridge.pages.keys import add_key_views
from http_bridge.pages.login import add_login_views
from http_bridge.pages.safety import make_safe
from http_bridge.pages.sessions import keep_sessions
from http_bridge.pages.start import Start
from http_bridge.pages.templating import add_to_templates
from http_bridge.pages.views import add_traffic_views
from server.query.relay.client import QueryRelay
from server.settings import Settings


def create_pages(settings: Settings, relay: QueryRelay) -> Blueprint:
    """Return the pages of a server with these settings, which ask by `relay`."""
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    keep_sessions(pages, settings.data_dir)
    make_safe(pages)
    add_to_templates(pages)
    add_login_views(pages, relay)
    add_traffic_views(pages, relay, Start.of(settings))
    add_key_views(pages, relay)
    add_health_view(pages, relay, settings)
    return pages
