/*
 * A message of Amazon SNS as it is posted: its envelope, by whom it was signed, and what it asks
 * for. Pure. The certificate comes from an address that stands in the message; what makes it
 * Amazon's is the host that serves it.
 */
#pragma once

#include "common/source.h"

enum sns_kind {
    SNS_BARE = 1, /* no envelope: raw message delivery */
    SNS_NOTIFICATION,
    SNS_SUBSCRIPTION, /* somebody wants us to be told: so it is when subscribe_url was fetched */
    SNS_UNSUBSCRIPTION
};

struct sns_message {
    enum sns_kind kind;
    struct slice id, topic, subject, text, time, subscribe_url; /* what is not there is empty */
    bool failed; /* not all of it fitted into the arena */
};

/* `body` must have passed json_scan(). */
void sns_read(struct slice body, struct arena *a, struct sns_message *ret);

struct sns_trust {
    /* "sns.*.amazonaws.com", "sns.example.com:8443": a star stands for at least three characters
     * without a dot; "sns.s3.amazonaws.com" would be anybody's. */
    struct conf_strs hosts;
    struct conf_strs topics; /* "arn:aws:sns:*:123456789012:*"; empty: all */
    int64_t tolerance;       /* ms that the signed time may be from ours */
};
/* -EINVAL names the pattern that is none. */
int sns_trust_check(const struct sns_trust *t, struct err *e) MUST_CHECK;

/*
 * Any bytes. AUTH_OK: it may be what it says, and *ret is where the certificate is that proves it;
 * AUTH_MISSING: it is not signed; AUTH_BAD: its topic, its time, or an address in it is none that
 * we take.
 */
enum auth sns_certificate(const struct sns_trust *t, struct slice body, int64_t now_ms,
                          struct arena *a, struct fetch *ret);
/* The same, and then: is it signed with that certificate? */
enum auth sns_verify(const struct sns_trust *t, struct slice body, int64_t now_ms, struct arena *a,
                     struct slice certificate);
/* May we fetch what such a message asks for? */
bool sns_is_ours(const struct sns_trust *t, struct slice url);
