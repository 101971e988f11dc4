/* What the vendors say and how it is taken: rows of the contract test. A channel without rows fails
 * it. */
#pragma once

#include "notifier/channel.h"

/* One row of the vendors' retry table. */
struct answer {
    const char *channel;
    int status;
    const char *body;
    enum verdict verdict;
    bool limited;
    int64_t wait_ms; /* the vendor's; 0: it says none */
    bool gone;
};

static const struct answer answers[] = {
    {"wecom", 200, "{\"errcode\":0,\"errmsg\":\"ok\"}", VERDICT_DELIVERED, false, 0, false},
    {"wecom", 200, "{\"errcode\":93000,\"errmsg\":\"invalid webhook url, hint: [1]\"}",
     VERDICT_REJECT, false, 0, false},
    {"wecom", 200, "{\"errcode\":40058,\"errmsg\":\"exceed max length\"}", VERDICT_REJECT, false, 0,
     false},
    {"wecom", 200, "{\"errcode\":44001,\"errmsg\":\"empty media\"}", VERDICT_REJECT, false, 0,
     false},
    {"wecom", 200, "{\"errcode\":40008,\"errmsg\":\"invalid message type\"}", VERDICT_REJECT, false,
     0, false},
    {"wecom", 200, "{\"errcode\":45009,\"errmsg\":\"api freq out of limit\"}", VERDICT_RETRY, true,
     60000, false},
    {"wecom", 200, "{\"errcode\":-1,\"errmsg\":\"system busy\"}", VERDICT_RETRY, false, 0, false},
    {"wecom", 200, "{\"errmsg\":\"ok\"}", VERDICT_RETRY, false, 0, false},
    {"wecom", 200, "{\"errcode\":\"0\"}", VERDICT_RETRY, false, 0, false},
    {"wecom", 200, "<html>blocked</html>", VERDICT_RETRY, false, 0, false},
    {"wecom", 200, "", VERDICT_RETRY, false, 0, false},
    {"wecom", 502, "", VERDICT_RETRY, false, 0, false},
    {"wecom", 0, "", VERDICT_RETRY, false, 0, false},
    {"slack", 200, "ok", VERDICT_DELIVERED, false, 0, false},
    {"slack", 200, "<html>login</html>", VERDICT_RETRY, false, 0, false},
    {"slack", 400, "invalid_payload", VERDICT_REJECT, false, 0, false},
    {"slack", 403, "action_prohibited", VERDICT_REJECT, false, 0, false},
    {"slack", 404, "no_service", VERDICT_REJECT, false, 0, false},
    {"slack", 410, "channel_is_archived", VERDICT_REJECT, false, 0, false},
    {"slack", 429, "", VERDICT_RETRY, true, 0, false},
    {"slack", 500, "rollup_error", VERDICT_RETRY, false, 0, false},
    {"slack", 0, "", VERDICT_RETRY, false, 0, false},
    {"email", 250, "", VERDICT_DELIVERED, false, 0, false},
    {"email", 421, "421 try later", VERDICT_RETRY, false, 0, false},
    {"email", 450, "450 busy", VERDICT_RETRY, false, 0, false},
    {"email", 451, "451 greylisted", VERDICT_RETRY, false, 0, false},
    {"email", 535, "535 authentication failed", VERDICT_REJECT, false, 0, false},
    {"email", 550, "550 no such user", VERDICT_REJECT, false, 0, false},
    {"email", 354, "354 go on", VERDICT_RETRY, false, 0, false},
    {"email", 0, "", VERDICT_RETRY, false, 0, false},
    {"webhook", 200, "", VERDICT_DELIVERED, false, 0, false},
    {"webhook", 204, "", VERDICT_DELIVERED, false, 0, false},
    {"webhook", 302, "", VERDICT_REJECT, false, 0, false},
    {"webhook", 404, "", VERDICT_REJECT, false, 0, false},
    {"webhook", 408, "", VERDICT_RETRY, false, 0, false},
    {"webhook", 429, "", VERDICT_RETRY, true, 0, false},
    {"webhook", 503, "", VERDICT_RETRY, false, 0, false},
    {"webhook", 0, "", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":0,\"errmsg\":\"ok\"}", VERDICT_DELIVERED, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":310000,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":300001,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":300005,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":400101,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":400102,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":400106,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":400013,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":40035,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":43002,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":43004,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":400105,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":999,\"errmsg\":\"no\"}", VERDICT_REJECT, false, 0, false},
    {"dingtalk", 200,
     "{\"errcode\":130101,\"errmsg\":\"send too fast, exceed 20 times per minute\"}", VERDICT_RETRY,
     true, 600000, false},
    {"dingtalk", 200, "{\"errcode\":410100,\"errmsg\":\"send too fast\"}", VERDICT_RETRY, true,
     600000, false},
    {"dingtalk", 200,
     "{\"status\":1111,\"wait\":5,\"source\":\"x5\",\"punish\":\"deny\",\"uuid\":\"u\",\"errcode\":"
     "130101,\"errmsg\":\"send too fast\"}",
     VERDICT_RETRY, true, 600000, false},
    {"dingtalk", 200,
     "{\"status\":1111,\"wait\":5,\"source\":\"x5\",\"punish\":\"deny\",\"uuid\":\"u\"}",
     VERDICT_RETRY, true, 600000, false},
    {"dingtalk", 200, "{\"errcode\":-1,\"errmsg\":\"busy\"}", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 200, "{\"errmsg\":\"ok\"}", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 200, "{\"errcode\":\"0\"}", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 200, "<html>blocked</html>", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 200, "", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 502, "", VERDICT_RETRY, false, 0, false},
    {"dingtalk", 0, "", VERDICT_RETRY, false, 0, false},
    {"feishu", 200,
     "{\"StatusCode\":0,\"StatusMessage\":\"success\",\"code\":0,\"data\":{},\"msg\":\"success\"}",
     VERDICT_DELIVERED, false, 0, false},
    {"feishu", 200, "{\"StatusCode\":0,\"StatusMessage\":\"success\"}", VERDICT_DELIVERED, false, 0,
     false},
    {"feishu", 200, "{\"StatusCode\":0,\"code\":19024,\"msg\":\"Key Words Not Found\"}",
     VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"StatusCode\":19024,\"StatusMessage\":\"Key Words Not Found\"}",
     VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":9499,\"msg\":\"no\",\"data\":{}}", VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":19001,\"msg\":\"no\",\"data\":{}}", VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":19021,\"msg\":\"no\",\"data\":{}}", VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":19022,\"msg\":\"no\",\"data\":{}}", VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":999,\"msg\":\"no\",\"data\":{}}", VERDICT_REJECT, false, 0, false},
    {"feishu", 400, "{\"code\":9499,\"msg\":\"Bad Request\"}", VERDICT_REJECT, false, 0, false},
    {"feishu", 200, "{\"code\":11232,\"msg\":\"frequency limited\"}", VERDICT_RETRY, true, 60000,
     false},
    {"feishu", 429, "{\"code\":11232,\"msg\":\"frequency limited\"}", VERDICT_RETRY, true, 0,
     false},
    {"feishu", 200, "{\"msg\":\"success\"}", VERDICT_RETRY, false, 0, false},
    {"feishu", 200, "{\"code\":\"0\"}", VERDICT_RETRY, false, 0, false},
    {"feishu", 200, "<html></html>", VERDICT_RETRY, false, 0, false},
    {"feishu", 200, "", VERDICT_RETRY, false, 0, false},
    {"feishu", 502, "", VERDICT_RETRY, false, 0, false},
    {"feishu", 0, "", VERDICT_RETRY, false, 0, false},
    {"telegram", 200,
     "{\"ok\":true,\"result\":{\"message_id\":1,\"date\":1,\"chat\":{\"id\":1,\"type\":\"group\"}}"
     "}",
     VERDICT_DELIVERED, false, 0, false},
    {"telegram", 200, "{\"ok\":false,\"error_code\":400,\"description\":\"no\"}", VERDICT_RETRY,
     false, 0, false},
    {"telegram", 200, "<html>login</html>", VERDICT_RETRY, false, 0, false},
    {"telegram", 200, "{\"ok\":\"true\"}", VERDICT_RETRY, false, 0, false},
    {"telegram", 200, "", VERDICT_RETRY, false, 0, false},
    {"telegram", 400,
     "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: chat not found\"}",
     VERDICT_REJECT, false, 0, false},
    {"telegram", 400,
     "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: message is too long\"}",
     VERDICT_REJECT, false, 0, false},
    {"telegram", 401, "{\"ok\":false,\"error_code\":401,\"description\":\"Unauthorized\"}",
     VERDICT_REJECT, false, 0, false},
    {"telegram", 403,
     "{\"ok\":false,\"error_code\":403,\"description\":\"Forbidden: bot was blocked by the user\"}",
     VERDICT_REJECT, false, 0, false},
    {"telegram", 404, "{\"ok\":false,\"error_code\":404,\"description\":\"Not Found\"}",
     VERDICT_REJECT, false, 0, false},
    {"telegram", 429,
     "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests: retry after "
     "7\",\"parameters\":{\"retry_after\":7}}",
     VERDICT_RETRY, true, 7000, false},
    {"telegram", 429, "", VERDICT_RETRY, true, 0, false},
    {"telegram", 500, "{\"ok\":false,\"error_code\":500,\"description\":\"Internal Server Error\"}",
     VERDICT_RETRY, false, 0, false},
    {"telegram", 502, "", VERDICT_RETRY, false, 0, false},
    {"telegram", 0, "", VERDICT_RETRY, false, 0, false},
};

