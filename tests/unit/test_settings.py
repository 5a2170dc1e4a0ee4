import pytest

from event_aggregator.settings import PerName, SettingError, Settings

NEEDED = {"TABLE_NAME": "windows", "QUEUE_URL": "https://queue"}


def test_only_table_and_queue_are_needed_and_the_rest_has_defaults() -> None:
    settings = Settings.read(NEEDED)
    assert settings == Settings(
        table_name="windows",
        queue_url="https://queue",
        refresh_delay_seconds=PerName(30),
        refresh_quiet_seconds=PerName(0),
        refresh_max_delay_seconds=PerName(900),
        in_progress_timeout_seconds=3600,
        min_refresh_interval_seconds=PerName(60),
        refreshes_per_gateway=2,
        refresh_scope=PerName("folders"),
        ignore_keys=(),
        gateway_session_name="StorageGateway",
        refresh_other_gateways="auto",
        gateway_regions=(),
        gateway_role_arns=(),
        gateway_external_ids={},
        visible_events="on",
        log_level="INFO",
    )


def test_nobody_is_a_gateway_if_the_sessions_name_is_empty() -> None:
    assert Settings.read(NEEDED | {"GATEWAY_SESSION_NAME": ""}).gateway_session_name == ""


def test_patterns_of_keys_are_read_with_commas_between_them() -> None:
    read = Settings.read(NEEDED | {"IGNORE_KEYS": "*.tmp,*/_temporary/*,~$ *"})
    assert read.ignore_keys == ("*.tmp", "*/_temporary/*", "~$ *")


@pytest.mark.parametrize("value", ["*.tmp, *.bak", "*.tmp ", "*", "*.tmp,*/*", "/**", "/"])
def test_a_pattern_that_matches_every_key_or_by_a_blank_none_is_named(value: str) -> None:
    with pytest.raises(SettingError, match=r"IGNORE_KEYS holds .*: set it to patterns that match some keys, such"):
        Settings.read(NEEDED | {"IGNORE_KEYS": value})


def test_regions_are_read_with_commas_between_them_and_each_once() -> None:
    environment = NEEDED | {"GATEWAY_REGIONS": "us-east-1,us-gov-west-1,us-east-1,eusc-de-east-1"}
    assert Settings.read(environment).gateway_regions == ("us-east-1", "us-gov-west-1", "eusc-de-east-1")


