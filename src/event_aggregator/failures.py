"""What a failed AWS call means for what was to be done: whether it passes, and what helps.

Only this module knows error codes of AWS. Storage Gateway's own answers carry a second code inside (user guide,
APIOperationErrorCodes). The words and codes by which a gateway refuses a refresh are mostly undocumented: what is not
known here is UNCLEAR, and never makes a refresh wider at once.
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
    """AWS answered that a call succeeded, without what that answer must hold: whether it did is unknown."""


# What a call that did not succeed raises: an answer that says no, no answer, or one that says nothing.
AWS_ERRORS = (ClientError, BotoCoreError, UnreadableAnswerError)


class Failure(Enum):
    """What a failure means."""

    PASSES = auto()  # AWS, the network or the gateway cannot just now: try again
    BUSY = auto()  # the gateway has as many refreshes in progress as it takes
    DENIED = auto()  # it needs a human: a permission, a role, a region that is not enabled; try again, slowly
    REQUEST = auto()  # it is about what was asked for: a folder, or a parameter
    GONE = auto()  # there is no such file share, or no such gateway
    UNCLEAR = auto()  # words that nobody has documented


# Codes of an answer as a whole. AWS did not begin with what it throttled; of the others that pass, it may have.
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

# Codes inside an InvalidGatewayRequestException (API reference, StorageGatewayError, errorCode), which for the rest are
# about volumes, tapes and disks. GatewayInternalError is not among them: it may stand for a folder that is not cached.
_INSIDE = {
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

# In the text of an InvalidGatewayRequestException, in lower case. Being busy may come with any code inside; of the
# others the first that is found counts.
_BUSY = "too many requests"
_WORDS = (
    ("not connected", Failure.PASSES),
    ("cannot access", Failure.DENIED),
    ("file share was not found", Failure.GONE),
    ("folder", Failure.REQUEST),
    ("parameter", Failure.REQUEST),
)

# Raised before anything was sent.
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ParamValidationError)


def meaning(error: Exception) -> Failure:
    """What one of AWS_ERRORS means."""
    if isinstance(error, ParamValidationError):
        return Failure.REQUEST
    if not isinstance(error, ClientError):
        return Failure.PASSES  # no answer at all, or none that can be read
    code, inside = _codes(error)
    for codes, failure in ((_PASSES, Failure.PASSES), (_DENIED, Failure.DENIED), (_REQUEST, Failure.REQUEST)):
        if code in codes:
            return failure
    if _is_servers(error):
        return Failure.PASSES
    return _meaning_inside(inside, error_text(error).lower())


def _meaning_inside(inside: str, text: str) -> Failure:
    """What an answer of Storage Gateway's means, by the code inside, or its text in lower case."""
    if _BUSY in text:
        return Failure.BUSY
    if inside in _INSIDE:
        return _INSIDE[inside]
    return next((failure for words, failure in _WORDS if words in text), Failure.UNCLEAR)


def may_have_taken_effect(error: Exception) -> bool:
    """Whether a call that failed with one of AWS_ERRORS may have taken effect all the same."""
    if not isinstance(error, ClientError):
        return not isinstance(error, _NOT_SENT)
    code, inside = _codes(error)
    return code not in _THROTTLED and (_is_servers(error) or not {code, inside}.isdisjoint(_PASSES))


def _is_servers(error: ClientError) -> bool:
    """Whether AWS, or what is between, says that the fault is its own: HTTP 5xx, with whatever code."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500


def all_messages(failures: Iterable[Exception]) -> str:
    """Every failure in one line, what it befell first."""
    return "; ".join(": ".join([*getattr(failure, "__notes__", []), str(failure)]) for failure in failures)


def error_text(error: Exception) -> str:
    """What AWS answered, without the SDK's words around it, and not too long for the table."""
    return (error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error))[:600]


def _codes(error: ClientError) -> tuple[str, str]:
    answer: Any = error.response
    return answer["Error"]["Code"], (answer.get("error") or {}).get("errorCode") or ""
