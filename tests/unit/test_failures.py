"""What a failed call means, by the codes and the words that AWS documents, and those that nobody does."""

from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from event_aggregator.failures import (
    Failure,
    UnreadableAnswerError,
    all_messages,
    error_text,
    may_have_taken_effect,
    meaning,
)

GATEWAYS = "InvalidGatewayRequestException"


def refusal(code: str, message: str = "no", inside: str = "", status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer | ({"error": {"errorCode": inside}} if inside else {}), "RefreshCache")


PASSES, BUSY, DENIED = Failure.PASSES, Failure.BUSY, Failure.DENIED
REQUEST, GONE, UNCLEAR = Failure.REQUEST, Failure.GONE, Failure.UNCLEAR


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (refusal("InternalServerError"), PASSES),
        (refusal("InternalServerError", inside="GatewayInternalError"), PASSES),
        (refusal("InternalServerError", status=500), PASSES),
        (refusal("InternalFailure"), PASSES),
        (refusal("ServiceUnavailableError"), PASSES),
        (refusal("ThrottledException"), PASSES),
        (refusal("ThrottlingException"), PASSES),
        (refusal("SlowDown"), PASSES),
        (refusal("NobodyKnows", status=503), PASSES),
        (refusal("AccessDenied"), DENIED),
        (refusal("AccessDeniedException"), DENIED),
        (refusal("OptInRequired"), DENIED),
        (refusal("InvalidSignatureException"), DENIED),
        (refusal("ValidationException"), REQUEST),
        (refusal("NobodyKnows"), UNCLEAR),
        (refusal(GATEWAYS, "Too many requests have been sent to server."), BUSY),
        (refusal(GATEWAYS, "Too many requests.", inside="InvalidParameters"), BUSY),
        (refusal(GATEWAYS, inside="GatewayProxyNetworkConnectionBusy"), BUSY),
        (refusal(GATEWAYS, inside="GatewayNotConnected"), PASSES),
        (refusal(GATEWAYS, "The specified gateway is not connected."), PASSES),
        (refusal(GATEWAYS, inside="OutdatedGateway"), PASSES),
        (refusal(GATEWAYS, "Cannot access arn:aws:storagegateway:us-east-1:1:share/s"), DENIED),
        (refusal(GATEWAYS, inside="FileShareNotFound"), GONE),
        (refusal(GATEWAYS, "The specified file share was not found."), GONE),
        (refusal(GATEWAYS, inside="GatewayNotFound"), GONE),
        (refusal(GATEWAYS, inside="InvalidParameters"), REQUEST),
        (refusal(GATEWAYS, "The folder is not known."), REQUEST),
        (refusal(GATEWAYS, inside="GatewayInternalError"), UNCLEAR),
        (refusal(GATEWAYS, "Nobody has ever read this."), UNCLEAR),
        (EndpointConnectionError(endpoint_url="x"), PASSES),
        (ReadTimeoutError(endpoint_url="x"), PASSES),
        (UnreadableAnswerError("nothing"), PASSES),
        (ParamValidationError(report="x"), REQUEST),
    ],
)
def test_what_a_failure_means(error: Exception, means: Failure) -> None:
    assert meaning(error) is means


# What the codes mean that may be inside a refusal of Storage Gateway's; the others are UNCLEAR. They are about volumes,
# tapes, disks and activation, which a refresh has nothing to do with, or may stand for a folder that is not cached.
INSIDE = {
    PASSES: [
        "GatewayNotConnected",
        "InternalError",
        "NetworkConfigurationChanged",
        "OperationAborted",
        "OutdatedGateway",
        "RequestTimeout",
        "ServiceUnavailable",
    ],
    BUSY: ["GatewayProxyNetworkConnectionBusy"],
    DENIED: ["AuthenticationFailure", "Blocked", "IAMNotSupported", "UnauthorizedOperation"],
    REQUEST: ["InvalidParameters", "NotImplemented", "NotSupported", "ParametersNotImplemented"],
    GONE: ["GatewayNotFound"],
}


def codes_inside() -> list[str]:
    model = botocore.session.get_session().get_service_model("storagegateway")
    shape: Any = model.shape_for("ErrorCode")
    return [str(code) for code in shape.enum]


