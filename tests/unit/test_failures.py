"""What a failed call means, by the codes and the words that AWS documents, and those that nobody does."""

from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError, ReadTimeoutError

from event_aggregator.failures import Failure, UnreadableAnswerError, may_have_begun, meaning

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


def test_no_code_inside_that_storage_gateway_models_passes_for_another_unless_the_design_names_it() -> None:
    model = botocore.session.get_session().get_service_model("storagegateway")
    shape: Any = model.shape_for("ErrorCode")
    codes = {code.strip() for code in shape.enum}
    told = {code for code in codes if meaning(refusal(GATEWAYS, inside=code)) is not UNCLEAR}
    assert "GatewayInternalError" in codes - told
    assert {"GatewayNotConnected", "InvalidParameters", "UnauthorizedOperation", "InternalError"} <= told


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
    ],
)
def test_which_failures_may_have_taken_effect(error: Exception, may: bool) -> None:
    assert may_have_begun(error) == may
