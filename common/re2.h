/*
 * RE2 expressions, as Prometheus and Alertmanager write them, in the words of POSIX extended
 * expressions for glibc's regcomp. Whether a text matches as a whole is the same; which sub-match
 * won is not, and nobody asks.
 *
 * Translated: \d \w \s and their opposites, \t \n \r \f \v \a \xHH \x{H..}, \Q..\E, \b \B, \A \z,
 * (?:..) (?P<n>..) (?<n>..), (?i) and (?s) at the start, lazy quantifiers, classes. One `.` or
 * negated class is one UTF-8 character. Refused with the piece named: other flags, \p{..},
 * characters past ASCII in classes, counted repetition past 1000 (also nested), expressions past
 * RE2_PATTERN_MAX bytes.
 */
#pragma once

#include "common/buf.h"

#define RE2_PATTERN_MAX 4096

/* Appends ^(...)$; *ret_icase: compile with REG_ICASE. -EINVAL with the reason, -ENOMEM. */
int re2_to_ere(struct slice pattern, struct buf *out, bool *ret_icase, struct err *e) MUST_CHECK;
