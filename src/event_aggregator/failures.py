"""What the error of an AWS call means, and so what to do next.

Only this module knows AWS's error codes. Storage Gateway's errors contain a second code (user guide,
APIOperationErrorCodes). Most errors by which a gateway refuses a refresh are undocumented: an unknown one is UNCLEAR,
and never widens a refresh at once.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
)


class UnreadableAnswerError(Exception):
    """AWS's answer reports success, but lacks a required field: whether the call succeeded is unknown."""


# What a failed call raises: AWS returned an error, the call had no answer, or the answer cannot be read.
AWS_ERRORS = (ClientError, BotoCoreError, UnreadableAnswerError)


class Failure(Enum):
    """What a failure means."""

    PASSES = auto()  # a passing fault of AWS, the network or the gateway: try again
    BUSY = auto()  # the gateway runs as many refreshes as it can
    DENIED = auto()  # a human must change a permission, a role, or a region that is not enabled: try again, slowly
    REQUEST = auto()  # about a folder or another parameter of the request
    GONE = auto()  # the file share or its gateway does not exist
    UNCLEAR = auto()  # an undocumented error


# The error codes of an answer. A throttled call had no effect; a call that failed with another passing error may have.
_THROTTLED = frozenset(
    {
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_PASSES = _THROTTLED | {
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableError",
    "ServiceUnavailableException",
}
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
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
    }
)
_REQUEST = frozenset({"InvalidParameterValue", "SerializationException", "ValidationError", "ValidationException"})

# The second codes, inside an InvalidGatewayRequestException (API reference, StorageGatewayError, errorCode). Those that
# are missing here are about volumes, tapes and disks, except GatewayInternalError: it may mean a folder that is not
# cached.
_SECOND_CODES = {
    "AuthenticationFailure": Failure.DENIED,
    "Blocked": Failure.DENIED,
    "FileShareNotFound": Failure.GONE,
    "GatewayNotConnected": Failure.PASSES,
    "GatewayNotFound": Failure.GONE,
    "GatewayProxyNetworkConnectionBusy": Failure.BUSY,
    "IAMNotSupported": Failure.DENIED,
    "InternalError": Failure.PASSES,
    "InvalidParameters": Failure.REQUEST,
    "NetworkConfigurationChanged": Failure.PASSES,
    "NotImplemented": Failure.REQUEST,
    "NotSupported": Failure.REQUEST,
    "OperationAborted": Failure.PASSES,
    "OutdatedGateway": Failure.PASSES,
    "ParametersNotImplemented": Failure.REQUEST,
    "RequestTimeout": Failure.PASSES,
    "ServiceUnavailable": Failure.PASSES,
    "UnauthorizedOperation": Failure.DENIED,
}

# Texts of an InvalidGatewayRequestException, in lower case. The text for busy counts before the second code. The others
# count only if that code is unknown; the first one that is found decides.
_BUSY = "too many requests"
_WORDS = (
    ("not connected", Failure.PASSES),
    ("cannot access", Failure.DENIED),
    ("file share was not found", Failure.GONE),
    ("folder", Failure.REQUEST),
    ("parameter", Failure.REQUEST),
)

# Raised before the request was sent.
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ParamValidationError)


def meaning(error: Exception) -> Failure:
    """What an error of AWS_ERRORS means."""
    if isinstance(error, ParamValidationError):
        return Failure.REQUEST
    if not isinstance(error, ClientError):
        return Failure.PASSES  # no answer, or one that cannot be read
    code, inside = _codes(error)
    for codes, failure in ((_PASSES, Failure.PASSES), (_DENIED, Failure.DENIED), (_REQUEST, Failure.REQUEST)):
        if code in codes:
            return failure
    if _is_server_error(error):
        return Failure.PASSES
    return _meaning_by_second_code(inside, error_text(error).lower())


def _meaning_by_second_code(inside: str, text: str) -> Failure:
    """What an error of Storage Gateway means, by its second code, or by its text in lower case."""
    if _BUSY in text:
        return Failure.BUSY
    if inside in _SECOND_CODES:
        return _SECOND_CODES[inside]
    return next((failure for words, failure in _WORDS if words in text), Failure.UNCLEAR)


def may_have_taken_effect(error: Exception) -> bool:
    """Whether a call that failed with an error of AWS_ERRORS may have taken effect."""
    if not isinstance(error, ClientError):
        return not isinstance(error, _NOT_SENT)
    code, inside = _codes(error)
    return code not in _THROTTLED and (_is_server_error(error) or not {code, inside}.isdisjoint(_PASSES))


def _is_server_error(error: ClientError) -> bool:
    """Whether the answer is HTTP 5xx, from AWS or a proxy, with any error code."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500


def all_messages(failures: Iterable[Exception]) -> str:
    """All failures in one line, each with its notes first."""
    return "; ".join(": ".join([*getattr(failure, "__notes__", []), str(failure)]) for failure in failures)


def error_text(error: Exception) -> str:
    """AWS's message without the text that the SDK adds, cut so that the table can hold it."""
    return (error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error))[:600]


def _codes(error: ClientError) -> tuple[str, str]:
    answer: Any = error.response
    return answer["Error"]["Code"], (answer.get("error") or {}).get("errorCode") or ""
