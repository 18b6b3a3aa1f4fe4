#ifndef CONVD_SERVER_HTTP_ERROR_RESPONSE_H_
#define CONVD_SERVER_HTTP_ERROR_RESPONSE_H_

#include <string>

#include "absl/status/status.h"
#include "server/http/http.h"

namespace convd {

// The HTTP status that stands for a code, as google.rpc.Code has them.
int HttpStatusOf(absl::StatusCode code);

// {"error": {"code": "NOT_FOUND", "message": "..."}} and the status above; with a Retry-After where
// trying again helps.
HttpResponse ErrorResponse(const absl::Status& status);

// The same with an HTTP status of its own, for what HTTP has a better word for.
HttpResponse ErrorResponse(int http_status, const absl::Status& status);

// RESOURCE_EXHAUSTED: no thread has room for the request.
absl::Status TooManyRequests();

// {"error": "..."}, as the Open Inference Protocol has it.
HttpResponse InferenceErrorResponse(const absl::Status& status);
HttpResponse InferenceErrorResponse(int http_status, const absl::Status& status);

// "Not Found" for 404; "" where none is known here.
const char* ReasonPhrase(int http_status);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_ERROR_RESPONSE_H_
