"""The last step of the OpenAPI document: adds what linters and client generators need. ``described`` calls it.

It changes the form of the document, not which requests and responses are valid.
"""

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.about import INFO, SERVERS, TAGS
from carillon_api.openapi_document.plain_schemas import plain, unwrapped, without_null
from carillon_core.ports import JSONObject

FASTAPI_DEFAULT = "Successful Response"
"""FastAPI's description of a response for which a route has none."""


def finished(document: JSONObject) -> JSONObject:
    """Return the document with licence, servers, tags, security of every operation, and plain schemas."""
    schemas = {name: plain(schema) for name, schema in document["components"]["schemas"].items()}
    for operations in document["paths"].values():
        for operation in operations.values():
            _secure(operation, document["components"]["securitySchemes"])
            _describe_responses(operation, schemas)
            _plain_parameters(operation)
            if "description" in operation:
                operation["description"] = unwrapped(operation["description"])
    return {
        "openapi": document["openapi"],
        "info": document["info"] | INFO,
        "servers": list(SERVERS),
        "tags": list(TAGS),
        "paths": document["paths"],
        "components": document["components"] | {"schemas": schemas},
    }


def _secure(operation: JSONObject, schemes: JSONObject) -> None:
    """State that an operation needs no credentials, or that they are optional if it can respond with 401."""
    if "security" in operation:
        return
    responses = operation["responses"]
    operation["security"] = [*({name: []} for name in schemes), {}] if "401" in responses else []
    # the length of the URL is limited for anonymous callers too
    status = Kind.URI_TOO_LONG.status
    responses.setdefault(str(status), problem_responses(Kind.URI_TOO_LONG)[status])


def _describe_responses(operation: JSONObject, schemas: JSONObject) -> None:
    """Sort responses by status. Where a route has no description of one, use its model's."""
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for response in operation["responses"].values():
        if response["description"] == FASTAPI_DEFAULT:
            response["description"] = _model_description(response, schemas)


def _model_description(response: JSONObject, schemas: JSONObject) -> str:
    if "content" not in response:
        return "Done; the response has no body."
    model = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    description: str = schemas[model]["description"]
    return description


def _plain_parameters(operation: JSONObject) -> None:
    """Remove repeated descriptions, and null from schemas: neither a URL nor a header can hold it."""
    for parameter in operation.get("parameters", ()):
        schema = without_null(plain(parameter["schema"]))
        repeated = {"title"} if schema.get("description") != parameter.get("description") else {"title", "description"}
        parameter["schema"] = {key: value for key, value in schema.items() if key not in repeated}
        if "description" in parameter:
            parameter["description"] = unwrapped(parameter["description"])