/* Known answers; and a signature that ages is made for each attempt. */
static const struct {
    const char *channel;
    int64_t later;
    const char *url, *body;
} signatures[] = {
    {"dingtalk", 0,
     "timestamp=1599360473000&sign=tGWkA5eQOQNCNPDgphtxIoNLO%2B%2FgD8Lcb705KQoRzeY%3D", ""},
    {"dingtalk", 7200000, "timestamp=1599367673000&sign=", ""},
    {"feishu", 0, "", "\"timestamp\":\"1599360473\""},
    {"feishu", 0, "", "\"sign\":\"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=\""},
    {"feishu", 7200000, "", "\"timestamp\":\"1599367673\""},
};

/* What is asked, in the method and address or in the body, what is answered to each, and how it
 * ends. */
static const struct {
    const char *channel, *name;
    struct {
        const char *asks, *with;
        int status;
        const char *body;
    } turns[4];
    enum verdict verdict;
    const char *keeps; /* the message; NULL: nothing */
} talks[] = {
    {"telegram",
     "crossing",
     {{"editMessageText", "\"message_id\":77", 400,
       "{\"ok\":false,\"description\":\"Bad Request: message to edit not found\"}"},
      {"sendMessage", "\"chat_id\":-1001", 200, "{\"ok\":true,\"result\":{\"message_id\":9}}"}},
     VERDICT_DELIVERED,
     "\"message\": 9"},
    {"telegram",
     "crossing",
     {{"editMessageText", "", 400,
       "{\"ok\":false,\"description\":\"Bad Request: message is not modified: same\"}"},
      {"sendMessage", "\"reply_parameters\"", 200, "{\"ok\":true,\"result\":{\"message_id\":9}}"}},
     VERDICT_DELIVERED,
     "\"message\": 77"},
    {"telegram",
     "resolved",
     {{"editMessageText", "", 200, "{\"ok\":true,\"result\":{\"message_id\":77}}"}},
     VERDICT_DELIVERED,
     "\"message\": 77"},
    {"telegram",
     "opened",
     {{"sendMessage", "\"chat_id\":-1001", 400,
       "{\"ok\":false,\"description\":\"Bad Request: group chat was upgraded\","
       "\"parameters\":{\"migrate_to_chat_id\":-1009}}"},
      {"sendMessage", "\"chat_id\":-1009", 200, "{\"ok\":true,\"result\":{\"message_id\":9}}"}},
     VERDICT_DELIVERED,
     "\"chat\": \"-1009\""},
    {"telegram",
     "opened",
     {{"sendMessage", "\"parse_mode\":\"HTML\"", 400,
       "{\"ok\":false,\"description\":\"Bad Request: can't parse entities: no\"}"},
      {"sendMessage", "true},\"text\":", 400,
       "{\"ok\":false,\"description\":\"Bad Request: can't parse entities: no\"}"}},
     VERDICT_REJECT,
     NULL},
    {"telegram",
     "crossing",
     {{"editMessageText", "", 403, "{\"ok\":false,\"description\":\"Forbidden: blocked\"}"}},
     VERDICT_REJECT,
     NULL},
    {"telegram",
     "crossing",
     {{"editMessageText", "", 200, "{\"ok\":true,\"result\":{\"message_id\":77}}"},
      {"sendMessage", "", 429, "{\"ok\":false,\"description\":\"slow\"}"}},
     VERDICT_RETRY,
     NULL},
    {"telegram",
     "digest",
     {{"sendMessage", "", 200, "{\"ok\":true,\"result\":{\"message_id\":9}}"}},
     VERDICT_DELIVERED,
     NULL},
};