@pytest.mark.parametrize("value", ["us-east-1, eu-west-1", "us-east-1;eu-west-1", "US-EAST-1", "share-1/x"])
def test_a_bad_region_is_named(value: str) -> None:
    with pytest.raises(
        SettingError, match=r"GATEWAY_REGIONS holds .*: set it to regions, such as eu-west-1, separated by commas"
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


def test_external_ids_are_read_by_account_with_commas_between_them() -> None:
    read = Settings.read(NEEDED | {"GATEWAY_EXTERNAL_IDS": "123456789012=a=b/c:d,210987654321=@e"})
    assert read.gateway_external_ids == {"123456789012": "a=b/c:d", "210987654321": "@e"}


@pytest.mark.parametrize("value", ["secret", "123456789012=", "123456789012=x", "123456789012=a b", "12=secret"])
def test_a_bad_external_id_is_named(value: str) -> None:
    with pytest.raises(SettingError, match=r"GATEWAY_EXTERNAL_IDS holds .*: set it to ACCOUNT=ID for each account"):
        Settings.read(NEEDED | {"GATEWAY_EXTERNAL_IDS": value})


def test_two_external_ids_of_one_account_are_refused() -> None:
    with pytest.raises(SettingError, match="two external IDs for one account"):
        Settings.read(NEEDED | {"GATEWAY_EXTERNAL_IDS": "123456789012=ab,123456789012=cd"})


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
    assert message.startswith(
        f"REFRESH_DELAY_SECONDS holds {value!r}: set it to a whole number of seconds from 0 to 43200"
    )


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


# A default and exceptions


def read(**given: str) -> Settings:
    return Settings.read(NEEDED | given)


def refusal(**given: str) -> str:
    with pytest.raises(SettingError) as raised:
        read(**given)
    return str(raised.value)


def test_a_bucket_has_its_own_pace_and_any_other_the_default() -> None:
    settings = read(
        REFRESH_DELAY_SECONDS="30,renders=600",
        REFRESH_QUIET_SECONDS="0,in.box-1=20",
        REFRESH_MAX_DELAY_SECONDS="900,in.box-1=60",
        REFRESH_SCOPE="folders,renders=share",
    )
    assert [settings.refresh_delay_seconds.of(bucket) for bucket in ("renders", "in.box-1", "other")] == [600, 30, 30]
    assert [settings.refresh_quiet_seconds.of(bucket) for bucket in ("renders", "in.box-1", "other")] == [0, 20, 0]
    assert [settings.refresh_max_delay_seconds.of(bucket) for bucket in ("in.box-1", "other")] == [60, 900]
    assert [settings.refresh_scope.of(bucket) for bucket in ("renders", "other")] == ["share", "folders"]
    assert [settings.longest_delay(bucket) for bucket in ("renders", "in.box-1", "other")] == [600, 60, 30]


def test_a_file_share_has_its_own_interval_and_any_other_the_default() -> None:
    seconds = read(MIN_REFRESH_INTERVAL_SECONDS="60,share-1234ABCD=3600").min_refresh_interval_seconds
    assert (seconds.of("share-1234ABCD"), seconds.of("share-1")) == (3600, 60)
    assert seconds.values() == (60, 3600)


def test_every_bad_part_is_named_with_what_to_write_instead() -> None:
    message = refusal(REFRESH_DELAY_SECONDS="soon,renders=600,a=5,other-bucket=43201,renders=5,,90,inbox=,third =5")
    assert message == (
        "REFRESH_DELAY_SECONDS holds 'soon', 'a=5', 'other-bucket=43201', 'renders=5', '', '90', 'inbox=', 'third =5':"
        " set it to a whole number of seconds from 0 to 43200, followed by ,my-bucket=VALUE once for each bucket that"
        " differs."
    )


def test_exceptions_without_a_default_are_refused() -> None:
    message = refusal(REFRESH_DELAY_SECONDS="renders=600")
    assert message.startswith("REFRESH_DELAY_SECONDS holds 'renders=600': set it to a whole number")


def test_an_interval_is_a_file_shares_and_not_a_buckets() -> None:
    message = refusal(MIN_REFRESH_INTERVAL_SECONDS="60,my-bucket=90,share-1=0")
    assert "MIN_REFRESH_INTERVAL_SECONDS holds 'my-bucket=90', 'share-1=0': " in message
    assert "a whole number of seconds from 1 to 3600" in message
    assert ",share-1234ABCD=VALUE once for each file share that differs" in message


def test_a_bad_scope_names_the_choices() -> None:
    assert "REFRESH_SCOPE holds 'renders=all': set it to one of folders, share" in refusal(
        REFRESH_SCOPE="folders,renders=all"
    )


def test_a_quiet_time_above_the_buckets_own_maximum_is_refused_for_each_such_bucket() -> None:
    message = refusal(REFRESH_QUIET_SECONDS="10,renders=901", REFRESH_MAX_DELAY_SECONDS="900,inbox=9,other-bucket=10")
    assert "Bucket renders: REFRESH_QUIET_SECONDS is 901 and REFRESH_MAX_DELAY_SECONDS is 900, " in message
    assert "Bucket inbox: REFRESH_QUIET_SECONDS is 10 and REFRESH_MAX_DELAY_SECONDS is 9, " in message
    assert "other-bucket" not in message
    assert read(REFRESH_QUIET_SECONDS="0,renders=901", REFRESH_MAX_DELAY_SECONDS="900,renders=901")


def test_a_buckets_own_delay_is_refused_where_a_quiet_time_counts_instead() -> None:
    message = refusal(REFRESH_DELAY_SECONDS="30,renders=600", REFRESH_QUIET_SECONDS="60")
    assert message == (
        "Bucket renders: REFRESH_DELAY_SECONDS is 600, but REFRESH_QUIET_SECONDS is 60, which counts instead."
        " Remove the delay, or set the quiet time to 0 for this bucket."
    )
    assert read(REFRESH_DELAY_SECONDS="30,renders=600", REFRESH_QUIET_SECONDS="60,renders=0")


def test_a_buckets_own_maximum_is_refused_where_no_quiet_time_makes_it_count() -> None:
    message = refusal(REFRESH_MAX_DELAY_SECONDS="900,renders=600")
    assert message == (
        "Bucket renders: REFRESH_MAX_DELAY_SECONDS is 600, but REFRESH_QUIET_SECONDS is 0, and the maximum counts only"
        " with a quiet time. Remove the maximum, or set a quiet time for this bucket."
    )


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
        ({"REFRESH_DELAY_SECONDS": "30,my-bucket=600"}, 600),
        ({"MIN_REFRESH_INTERVAL_SECONDS": "60,share-1=3600"}, 3600),
        ({"REFRESH_DELAY_SECONDS": "600", "REFRESH_QUIET_SECONDS": "10", "REFRESH_MAX_DELAY_SECONDS": "100"}, 100),
    ],
)
def test_a_change_is_late_by_what_its_window_may_take_at_most(given: dict[str, str], longest: int) -> None:
    settings = Settings.read({"TABLE_NAME": "t", "QUEUE_URL": "q", **given})

    assert settings.lateness("my-bucket", "share-1", 3 * longest) == 3
    assert settings.lateness("my-bucket", "share-1", 3 * 7200, least=7200) == 3
