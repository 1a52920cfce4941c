/*
 * /api/query/last.
 */
#pragma once

#include "server/http_request.h"

http_endpoint http_last_handle;