/* Where a message went, as the ledger says it to whoever may read the console. */
static const struct {
    const char *channel, *config, *place;
} places[] = {
    {"slack", "{api_url: 'https://hooks.slack.com/services/T02/B03/s3cret'}",
     "hooks.slack.com/services/T02/B03/…"},
    {"slack", "{api_url: 'https://hooks.slack.com/services/T02/B03/s3cret', channel: '#ops'}",
     "#ops at hooks.slack.com/services/T02/B03/…"},
    {"slack", "{api_url: 'https://Proxy.example.com:8443/services/s3cret/B03/x'}",
     "proxy.example.com:8443"},
    {"slack", "{api_url: 'https://proxy.example.com/services/T02?s3cret=/B03/x'}",
     "proxy.example.com"},
    {"slack", "{api_url: 'https://proxy.example.com/services/T02/s3cret'}", "proxy.example.com"},
    {"wecom", "{url: 'https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=s3cret'}",
     "qyapi.weixin.qq.com"},
    {"wecom", "{key: s3cret}", "qyapi.weixin.qq.com"},
    {"webhook", "{url: 'http://ann:s3cret@Hooks.example.com/s3cret'}", "hooks.example.com"},
    {"webhook", "{url: 'http://a@b:s3cret@hooks.example.com'}", "hooks.example.com"},
    {"webhook", "{url: 'http://[::1]:99?s3cret'}", "[::1]:99"},
    {"dingtalk", "{url: 'https://oapi.dingtalk.com/robot/send?access_token=s3cret'}",
     "oapi.dingtalk.com"},
    {"dingtalk", "{access_token: s3cret, secret: SECs3cret}", "oapi.dingtalk.com"},
    {"feishu", "{token: s3cret}", "open.feishu.cn"},
    {"feishu", "{token: s3cret, site: lark, secret: s3cret}", "open.larksuite.com"},
    {"telegram", "{bot_token: '1:s3cret', chat_id: -1001}", "-1001 at api.telegram.org"},
    {"telegram", "{bot_token: '1:s3cret', chat_id: '@ops', api_url: 'http://[::1]:8081/'}",
     "@ops at [::1]:8081"},
    {"email",
     "{to: 'ops@example.com, boss@example.com', from: t@example.com, smarthost: 'mx:25', "
     "auth_username: ann, auth_password: s3cret}",
     "ops@example.com, boss@example.com"},
};

/* What a configuration is refused for. */
static const struct {
    const char *channel, *config, *words;
} mistakes[] = {
    {"dingtalk", "{secret: SECx}", "either url or access_token is needed"},
    {"dingtalk", "{url: 'ftp://h'}", "an http or https URL"},
    {"feishu", "{url: 'http://h', token: t}", "either url or token is needed"},
    {"feishu", "{token: t, site: dingtalk}", "site"},
    {"telegram", "{chat_id: 1}", "bot_token is missing"},
    {"telegram", "{bot_token: t}", "chat_id"},
    {"telegram", "{bot_token: t, chat_id: 1, parse_mode: MarkdownV2}",
     "parse_mode MarkdownV2 does not apply"},
    {"telegram", "{bot_token: t, chat_id: 1, http_config: {}}", "http_config"},
    {"telegram", "{bot_token: 't/../x', chat_id: 1}", "no bot_token"},
};
