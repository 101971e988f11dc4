/* The service: what it configures, starts, drains and stops. */
#pragma once

#include "common/service.h"

extern const struct service_type processor_service;
