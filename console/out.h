/*
 * Members of a JSON answer, one call each; commas come by themselves. A name NULL writes an element
 * of an array. Failure is the buffer's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

void out_open(struct buf *b, const char *name, char bracket);
void out_close(struct buf *b, char bracket);
void out_text(struct buf *b, const char *name, struct slice v);
void out_text_or_null(struct buf *b, const char *name, struct slice v); /* empty is null */
void out_word(struct buf *b, const char *name, const char *v);          /* NULL is null */
void out_int(struct buf *b, const char *name, int64_t v);
void out_number(struct buf *b, const char *name, double v);
void out_bool(struct buf *b, const char *name, bool v);
void out_time(struct buf *b, const char *name, int64_t ms);               /* 0 is null */
void out_uuid(struct buf *b, const char *name, const unsigned char *v16); /* NULL is null */
void out_raw(struct buf *b, const char *name, struct slice json);         /* empty is {} */
