/* A notifier's desk with its real code, and a name that pauses know. Apart from scene.h, since the
 * processor and the notifier have structs of the same name. */
#pragma once

#include "schema.h"

struct sender;

/* It works at once. `config`: of the scene. */
struct sender *sender_open(struct schema *db, const char *config, const char *who);
/* What is under way ends unanswered. */
void sender_close(struct sender *s);
