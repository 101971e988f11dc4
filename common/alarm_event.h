/*
 * A change of a CloudWatch alarm as EventBridge tells it, in the words in which CloudWatch itself
 * tells a topic.
 */
#pragma once

#include "common/arena.h"

/* `text` must have passed json_scan(). {NULL, 0}: it is no such event; *failed: the arena is full.
 */
struct slice alarm_of_event(struct slice text, struct arena *a, bool *failed);
