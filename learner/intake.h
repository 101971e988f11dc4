/*
 * The learner's one thread: reads `repairs` from where Postgres says, and looks for attempts whose
 * time has come. After any failure it reads its positions again; the transaction that failed
 * changed nothing.
 */
#pragma once

#include "common/settings.h"
#include "learner/playbooks.h"

struct intake;

int intake_start(const struct settings *s, const struct playbooks *p, struct intake **ret,
                 struct err *e) MUST_CHECK;
/* Finish the batch at hand; returns when nothing runs. */
void intake_drain(struct intake *in);
/* Drain, leave the group, free. NULL is a no-op. */
void intake_stop(struct intake *in);
