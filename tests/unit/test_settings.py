import pytest

from event_aggregator.settings import SettingError, Settings

NEEDED = {"TABLE_NAME": "windows", "QUEUE_URL": "https://queue"}


def test_only_table_and_queue_are_needed_and_the_rest_has_defaults() -> None:
    settings = Settings.read(NEEDED)
    assert settings == Settings(
        table_name="windows",
        queue_url="https://queue",
        refresh_delay_seconds=30,
        refresh_quiet_seconds=0,
        refresh_max_delay_seconds=900,
        in_progress_timeout_seconds=3600,
        min_refresh_interval_seconds=60,
        refreshes_per_gateway=2,
        refresh_scope="folders",
        ignore_principals_containing="StorageGateway",
        refresh_other_gateways="auto",
        gateway_regions=(),
        gateway_role_arns=(),
        log_level="INFO",
    )


def test_an_empty_ignored_principal_ignores_nobody() -> None:
    assert Settings.read(NEEDED | {"IGNORE_PRINCIPALS_CONTAINING": ""}).ignore_principals_containing == ""


def test_regions_are_read_with_commas_between_them_and_each_once() -> None:
    environment = NEEDED | {"GATEWAY_REGIONS": "us-east-1,us-gov-west-1,us-east-1"}
    assert Settings.read(environment).gateway_regions == ("us-east-1", "us-gov-west-1")


@pytest.mark.parametrize("value", ["us-east-1, eu-west-1", "us-east-1;eu-west-1", "US-EAST-1", "share-1/x"])
def test_a_bad_region_is_named(value: str) -> None:
    with pytest.raises(
        SettingError, match=r"GATEWAY_REGIONS holds .*: set it to regions, such as eu-west-1, with commas"
    ):
        Settings.read(NEEDED | {"GATEWAY_REGIONS": value})


ROLE = "arn:aws-us-gov:iam::123456789012:role/gateways/refresh+1"


def test_roles_are_read_with_commas_between_them() -> None:
    other = ROLE.replace("123456789012", "210987654321")
    assert Settings.read(NEEDED | {"GATEWAY_ROLE_ARNS": f"{ROLE},{other}"}).gateway_role_arns == (ROLE, other)


@pytest.mark.parametrize("value", [f"{ROLE}, {ROLE}", "refresh", ROLE.replace("role/", "user/")])
def test_a_bad_role_is_named(value: str) -> None:
    with pytest.raises(SettingError, match="GATEWAY_ROLE_ARNS holds "):
        Settings.read(NEEDED | {"GATEWAY_ROLE_ARNS": value})


def test_two_roles_of_one_account_are_refused_since_each_share_would_be_asked_twice() -> None:
    with pytest.raises(SettingError, match="two roles of one account"):
        Settings.read(NEEDED | {"GATEWAY_ROLE_ARNS": f"{ROLE},{ROLE}2"})


def test_a_role_of_the_functions_own_account_is_left_out_since_its_shares_are_found_without_one() -> None:
    other = ROLE.replace("123456789012", "210987654321")
    environment = NEEDED | {"QUEUE_URL": "https://sqs.us-gov-west-1.amazonaws.com/123456789012/Queue"}
    assert Settings.read(environment | {"GATEWAY_ROLE_ARNS": f"{ROLE},{other}"}).gateway_role_arns == (other,)


@pytest.mark.parametrize("name", ["TABLE_NAME", "QUEUE_URL"])
def test_a_missing_name_is_named(name: str) -> None:
    environment = {other: value for other, value in NEEDED.items() if other != name}
    with pytest.raises(SettingError, match=f"{name} is not set"):
        Settings.read(environment)


@pytest.mark.parametrize("value", ["-1", "43201", "30s", "", "1.5", "٣"])
def test_a_bad_delay_names_the_variable_the_value_and_the_range(value: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.read(NEEDED | {"REFRESH_DELAY_SECONDS": value})
    message = str(raised.value)
    assert message == f"REFRESH_DELAY_SECONDS is {value!r}: set it to a whole number of seconds from 0 to 43200."


@pytest.mark.parametrize("value", ["0", "3601"])
def test_a_bad_interval_names_its_range(value: str) -> None:
    with pytest.raises(SettingError, match=r"MIN_REFRESH_INTERVAL_SECONDS .* from 1 to 3600"):
        Settings.read(NEEDED | {"MIN_REFRESH_INTERVAL_SECONDS": value})


@pytest.mark.parametrize("value", ["0", "51"])
def test_a_bad_number_of_refreshes_names_its_range(value: str) -> None:
    with pytest.raises(SettingError, match=r"REFRESHES_PER_GATEWAY .* a whole number of refreshes from 1 to 50"):
        Settings.read(NEEDED | {"REFRESHES_PER_GATEWAY": value})


def test_a_quiet_time_above_the_maximum_is_refused_with_what_to_change() -> None:
    with pytest.raises(SettingError) as raised:
        Settings.read(NEEDED | {"REFRESH_QUIET_SECONDS": "901"})
    message = str(raised.value)
    assert "REFRESH_QUIET_SECONDS is 901 and REFRESH_MAX_DELAY_SECONDS is 900" in message
    assert "Lower the quiet time or raise the maximum." in message


def test_a_bad_log_level_names_the_choices() -> None:
    with pytest.raises(
        SettingError, match="LOG_LEVEL is 'LOUD': set it to one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
    ):
        Settings.read(NEEDED | {"LOG_LEVEL": "LOUD"})


@pytest.mark.parametrize(
    ("given", "longest"),
    [
        ({}, 60),  # the interval
        ({"REFRESH_DELAY_SECONDS": "600"}, 600),
        ({"REFRESH_QUIET_SECONDS": "10"}, 900),
        ({"REFRESH_DELAY_SECONDS": "600", "REFRESH_QUIET_SECONDS": "10", "REFRESH_MAX_DELAY_SECONDS": "100"}, 100),
    ],
)
def test_a_change_is_late_by_what_its_window_may_take_at_most(given: dict[str, str], longest: int) -> None:
    settings = Settings.read({"TABLE_NAME": "t", "QUEUE_URL": "q", **given})

    assert settings.lateness("my-bucket", 3 * longest) == 3
    assert settings.lateness("my-bucket", 3600, least=1200) == 3