@pytest.mark.parametrize("inside", codes_inside())
def test_every_code_inside_that_storage_gateway_models_has_a_meaning(inside: str) -> None:
    expected = next((failure for failure, codes in INSIDE.items() if inside in codes), UNCLEAR)
    assert meaning(refusal(GATEWAYS, inside=inside)) is expected
    unknown_outcome = inside in ("InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable")
    assert may_have_taken_effect(refusal(GATEWAYS, inside=inside)) is unknown_outcome


@pytest.mark.parametrize("inside", codes_inside())
def test_a_gateway_that_says_that_it_is_busy_is_busy_whatever_the_code_inside(inside: str) -> None:
    assert meaning(refusal(GATEWAYS, "There are too many requests for this gateway.", inside=inside)) is BUSY


def test_every_error_that_storage_gateway_models_is_known_as_such() -> None:
    model = botocore.session.get_session().get_service_model("storagegateway")
    errors = [name for name in model.shape_names if model.shape_for(name).metadata.get("exception")]
    passing = [name for name in errors if meaning(refusal(name)) is PASSES]
    assert sorted(errors) == sorted([*passing, GATEWAYS]) == sorted({*errors})


THROTTLING = [
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
]


@pytest.mark.parametrize("code", THROTTLING)
@pytest.mark.parametrize("status", [400, 429, 503])
def test_what_is_throttled_passes_and_has_not_begun(code: str, status: int) -> None:
    assert meaning(refusal(code, status=status)) is PASSES
    assert may_have_taken_effect(refusal(code, status=status)) is False


@pytest.mark.parametrize(
    "code",
    [
        "AuthFailure",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    ],
)
def test_what_is_signed_wrongly_or_by_nobody_who_may_needs_a_human(code: str) -> None:
    assert meaning(refusal(code, status=403)) is DENIED
    assert may_have_taken_effect(refusal(code, status=403)) is False


@pytest.mark.parametrize("code", ["InvalidParameterValue", "SerializationException", "ValidationError"])
def test_what_cannot_be_read_is_about_the_request(code: str) -> None:
    assert meaning(refusal(code)) is REQUEST


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("code", [GATEWAYS, "InternalServerError", "Unknown", str(504)])
def test_an_error_of_the_server_passes_whatever_its_code(code: str, status: int) -> None:
    assert meaning(refusal(code, status=status)) is PASSES


@pytest.mark.parametrize("expired", ["ExpiredToken", "ExpiredTokenException", "RequestTimeout", "ServiceUnavailable"])
def test_a_token_that_has_expired_and_an_answer_that_came_too_late_pass(expired: str) -> None:
    assert meaning(refusal(expired)) is PASSES


def test_what_was_said_is_told_without_the_sdks_words_and_not_too_long_for_the_table() -> None:
    assert error_text(refusal(GATEWAYS, "Too many requests.")) == "Too many requests."
    assert error_text(EndpointConnectionError(endpoint_url="x")) == 'Could not connect to the endpoint URL: "x"'
    assert len(error_text(refusal(GATEWAYS, "x" * 5_000))) == 600


def test_several_failures_are_told_in_one_line_each_with_what_it_befell() -> None:
    failures = [EndpointConnectionError(endpoint_url="x"), UnreadableAnswerError("nothing")]
    failures[0].add_note("Bucket a")
    assert all_messages(failures) == 'Bucket a: Could not connect to the endpoint URL: "x"; nothing'


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (refusal("InternalServerError"), True),
        (refusal("ServiceUnavailableError"), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (UnreadableAnswerError("nothing"), True),
        (refusal("ThrottlingException"), False),
        (refusal(GATEWAYS, inside="GatewayNotConnected"), False),
        (refusal("AccessDeniedException"), False),
        (EndpointConnectionError(endpoint_url="x"), False),
        (ConnectTimeoutError(endpoint_url="x"), False),
        (NoCredentialsError(), False),
        (ParamValidationError(report="x"), False),
        (ConnectionClosedError(endpoint_url="x"), True),
        (refusal("InternalFailure"), True),
        (refusal("RequestTimeout"), True),
        (refusal("ValidationException"), False),
        (refusal(GATEWAYS, "Nobody has ever read this."), False),
        (refusal("NobodyKnows", status=504), True),
    ],
)
def test_which_failures_may_have_taken_effect(error: Exception, may: bool) -> None:
    assert may_have_taken_effect(error) == may
