/* How a value goes into a message without becoming markup there. Pure; the rules of each mode are
 * in the .c file. */
#pragma once

#include "common/buf.h"
#include "common/template.h"

void template_escape(struct buf *out, struct slice s, enum escape escape);
