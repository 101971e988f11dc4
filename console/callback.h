/*
 * What vendors post back: buttons of Slack, keys of a telephone, what became of a message. Each
 * verifies the vendor's signature over what was received before anything of it is looked at, and
 * acts by the token of common/act.h that our own message carried. Without the vendor's secret there
 * is no such address.
 */
#pragma once

#include "common/form.h"
#include "console/console.h"

/* POST /callback/slack: "Interactivity request URL" of the Slack app. */
void post_slack(void *ctx, struct http_request *r);
/* POST /callback/twilio/{token}: `action` of a <Gather>. Digits=1 does what the token allows. */
void post_twilio(void *ctx, struct http_request *r);
/* POST /callback/twilio/status/{id}/{attempt}?tenant=T: `StatusCallback` of a message or call. What
 * became of it is kept with its notification (common/report.h). */
void post_twilio_status(void *ctx, struct http_request *r);

/* ---- pure ---- */

#define SLACK_TOLERANCE_MS (5 * INT64_C(60000))
/* X-Slack-Signature, version v0, and X-Slack-Request-Timestamp; either may be NULL. */
bool slack_signed(struct slice secret, const char *timestamp, struct slice body,
                  const char *signature, int64_t now_ms);
/* X-Twilio-Signature of the whole URL that was called and the fields posted. False past the arena,
 * too. */
bool twilio_signed(struct slice secret, const char *url, const struct form *f,
                   const char *signature, struct arena *a);
