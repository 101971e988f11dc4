/* tocsin-notifier: sends what the processor decided to say, and writes down how each message ended.
 */
#pragma once

#include "common/service.h"

extern const struct service_type notifier_service;
