#include "console/act_words.h"

static const struct act_words english = {
    .locale = "en",
    .verbs =
        {
            [ACT_ACKNOWLEDGE] = {"Acknowledge this incident?",
                                 "Repeats and escalation stop. News are told all the same.",
                                 "Acknowledge", "Acknowledged.", "It was acknowledged already."},
            [ACT_CLAIM] = {"Take this incident?",
                           "It is yours from then on, and repeats and escalation stop.", "Take it",
                           "It is yours now.", "It was yours already."},
            [ACT_SILENCE] = {"Silence this problem?",
                             "Nothing is told of it for a while. What then still fires is told.",
                             "Silence", "Silenced.", "It was silenced already."},
            [ACT_RESOLVE] = {"Resolve this incident?", "It stays resolved until it occurs anew.",
                             "Resolve", "Resolved.", "It was resolved already."},
        },
    .status =
        {
            [INCIDENT_OPEN] = "open",
            [INCIDENT_ACKNOWLEDGED] = "acknowledged",
            [INCIDENT_INVESTIGATING] = "under investigation",
            [INCIDENT_RESOLVED] = "resolved",
        },
    .name_label = "Your name, for the timeline (may be empty)",
    .details = "The incident's page",
    .until = "Until",
    .is_over = "This incident is already resolved.",
    .gone = "There is no such incident any more.",
    .forged = "This link is not valid.",
    .forged_why = "It is not one that we made, or not all of it was copied.",
    .expired = "This link has expired.",
    .expired_why = "Use the one in a newer message, or the incident's page.",
    .wrong_method = "This is not possible here.",
    .wrong_method_why = "Open the link and use the button on the page.",
    .trouble = "This cannot be done right now.",
    .trouble_why = "Please try again in a moment: to do it twice does no harm.",
};

static const struct act_words chinese = {
    .locale = "zh-CN",
    .verbs =
        {
            [ACT_ACKNOWLEDGE] = {"确认此事件？", "确认后停止重复提醒和升级，新情况仍会通知。",
                                 "确认", "已确认。", "此事件此前已确认。"},
            [ACT_CLAIM] = {"认领此事件？", "此后由您负责，并停止重复提醒和升级。", "认领",
                           "已由您负责。", "此事件此前已由您负责。"},
            [ACT_SILENCE] = {"静默此问题？", "一段时间内不再通知；到期后仍在告警的会重新通知。",
                             "静默", "已静默。", "此问题此前已静默。"},
            [ACT_RESOLVE] = {"将此事件标记为已恢复？", "在再次发生之前保持已恢复状态。", "标记恢复",
                             "已标记恢复。", "此事件此前已恢复。"},
        },
    .status =
        {
            [INCIDENT_OPEN] = "未处理",
            [INCIDENT_ACKNOWLEDGED] = "已确认",
            [INCIDENT_INVESTIGATING] = "调查中",
            [INCIDENT_RESOLVED] = "已恢复",
        },
    .name_label = "您的姓名，将记入时间线（可留空）",
    .details = "事件页面",
    .until = "至",
    .is_over = "此事件已恢复。",
    .gone = "此事件已不存在。",
    .forged = "此链接无效。",
    .forged_why = "它不是由本系统生成的，或复制不完整。",
    .expired = "此链接已过期。",
    .expired_why = "请使用较新消息中的链接，或打开事件页面。",
    .wrong_method = "此处不支持该操作。",
    .wrong_method_why = "请打开链接并使用页面上的按钮。",
    .trouble = "暂时无法执行。",
    .trouble_why = "请稍后重试，重复操作没有影响。",
};

const struct act_words *act_words(bool in_chinese)
{
    return in_chinese ? &chinese : &english;
}
