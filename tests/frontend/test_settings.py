"""Settings: defaults, refusals that say what is wrong, and no secret in any message."""

import pytest
from pydantic import ValidationError

from frontend.settings import Settings, unknown_names
from tests.frontend.conftest import SECRET, MakeSettings


def test_defaults_listen_on_loopback_and_keep_conversations_in_a_file() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.backend_url == "http://127.0.0.1:8000"
    assert str(settings.sqlite_path) == "data/frontend.sqlite3"


def test_environment_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTEND_PORT", "9000")
    monkeypatch.setenv("FRONTEND_SUGGESTIONS", '["One?", "Two?"]')
    monkeypatch.setenv("FRONTEND_BACKEND_URL", "http://backend:8000/")
    settings = Settings()
    assert settings.port == 9000
    assert settings.suggestions == ("One?", "Two?")
    assert settings.backend_url == "http://backend:8000"


def test_every_field_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_are_frozen(make_settings: MakeSettings) -> None:
    with pytest.raises(ValidationError):
        make_settings().port = 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("port", 70_000, "less than or equal to 65535"),
        ("backend_url", "backend:8000", "URL"),
        ("database_url", "sqlite://", "must name a file"),
        ("database_url", "sqlite:///:memory:", "must name a file"),
        ("database_url", "mysql://host/name", "must name sqlite or postgresql"),
        ("database_url", "nonsense", "must be a database URL"),
        ("max_turns_sent", 10, "must be odd"),
        ("read_timeout_seconds", 0, "greater than 0"),
        ("backend_key", "two words", "must be printable ASCII characters without spaces"),
        ("backend_key", "", "must be printable ASCII characters without spaces"),
        ("secret_key", "short", "too short: 5 characters"),
        ("secret_key", "change-me-" * 5, "looks like a placeholder"),
        ("secret_key", "x" * 40, "looks like a placeholder"),
        ("log_level", "loud", "match"),
    ],
)
def test_wrong_values_are_refused_with_a_reason(
    make_settings: MakeSettings, field: str, value: object, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as refusal:
        make_settings(**{field: value})
    assert refusal.value.errors()[0]["loc"] == (field,)


def test_a_database_server_needs_a_given_secret(make_settings: MakeSettings) -> None:
    with pytest.raises(ValidationError, match="FRONTEND_SECRET_KEY is required"):
        make_settings(database_url="postgresql+psycopg://host/name", secret_key=None)


def test_no_secret_in_messages_or_representations(make_settings: MakeSettings) -> None:
    with pytest.raises(ValidationError) as refusal:
        make_settings(secret_key="tiny-but-private", port=-1)
    assert "tiny-but-private" not in str(refusal.value)
    assert SECRET not in repr(make_settings())


def test_misspelt_names_are_found() -> None:
    assert unknown_names(["FRONTEND_PORT", "FRONTEND_PROT", "PATH"]) == ["FRONTEND_PROT"]
