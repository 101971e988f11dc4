/* tocsin-console as a service. */
#pragma once

#include "common/service.h"

extern const struct service_type console_service;
